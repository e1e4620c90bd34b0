import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { type Derivatives, derivativesOf, difference, setUp, type Tolerance } from "./helper.ts";

/*
 * Every file of goldens/ops against PyTorch's float64: forward, gradients through backward, and second order. In f64
 * closely, in f32 within promise 1: relative 1.3e-6 plus four times what PyTorch's own f32 misses by.
 */

interface Values {
  readonly name?: string;
  readonly shape: readonly number[];
  readonly dtype: "f64" | "i32" | "bool";
  readonly data: readonly (number | "NaN" | "Infinity" | "-Infinity")[];
}

interface Case {
  readonly name: string;
  readonly inputs: readonly Values[];
  readonly options?: Readonly<Record<string, unknown>>;
  readonly output: Values;
  readonly cotangent?: Values;
  readonly grads?: readonly (Values | null)[];
  readonly cotangent2?: readonly (Values | null)[];
  readonly grads2?: readonly (Values | null)[];
  readonly f32Error: {
    readonly output: number;
    readonly grads?: readonly (number | null)[];
    readonly grads2?: readonly (number | null)[];
  };
}

/** Inputs of a case, in order and by name. */
interface Arguments {
  readonly inputs: readonly core.Tensor[];
  readonly named: Readonly<Record<string, core.Tensor>>;
}

interface Entry {
  readonly call: (args: Arguments, options: never) => core.Tensor;
  /** Forward without any rounding: integers, movement, comparison. */
  readonly exact?: boolean;
  /** Tolerance in f64, and least absolute one in f32, where {@link TIGHT} is too tight; and why. */
  readonly loose?: Tolerance & { readonly why: string };
}

const FOLDER = new URL("../../../../goldens/ops/", import.meta.url);
const FILES = readdirSync(FOLDER).map((file) => file.replace(/\.json$/, ""));
const TIGHT: Tolerance = { relative: 1e-9, absolute: 1e-12 };

