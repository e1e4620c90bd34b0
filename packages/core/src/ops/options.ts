import { type DType, isFloat } from "../dtype.ts";
import { DTypeError, IndexError, OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** A value of any kind, for messages. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const { name } = value.constructor ?? {};
  return name === undefined || name === "Object" ? "an object" : `an object (${name})`;
}

/**
 * Refuses what is not a tensor, or ended. Operations that look at an operand, or call others with it, call this first:
 * the message names what was called.
 * @param as what it was to be, where its position does not tell, like " as bias"
 * @throws DTypeError, LifetimeError
 */
export function checkTensor(op: string, x: unknown, as = ""): void {
  const given = x as Tensor | null | undefined;
  if (typeof given?.assertAlive !== "function")
    throw new DTypeError(`${op}: expected a tensor${as}, got ${show(x)}. Make one with tensor(…).`);
  given.assertAlive(op);
}

/** Refuses what is not a tensor of a float dtype. */
export function checkFloat(op: string, x: { readonly dtype: DType }): void {
  checkTensor(op, x);
  if (!isFloat(x.dtype))
    throw new DTypeError(`${op}: needs a float tensor, got ${x.dtype}. Convert with x.cast("f32").`);
}

/** Refuses what is not a list: of sizes, axes or tensors. */
export function checkList(op: string, name: string, value: unknown): void {
  if (!Array.isArray(value))
    throw new ShapeError(`${op}: ${name} must be an array like [2, 3], got ${show(value)}.`);
}

/** A number within bounds, both included; NaN is outside of any. */
export function checkNumber(
  op: string,
  name: string,
  value: number,
  low: number = -Infinity,
  high: number = Infinity,
): number {
  if (typeof value !== "number" || !(value >= low && value <= high)) {
    const range =
      low === -Infinity && high === Infinity
        ? ""
        : high === Infinity
          ? ` of at least ${low}`
          : ` from ${low} to ${high}`;
    throw new OptionError(`${op}: ${name} must be a number${range}, got ${show(value)}.`);
  }
  return value;
}

/** Refuses what is not a function. */
export function checkFunction(op: string, fn: unknown): void {
  if (typeof fn !== "function") throw new OptionError(`${op}: expected a function, got ${show(fn)}.`);
}

/** Options that are true or false, wherever they occur: an option's name means one thing. */
const FLAGS: ReadonlySet<string> = /* @__PURE__ */ new Set(
  (
    "keepDims descending largest reverse ceilMode countIncludePad logTarget requiresGrad replacement hard training " +
    "causal alignCorners interleaved swap createGraph retainGraph aux"
  ).split(" "),
);

/**
 * Refuses options that an operation does not have, and flags that are neither true nor false, naming what it has.
 * @throws OptionError
 */
export function checkOptions(op: string, options: object | undefined, allowed: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) {
    throw new OptionError(
      `${op}: options must be an object like { ${allowed[0] ?? ""}: … }, got ${show(options)}.`,
    );
  }
  for (const key of Object.keys(options)) {
    if (!allowed.includes(key)) {
      const choices = allowed.length === 0 ? "It takes none." : `It takes ${allowed.join(", ")}.`;
      throw new OptionError(`${op}: unknown option "${key}". ${choices}`);
    }
    const value: unknown = (options as Readonly<Record<string, unknown>>)[key];
    if (FLAGS.has(key) && value !== undefined && typeof value !== "boolean")
      throw new OptionError(`${op}: ${key} must be true or false, got ${show(value)}.`);
  }
}

/** Brings an axis into 0 … rank - 1; negative ones count from the end. */
export function checkAxis(op: string, axis: number, rank: number): number {
  const whole = Number.isInteger(axis);
  const resolved = whole && axis < 0 ? axis + rank : axis;
  if (!whole || resolved < 0 || resolved >= rank) {
    const range =
      rank === 0
        ? "a scalar, which has none"
        : `a tensor of ${rank} dimension${rank === 1 ? "" : "s"} (-${rank} to ${rank - 1})`;
    throw new IndexError(`${op}: axis ${show(axis)} is outside ${range}.`);
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
  // A scalar counts as one line of one element, as in PyTorch.
  if (rank === 0 && [axis].flat().every((one) => one === 0 || one === -1)) return [];
  if (!Array.isArray(axis)) return [checkAxis(op, axis as number, rank)];
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
      `${op}: ${name} must be one of ${choices.map((choice) => `"${choice}"`).join(", ")}, got ${show(value)}.`,
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
    throw new OptionError(`${op}: ${name} must be a whole number, ${range}, got ${show(value)}.`);
  }
  return value;
}
