import { type Backend, BackendError, OptionError, type RequiredKernel } from "@nf/core";
import type { CreateBackend } from "./check.ts";

/*
 * What callers of the suite hand over, looked at before anything is looked up in it: each function says what was
 * expected, what came and what to do.
 */

/** The kernels that every backend has. */
export const REQUIRED_KERNELS: readonly RequiredKernel[] = Object.keys({
  map: true,
  reduce: true,
  argReduce: true,
  matmul: true,
  gather: true,
  scatter: true,
  scan: true,
  sort: true,
} satisfies Record<RequiredKernel, true>) as RequiredKernel[];

/** A value of any kind, for messages. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object" || value === null) return String(value);
  return value instanceof Promise ? "a promise" : "an object";
}

/** Refuses what is not a whole number from a least one. @throws OptionError */
export function checkNumber(what: string, name: string, value: unknown, least: number): void {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least)
    throw new OptionError(`${what}: ${name} must be a whole number from ${least}, got ${show(value)}.`);
}

/** Refuses what is not a function; undefined passes where it may be left out. @throws OptionError */
export function checkFunction(what: string, name: string, value: unknown, as: string): void {
  if (typeof value !== "function")
    throw new OptionError(`${what}: ${name} must be a function, ${as}, got ${show(value)}.`);
}

/** Refuses what is not an array. @throws OptionError */
export function checkArray(what: string, name: string, value: unknown): void {
  if (!Array.isArray(value)) throw new OptionError(`${what}: ${name} must be an array, got ${show(value)}.`);
}

/** Refuses options that do not exist. @throws OptionError naming those that do */
export function checkNames(what: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new OptionError(`${what}: options must be an object, got ${show(options)}.`);
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new OptionError(`${what}: unknown option "${name}". It takes ${known.join(", ")}.`);
  }
}

const METHODS = [
  "allocate",
  "free",
  "write",
  "read",
  "execute",
  "supports",
  "synchronize",
  "dispose",
] as const satisfies readonly (keyof Backend)[];

/** Refuses what is no backend. What its capabilities say is the business of a check. @throws BackendError */
export function checkBackend(what: string, name: string, backend: unknown): void {
  const expected = `${what}: ${name} must return a backend, or a promise of one, as createBackend() of a backend's package does`;
  if (typeof backend !== "object" || backend === null)
    throw new BackendError(`${expected}, got ${show(backend)}.`);
  const given = backend as Partial<Backend>;
  const missing = METHODS.filter((method) => typeof given[method] !== "function");
  if (missing.length > 0)
    throw new BackendError(`${expected}, got an object without the methods ${missing.join(", ")}.`);
  const dtypes: Readonly<Partial<Record<RequiredKernel, unknown>>> | undefined = given.capabilities?.dtypes;
  const unlisted = REQUIRED_KERNELS.filter((kernel) => !Array.isArray(dtypes?.[kernel]));
  if (unlisted.length > 0)
    throw new BackendError(
      `${expected}, got one whose capabilities.dtypes lists no dtypes of ${unlisted.join(", ")}: each needs an array.`,
    );
}

/**
 * A function that makes backends, which refuses what is none.
 *
 * @param name of the argument, for messages
 * @throws OptionError for what is no function
 */
export function backendMaker<A extends unknown[]>(
  what: string,
  name: string,
  create: (...args: A) => ReturnType<CreateBackend>,
): (...args: A) => Promise<Backend> {
  checkFunction(what, name, create, "which makes a backend");
  return async (...args) => {
    const backend = await create(...args);
    checkBackend(what, name, backend);
    return backend;
  };
}

/** Steps from one word to another: letters put in, left out, exchanged, or swapped with the next. */
function distance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const same = from[i] === to[j] ? 0 : 1;
      const swapped = i > 0 && j > 0 && from[i] === to[j - 1] && from[i - 1] === to[j];
      const steps = Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + same);
      next.push(swapped ? Math.min(steps, before[j - 1]! + 1) : steps);
    }
    [before, row] = [row, next];
  }
  return row[to.length]!;
}

/** The names that are most like one, the nearest first; at most five, and none that is not like it. */
export function nearest(name: string, names: Iterable<string>): readonly string[] {
  const small = name.toLowerCase();
  const scored = [...new Set(names)].map((one) => {
    const other = one.toLowerCase();
    const within =
      Math.min(small.length, other.length) >= 3 && (other.includes(small) || small.includes(other));
    return { one, steps: within ? 1 : distance(small, other) };
  });
  return scored
    .filter(({ steps }) => steps <= Math.max(1, name.length / 3))
    .sort((a, b) => a.steps - b.steps)
    .slice(0, 5)
    .map(({ one }) => one);
}
