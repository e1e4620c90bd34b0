import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { exportedOps, setUp } from "./helper.ts";
import { SAMPLES } from "./samples.ts";

/** Values that no tensor is, with how an error shows them. */
const NOT_TENSORS = [undefined, null, "text", [1, 2], {}, true, () => 0, Float32Array.of(1)];
/** Values that are wrong nearly everywhere. */
const GARBAGE = [
  ...NOT_TENSORS,
  Number.NaN,
  Infinity,
  1.5,
  -7,
  [],
  [null],
  [-1.5],
  [7, 7, 7],
  Symbol("s"),
  10n,
];

const elsewhere = core.nullBackend();

/** Tensors that fit few calls: of other shapes and dtypes, ended, on another backend. */
const OTHER_TENSORS: readonly (() => core.Tensor)[] = [
  () => core.zeros([]),
  () => core.zeros([7]),
  () => core.zeros([0]),
  () => core.zeros([5, 4]),
  () => core.zeros([3, 2, 5, 7, 2]),
  () => core.zeros([2, 3], { dtype: "bool" }),
  () => core.ones([2, 3], { dtype: "i32" }),
  () => core.zeros([2, 3], { dtype: "u32" }),
  () => core.ones([4, 4], { dtype: "i32" }),
  () => core.zeros([0, 3], { dtype: "i32" }),
  () => core.zeros([2, 3], { backend: elsewhere }),
  () => {
    const x = core.zeros([2, 3]);
    x.dispose();
    return x;
  },
];

const op = (name: string): ((...args: unknown[]) => unknown) => {
  const found: unknown = Object.entries(core).find(([key]) => key === name)?.[1];
  if (typeof found !== "function") throw new Error(`@nf/core has no ${name}`);
  return (...args) => found(...args);
};

/** What a call ends with, synchronously or not: its error, or undefined. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Copies of an ordinary call's arguments with one of them (or one option, or one item of a list) replaced. */
function spoiled(args: readonly unknown[], values: readonly unknown[]): { what: string; args: unknown[] }[] {
  return args.flatMap((arg, i) => {
    const whole = values.map((value) => ({
      what: `argument ${i} = ${String(value)}`,
      args: args.with(i, value),
    }));
    if (Array.isArray(arg)) {
      const items = arg.flatMap((_, at) =>
        values.map((value) => ({
          what: `argument ${i}[${at}] = ${String(value)}`,
          args: args.with(i, arg.with(at, value)),
        })),
      );
      return [...whole, ...items];
    }
    if (typeof arg !== "object" || arg === null || Object.getPrototypeOf(arg) !== Object.prototype)
      return whole;
    const options = Object.keys(arg).flatMap((key) =>
      values.map((value) => ({
        what: `${key} = ${String(value)}`,
        args: args.with(i, { ...arg, [key]: value }),
      })),
    );
    return [...whole, ...options];
  });
}

beforeAll(setUp);

describe("misuse of every exported operation", () => {
  const names = exportedOps(["options"]).filter(
    (name) => !["defineUpdate", "pureUpdate", "runUpdate", "runUpdates"].includes(name),
  );
  const ops = names.filter((name) => !["Generator", "generator"].includes(name));

  it("has an ordinary call for each, which works", async () => {
    const file = "packages/core/tests/ops/samples.ts";
    const missing = ops.filter((name) => SAMPLES[name] === undefined);
    expect(missing, `add an ordinary call of each to SAMPLES in ${file}`).toEqual([]);
    const unknown = Object.keys(SAMPLES).filter((name) => !ops.includes(name));
    expect(unknown, `core exports none of these: take them out of ${file}`).toEqual([]);
    for (const name of ops) await op(name)(...SAMPLES[name]!());
  });

  describe.each(ops)("%s", (name) => {
    it("says what it expected in place of what is not a tensor", async () => {
      const args = SAMPLES[name]!();
      for (const [i, arg] of args.entries()) {
        if (!(arg instanceof core.Tensor)) continue;
        for (const value of NOT_TENSORS) {
          const error = await errorOf(() => op(name)(...args.with(i, value)));
          if (error === undefined && value === undefined && i === 2) continue; // bias may be left out
          if (name === "at" && i > 0) continue; // places are numbers and more
          const what = `argument ${i} = ${String(value)}`;
          expect(error, what).toBeInstanceOf(core.NanoFluxError);
          expect((error as Error).message, what).toMatch(
            new RegExp(`^${name}: .*expected a tensor( as .*)?, got `),
          );
        }
      }
    });

    it("never fails with anything but a typed error", async () => {
      const problems: string[] = [];
      for (const { what, args } of spoiled(SAMPLES[name]!(), GARBAGE)) {
        const error = await errorOf(() => op(name)(...args));
        if (error !== undefined && !(error instanceof core.NanoFluxError))
          problems.push(`${what}: ${String(error)}`);
      }
      expect(problems).toEqual([]);
    });

    it("names itself in every message, and no operation inside", async () => {
      const problems: string[] = [];
      const values = [...GARBAGE, ...OTHER_TENSORS.map((make) => make())];
      for (const { what, args } of spoiled(SAMPLES[name]!(), values)) {
        const error = await errorOf(() => op(name)(...args));
        if (error !== undefined && !(error as Error).message.startsWith(`${name}: `))
          problems.push(`${what}: ${String(error)}`);
      }
      expect(problems).toEqual([]);
    });

    it("refuses unknown options by name", async () => {
      const args = SAMPLES[name]!();
      const last = args.at(-1);
      if (typeof last !== "object" || last === null || Object.getPrototypeOf(last) !== Object.prototype)
        return;
      if (["slice", "at", "quantizedMatmul"].includes(name)) return; // their objects are places and weights
      const error = await errorOf(() => op(name)(...args.slice(0, -1), { ...last, axes: 1 }));
      expect(error).toBeInstanceOf(core.OptionError);
      expect((error as Error).message).toMatch(new RegExp(`^${name}: unknown option "axes". It takes `));
    });
  });
});
