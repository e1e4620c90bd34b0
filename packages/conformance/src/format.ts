import type { FamilyScore, KernelSpeed, Reasoned, Scorecard } from "./scorecard.ts";

/** Cells in columns, the first left, the others right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
}

/** A small number in two digits. */
export const short = (value: number): string => (value === 0 ? "0" : value.toExponential(1));

const seconds = (value: number): string => `${value.toFixed(1)} s`;

function familyRow(one: FamilyScore): string[] {
  const counts = [one.passed, one.failed, one.skipped, one.notApplicable].map(String);
  const share = `${Math.round(one.worstShare * 100)} %`;
  return [one.family, ...counts, short(one.worstError), share, seconds(one.seconds)];
}

/** Duration with a fitting unit. */
export function duration(value: number): string {
  if (value >= 1) return `${value.toFixed(2)} s`;
  return value >= 1e-3 ? `${(value * 1e3).toFixed(2)} ms` : `${(value * 1e6).toFixed(1)} µs`;
}

function speedRow({ kernel, work, seconds: median, min, max, rate, unit }: KernelSpeed): string[] {
  return [`${kernel} ${work}`, duration(median), duration(min), duration(max), `${rate.toFixed(2)} ${unit}`];
}

/** Checks that did not run, by reason, with how many and one of them. */
function reasons(
  title: string,
  families: readonly FamilyScore[],
  of: (one: FamilyScore) => readonly Reasoned[],
): string[] {
  const groups = new Map<string, string[]>();
  for (const family of families) {
    for (const { check, reason } of of(family)) {
      const list = groups.get(reason) ?? [];
      list.push(`${family.family} > ${check}`);
      groups.set(reason, list);
    }
  }
  if (groups.size === 0) return [];
  const lines = [...groups].map(([reason, list]) => {
    const others = list.length === 1 ? "" : ` and ${list.length - 1} more`;
    return `  ${reason}: ${list[0]}${others}`;
  });
  return ["", title, ...lines];
}

/** Factors by name, as they are given. */
const factors = (widened: Scorecard["widened"]): string =>
  Object.entries(widened)
    .map(([name, factor]) => `${JSON.stringify(name)}: ${factor}`)
    .join(", ");

function failures({ families, seed, level, examples, widened }: Scorecard): string[] {
  const failed = families.filter((one) => one.failures.length > 0);
  if (failed.length === 0) return [];
  const lines = failed.flatMap((one) => one.failures.map(({ message }) => `  ${message}`));
  const names = failed.map(({ family }) => JSON.stringify(family)).join(", ");
  const widen = Object.keys(widened).length === 0 ? "" : `, widen: { ${factors(widened)} }`;
  const again = `runConformance(createBackend, { level: "${level}", seed: ${seed}, examples: ${examples}, families: [${names}]${widen} })`;
  return ["", "Failed", ...lines, "", `To repeat: ${again}`];
}

/** A scorecard for people: a table by family, wider tolerances, what failed and how to repeat it, what did not run and why, speed. */
export function formatScorecard(card: Scorecard): string {
  const { backend, level, seed, examples, passed, failed, skipped, notApplicable } = card;
  const head = ["family", "passed", "failed", "skipped", "n/a", "worst f32 error", "of allowed", "time"];
  const lines = [
    `${backend} at level ${level}: ${examples} examples a property, seed ${seed}`,
    "",
    ...table([head, ...card.families.map(familyRow)]),
    "",
    `${passed} passed, ${failed} failed, ${skipped} skipped, ${notApplicable} not applicable, ${seconds(card.seconds)}`,
    ...(Object.keys(card.widened).length === 0
      ? []
      : [`Tolerances were wider than the suite's, by these factors: ${factors(card.widened)}`]),
    ...failures(card),
    ...reasons("Skipped", card.families, (one) => one.skips),
    ...reasons("Not applicable", card.families, (one) => one.notApplicables),
  ];
  if (card.speed.length > 0)
    lines.push("", ...table([["speed", "median", "least", "most", "rate"], ...card.speed.map(speedRow)]));
  return lines.join("\n");
}