const UNARY_EXACT = ["abs", "ceil", "floor", "isFinite", "isInf", "isNaN", "logicalNot", "neg"] as const;
const UNARY_STEPS = ["relu", "relu6", "round", "sign", "square", "trunc"] as const;
const UNARY = [
  ...["acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "erfc", "exp", "expm1"],
  ...["hardSigmoid", "hardSwish", "log", "log1p", "log2", "logSigmoid", "mish", "reciprocal", "rsqrt"],
  ...["selu", "sigmoid", "silu", "sin", "sinh", "softsign", "sqrt", "tan", "tanh"],
] as const;
const BINARY_EXACT = [
  ...["bitwiseAnd", "bitwiseOr", "bitwiseXor", "equal", "greater", "greaterEqual", "less", "lessEqual"],
  ...["logicalAnd", "logicalOr", "logicalXor", "maximum", "minimum", "notEqual"],
] as const;
const BINARY = ["add", "atan2", "div", "floorDivide", "mul", "pow", "remainder", "squaredDifference", "sub"];
const REDUCE_EXACT = ["all", "any", "argmax", "argmin", "countNonzero", "max", "min"];
const REDUCE = ["logSumExp", "mean", "prod", "std", "sum", "var"];
const WITH_OPTIONS = ["elu", "gelu", "leakyRelu", "logSoftmax", "softmax", "softplus"];
const LOSSES = ["huberLoss", "klDiv", "l1Loss", "mseLoss"];

/** The function of core with a name; fails where there is none. */
function op(name: string): (...args: unknown[]) => core.Tensor {
  const found: unknown = Object.entries(core).find(([key]) => key === name)?.[1];
  if (typeof found !== "function") throw new Error(`@nf/core has no ${name}`);
  return (...args) => found(...args) as core.Tensor;
}

/** The same way of calling for many ops. */
function each(names: readonly string[], make: (name: string) => Entry): Record<string, Entry> {
  return Object.fromEntries(names.map((name) => [name, make(name)]));
}

const plain = (name: string): Entry => ({ call: ({ inputs }) => op(name)(...inputs) });
const optioned = (name: string): Entry => ({
  call: ({ inputs }, options) => op(name)(...inputs, options),
});
const exact = (entry: Entry): Entry => ({ ...entry, exact: true });
const convolution = (name: string): Entry => ({
  call: ({ named }, options) => op(name)(named["input"], named["weight"], named["bias"], options),
});
/** Losses over classes: weights are an option, not an argument. */
const classLoss = (name: string): Entry => ({
  call: ({ named: { input, target, ...weights } }, options: object) =>
    op(name)(input, target, { ...options, ...weights }),
});

/** Weights of a recurrent cell, in PyTorch's order. */
const weightsOf = ([
  weightInput,
  weightHidden,
  biasInput,
  biasHidden,
]: readonly core.Tensor[]): core.CellWeights => ({
  weightInput: weightInput!,
  weightHidden: weightHidden!,
  biasInput,
  biasHidden,
});

const TABLE: Readonly<Record<string, Entry>> = {
  ...each([...UNARY_EXACT, ...UNARY_STEPS, ...BINARY_EXACT], (name) => exact(plain(name))),
  ...each([...UNARY, ...BINARY], plain),
  ...each(REDUCE_EXACT, (name) => exact(optioned(name))),
  ...each([...REDUCE, ...WITH_OPTIONS, ...LOSSES, "avgPool2d"], optioned),
  ...each(["cumprod", "cumsum", "glu"], optioned),
  ...each(["clip", "cummax", "maxPool2d"], (name) => exact(optioned(name))),
  norm: {
    call: ({ inputs: [x] }, { p = 2, ...rest }: { p?: number | string }) =>
      op("norm")(x, { ...rest, p: Number(p) }),
  },
  ...each(["argsort", "diag", "diagonal"], (name) => exact(optioned(name))),
  ...each(["sort", "topk"], (name) =>
    exact({
      call: ({ inputs: [x] }, options) =>
        (name === "sort" ? core.sort(x!, options) : core.topk(x!, options)).values,
    }),
  ),
  ...each(["cosineEmbeddingLoss", "cosineSimilarity", "l2Normalize", "tripletMarginLoss"], optioned),
  ...each(["repeatInterleave", "tile"], (name) =>
    exact({
      call: ({ inputs: [x] }, { repeats, ...rest }: { repeats: unknown }) =>
        op(name)(x, repeats, ...(Object.keys(rest).length > 0 ? [rest] : [])),
    }),
  ),
  roll: exact(optioned("roll")),
  ...each(["batchNorm", "groupNorm", "instanceNorm", "layerNorm", "rmsNorm"], (name) => ({
    call: ({ named: { input, ...rest } }, options: object) => op(name)(input, { ...options, ...rest }),
  })),
  scaledDotProductAttention: {
    call: ({ named: { q, k, v, ...rest } }, options: object) =>
      core.scaledDotProductAttention(q!, k!, v!, { ...options, ...rest }),
  },
  ...each(["adaptiveAvgPool1d", "adaptiveAvgPool2d", "fold", "rope", "unfold", "upsample"], optioned),
  ...each(["adaptiveMaxPool1d", "adaptiveMaxPool2d"], (name) => exact(optioned(name))),
  ...each(["convTranspose1d", "convTranspose2d", "convTranspose3d"], convolution),
  quantize: {
    call: ({ inputs: [x] }, { format }: { format: core.QuantizedFormat }) =>
      core.quantize(x!.dataSync(), x!.shape, format).bytes,
  },
  trace: plain("trace"),
  einsum: { call: ({ inputs }, { equation }: { equation: string }) => core.einsum(equation, ...inputs) },
  rnnCell: { call: ({ inputs: [x, hidden, ...rest] }) => core.rnnCell(x!, hidden!, weightsOf(rest)) },
  gruCell: { call: ({ inputs: [x, hidden, ...rest] }) => core.gruCell(x!, hidden!, weightsOf(rest)) },
  lstmCell: {
    call: ({ inputs: [x, hidden, cell, ...rest] }) =>
      core.concat(core.lstmCell(x!, [hidden!, cell!], weightsOf(rest)), 1),
  },
  pad: exact({
    call: ({ inputs: [x] }, { padding, ...rest }: { padding: unknown }) => op("pad")(x, padding, rest),
  }),
  ...each(["conv1d", "conv2d"], convolution),
  ...each(["crossEntropy", "nllLoss"], classLoss),
  ...each(["dot", "matmul", "outer"], plain),
  hardSigmoid: {
    ...plain("hardSigmoid"),
    loose: { relative: 1e-7, absolute: 1e-12, why: "PyTorch's derivative holds 1/6 as a float32" },
  },
  gelu: {
    ...optioned("gelu"),
    loose: {
      relative: 1e-9,
      absolute: 1e-12,
      why: "PyTorch's 1 + erf cancels to 0 in the tail, our erfc does not",
    },
  },
  softplus: {
    ...optioned("softplus"),
    loose: { relative: 1e-9, absolute: 1e-10, why: "PyTorch takes x itself above 20, we the formula" },
  },
  smoothL1: optioned("smoothL1Loss"),
  bce: {
    ...classLoss("bce"),
    loose: { relative: 1e-8, absolute: 1e-12, why: "PyTorch holds its least p (1 - p), 1e-12, as a float32" },
  },
  bceWithLogits: classLoss("bceWithLogits"),
  linear: { call: ({ named: { input, weight, bias } }) => op("linear")(input, weight, bias) },
  where: exact(plain("where")),
  maskedFill: exact({
    call: ({ inputs: [x, mask] }, { value }: { value: number | string }) =>
      op("maskedFill")(x, mask, Number(value)),
  }),
  ...each(["gather", "indexSelect"], (name) =>
    exact({ call: ({ inputs: [x, index] }, { axis }: { axis: number }) => op(name)(x, axis, index) }),
  ),
  scatterAdd: {
    call: ({ inputs: [x, index, source] }, { axis }: { axis: number }) =>
      op("scatterAdd")(x, axis, index, source),
  },
};

function readCases(name: string): readonly Case[] {
  const file = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8")) as {
    cases: readonly Case[];
  };
  return file.cases;
}

