import { IndexError, OptionError } from "../errors.ts";

/**
 * Refuses options that an operation does not have, naming those it has.
 * @throws OptionError
 */
export function checkOptions(op: string, options: object | undefined, allowed: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) {
    throw new OptionError(
      `${op}: options must be an object like { ${allowed[0] ?? ""}: … }, got ${String(options)}.`,
    );
  }
  for (const key of Object.keys(options)) {
    if (!allowed.includes(key)) {
      const choices = allowed.length === 0 ? "It takes none." : `It takes ${allowed.join(", ")}.`;
      throw new OptionError(`${op}: unknown option "${key}". ${choices}`);
    }
  }
}

/** Brings an axis into 0 … rank - 1; negative ones count from the end. */
export function checkAxis(op: string, axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || resolved < 0 || resolved >= rank) {
    throw new IndexError(
      `${op}: axis ${axis} is outside a tensor of ${rank} dimension${rank === 1 ? "" : "s"} (-${rank} to ${rank - 1}).`,
    );
  }
  return resolved;
}

/** Axes ascending and distinct; all of them where none are given. */
export function checkAxes(
  op: string,
  axis: number | readonly number[] | undefined,
  rank: number,
): readonly number[] {
  if (axis === undefined) {
    const every = new Array<number>(rank);
    for (let i = 0; i < rank; i++) every[i] = i;
    return every;
  }
  if (typeof axis === "number") return [checkAxis(op, axis, rank)];
  const axes = axis.map((one) => checkAxis(op, one, rank)).sort((a, b) => a - b);
  axes.forEach((one, index) => {
    if (one === axes[index - 1]) throw new IndexError(`${op}: axis ${one} is named twice.`);
  });
  return axes;
}

/** An option that must be one of a few words. */
export function checkChoice<T extends string>(op: string, name: string, value: T, choices: readonly T[]): T {
  if (!choices.includes(value)) {
    throw new OptionError(
      `${op}: ${name} must be one of ${choices.map((choice) => `"${choice}"`).join(", ")}, got ${JSON.stringify(value)}.`,
    );
  }
  return value;
}

/** A whole number within bounds. */
export function checkInteger(
  op: string,
  name: string,
  value: number,
  low: number,
  high: number = Number.MAX_SAFE_INTEGER,
): number {
  if (!Number.isInteger(value) || value < low || value > high) {
    const range = high === Number.MAX_SAFE_INTEGER ? `at least ${low}` : `${low} to ${high}`;
    throw new OptionError(`${op}: ${name} must be a whole number, ${range}, got ${String(value)}.`);
  }
  return value;
}
