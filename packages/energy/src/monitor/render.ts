import type { Audit, AuditRow } from "./audit.ts";

const HEADERS = ["Layer (Type)", "Param #", "FLOPs", "Bytes moved", "Joules", "Share"] as const;
const GAP = "  ";
const BAR = 24;
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** The text of an audit: a line a layer, with a bar for its share of the joules, and totals. */
export function renderAudit({ rows, total, source }: Omit<Audit, "toString">): string {
  const share = ({ joules }: Pick<AuditRow, "joules">): number =>
    total.joules === 0 ? 0 : joules / total.joules;
  const cells = [...rows, { ...total, path: "", type: "Total" }].map((row, i) => [
    i === rows.length
      ? row.type
      : row.path === ""
        ? `${row.type}, outside of its layers`
        : `${row.path} (${row.type})`,
    row.parameters.toLocaleString("en-US"),
    row.flops.toLocaleString("en-US"),
    row.bytes.toLocaleString("en-US"),
    withPrefix(row.joules),
    `${(100 * share(row)).toFixed(1)} %`,
  ]);
  const widths = HEADERS.map((header, column) =>
    Math.max(header.length, ...cells.map((row) => (row[column] as string).length)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
      )
      .join(GAP);
  const body = cells.map((row, i) => {
    const of = rows[i];
    return of === undefined ? line(row) : `${line(row)}${GAP}${bar(share(of))}`.trimEnd();
  });
  const rule = "─".repeat(line(HEADERS).length);
  return [line(HEADERS), rule, ...body.slice(0, -1), rule, ...body.slice(-1), `Estimate: ${source}`].join(
    "\n",
  );
}

/** A bar of a share from 0 to 1, in eighths of a character. */
function bar(share: number): string {
  const eighths = Math.round(share * BAR * 8);
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] as string);
}

/** Joules with the prefix that leaves one to three digits before the point. */
function withPrefix(joules: number): string {
  const prefixes = ["", "m", "µ", "n", "p"];
  let value = joules;
  let i = 0;
  while (value !== 0 && value < 1 && i < prefixes.length - 1) {
    value *= 1000;
    i++;
  }
  return `${value.toPrecision(3)} ${prefixes[i]}J`;
}
