import { OptionError } from "@nf/core";
import { nearest } from "./arguments.ts";
import { allRows } from "./cases/index.ts";
import type { Check, Widen } from "./check.ts";
import { capabilityChecks } from "./checks/capabilities.ts";
import { determinismChecks } from "./checks/determinism.ts";
import { errorChecks } from "./checks/errors.ts";
import { faultChecks } from "./checks/faults.ts";
import { forwardChecks } from "./checks/forward.ts";
import { fusedChecks } from "./checks/fused.ts";
import { gradientChecks } from "./checks/gradient.ts";
import { graphChecks } from "./checks/graphs.ts";
import { layerChecks } from "./checks/layers.ts";
import { modelChecks } from "./checks/models.ts";
import { optimizerChecks } from "./checks/optimizers.ts";
import { propertyCheck } from "./checks/property.ts";
import { transferChecks } from "./checks/transfer.ts";
import { transformChecks } from "./checks/transforms.ts";
import { valueShapeChecks } from "./checks/value-shapes.ts";
import { kernelChecks } from "./kernels/checks.ts";
import { longRowChecks } from "./kernels/long-lines.ts";
import { LEVELS, type Level } from "./model.ts";
import type { ModelTrace } from "./traces/trace.ts";

/** What a plan is made from. */
export interface PlanOptions {
  readonly level: Level;
  readonly traces: readonly ModelTrace[];
  /** Only these; undefined for all. */
  readonly families: readonly string[] | undefined;
  /** Its names must be an operation's, a kernel's or a family's; default none. */
  readonly widen?: Widen;
}

/**
 * All checks up to a level by family, in the order they run.
 *
 * @throws OptionError for a family that does not exist, listing those that do, for a name of `widen` that no check has,
 *   and where no check is left
 */
export function planChecks({
  level,
  traces,
  families,
  widen = {},
}: PlanOptions): ReadonlyMap<string, readonly Check[]> {
  const rows = allRows();
  const all = byFamily([
    ...capabilityChecks(),
    ...transferChecks(),
    ...kernelChecks(),
    ...rows.flatMap((row) => [
      ...forwardChecks(row),
      ...gradientChecks(row),
      ...(row.fixed === true ? [] : [propertyCheck(row)]),
    ]),
    ...longRowChecks(),
    ...fusedChecks(rows),
    ...transformChecks(),
    ...valueShapeChecks(),
    ...graphChecks(),
    ...errorChecks(),
    ...faultChecks(),
    ...determinismChecks(rows),
    ...optimizerChecks(),
    ...modelChecks(traces),
    ...layerChecks(),
  ]);
  const unknown = families?.find((family) => !all.has(family));
  if (unknown !== undefined) {
    throw new OptionError(
      `There is no family "${unknown}" of checks. Choose from ${[...all.keys()].join(", ")}.`,
    );
  }
  checkWidened(widen, all);
  const highest = LEVELS.indexOf(level);
  const chosen = [...all]
    .filter(([family]) => families?.includes(family) ?? true)
    .map(
      ([family, checks]) => [family, checks.filter((one) => LEVELS.indexOf(one.level) <= highest)] as const,
    );
  const plan = new Map(chosen.filter(([, checks]) => checks.length > 0));
  if (plan.size === 0) {
    // Nothing that was looked at is nothing that passed.
    const names = families === undefined || families.length === 0 ? "no family" : families.join(", ");
    throw new OptionError(
      `There is no check of ${names} at level "${level}". Choose a higher level or more families.`,
    );
  }
  return plan;
}

/** Reasons to skip, all before the first check runs or is registered: what is no reason is told at once. */
export function skipReasons(
  plan: ReadonlyMap<string, readonly Check[]>,
  skip: (check: Check) => string | undefined,
): ReadonlyMap<Check, string | undefined> {
  return new Map([...plan.values()].flat().map((check) => [check, skip(check)]));
}

/** A factor for what no check is about would widen nothing, and be missed where it was meant. */
function checkWidened(widen: Widen, all: ReadonlyMap<string, readonly Check[]>): void {
  const subjects = [...all.values()].flatMap((checks) => checks.map(({ subject }) => subject));
  const known = new Set(["*", ...all.keys(), ...subjects]);
  const unknown = Object.keys(widen).find((name) => !known.has(name));
  if (unknown === undefined) return;
  const near = nearest(unknown, known);
  const advice =
    near.length === 0
      ? `Name an operation, one of the families ${[...all.keys()].join(", ")}, or * for all.`
      : `Near it are ${near.join(", ")}; * is for all.`;
  throw new OptionError(
    `widen: there is no operation, kernel or family "${unknown}" whose tolerance could be wider. ${advice}`,
  );
}

/** Checks by family, in order of first appearance. */
function byFamily(checks: readonly Check[]): ReadonlyMap<string, readonly Check[]> {
  const families = new Map<string, Check[]>();
  for (const check of checks) {
    const list = families.get(check.family);
    if (list === undefined) families.set(check.family, [check]);
    else list.push(check);
  }
  return families;
}