/** Values as a tensor; floats in the dtype that is tested. */
function load({ shape, dtype, data }: Values, float: "f32" | "f64", requiresGrad = false): core.Tensor {
  const values = Float64Array.from(data, Number);
  return core.fromData(values, shape, { dtype: dtype === "f64" ? float : dtype, requiresGrad });
}

function argumentsOf(test: Case, float: "f32" | "f64"): Arguments {
  const inputs = test.inputs.map((values, i) => load(values, float, Boolean(test.grads?.[i])));
  const named = Object.fromEntries(test.inputs.flatMap(({ name }, i) => (name ? [[name, inputs[i]!]] : [])));
  return { inputs, named };
}

function evaluate(
  entry: Entry,
  test: Case,
  float: "f32" | "f64",
): Derivatives & { shape: readonly number[] } {
  const args = argumentsOf(test, float);
  let shape: readonly number[] = [];
  const run = (): core.Tensor => {
    const output = entry.call(args, (test.options ?? {}) as never);
    shape = output.shape;
    return output;
  };
  const { cotangent, cotangent2 } = test;
  const second =
    cotangent2 && ((_: core.Tensor, i: number) => (cotangent2[i] ? load(cotangent2[i], float) : undefined));
  const found = derivativesOf(run, args.inputs, () => load(cotangent as Values, float), second);
  return { ...found, shape };
}

/** Everything that is wrong with a case. */
function problems(entry: Entry, test: Case, float: "f32" | "f64"): string[] {
  const found = evaluate(entry, test, float);
  const tolerance = (error: number | null | undefined, exactly = false): Tolerance => {
    if (exactly) return { relative: 0, absolute: 0 };
    if (float === "f64") return entry.loose ?? TIGHT;
    return { relative: 1.3e-6, absolute: Math.max(4 * (error ?? 0), entry.loose?.absolute ?? 0) };
  };
  const list: string[] = [];
  const compare = (
    label: string,
    got: readonly number[] | undefined,
    values: Values,
    allowed: Tolerance,
  ): void => {
    const problem = difference(got ?? [], values.data.map(Number), allowed);
    if (problem !== undefined) list.push(`${test.name}: ${label} ${problem}`);
  };
  if (found.shape.join() !== test.output.shape.join())
    list.push(`${test.name}: shape [${found.shape}] instead of [${test.output.shape}]`);
  const isInteger = test.output.dtype !== "f64";
  const error = test.f32Error;
  compare("output", found.output, test.output, tolerance(error.output, isInteger || entry.exact));
  test.grads?.forEach((grad, i) => {
    if (grad) compare(`gradient ${i}`, found.grads[i], grad, tolerance(error.grads?.[i]));
  });
  test.grads2?.forEach((grad, i) => {
    if (grad) compare(`second gradient ${i}`, found.grads2[i], grad, tolerance(error.grads2?.[i]));
  });
  return list;
}

/** Runs in a scope of its own, so that cases leave nothing behind. */
function within<T>(fn: () => T): T {
  const scope = new core.Scope();
  try {
    return scope.run(fn);
  } finally {
    scope.dispose();
  }
}

beforeAll(setUp);

describe("goldens", () => {
  it("are all mapped to an op of core", () => {
    expect(FILES.length).toBeGreaterThan(100);
    const unread = FILES.filter((name) => TABLE[name] === undefined);
    expect(
      unread,
      "add each file of goldens/ops/ to TABLE in packages/core/tests/ops/goldens.test.ts",
    ).toEqual([]);
    const missing = Object.keys(TABLE).filter((name) => !FILES.includes(name));
    expect(missing, "goldens/ops/ has no file for these: goldens/README.md says how to make them").toEqual(
      [],
    );
  });

  describe.each(Object.entries(TABLE))("%s", (name, entry) => {
    const cases = readCases(name);

    it.each(["f64", "f32"] as const)(`%s: ${cases.length} cases`, (float) => {
      const found = cases.flatMap((test) => {
        try {
          return within(() => problems(entry, test, float));
        } catch (error) {
          return [`${test.name}: threw ${error}`];
        }
      });
      expect(found).toEqual([]);
    });
  });
});
