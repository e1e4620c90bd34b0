import {
  type Backend,
  type Call,
  type DType,
  isFloat,
  type Program,
  type ScalarOp,
  type View,
} from "@nf/core";
import { groups, lines, nd } from "../../src/reference/nd.ts";
import { roundTo } from "../../src/values.ts";
import { Planted, setValues, valuesOf } from "./host.ts";

/* Results that are nearly right: digits lost on the way, functions that are good only near 0. */

type Wrap = (wrapped: Backend) => Backend;
type ReduceCall = Extract<Call, { kernel: "reduce" }>;

const afterwards =
  (change: (call: Call, backend: Backend) => void): Wrap =>
  (wrapped) =>
    new Planted(wrapped, (call, run, backend) => {
      run(call);
      change(call, backend);
    });

/** Products of matrices without a batch whose sum is rounded after every term. */
function roundedProducts(only: (a: View) => boolean, keep: DType): Wrap {
  return afterwards((call, backend) => {
    const [a, b] = call.inputs as readonly [View, View];
    if (call.kernel !== "matmul" || call.program !== undefined || a.shape.length !== 2 || !only(a)) return;
    const [x, y] = [valuesOf(backend, a), valuesOf(backend, b)];
    const [inner, columns] = b.shape as readonly [number, number];
    const product = Array.from({ length: a.shape[0]! * columns }, (_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      let total = 0;
      for (let k = 0; k < inner; k++)
        total = roundTo(keep, total + x[row * inner + k]! * y[k * columns + column]!);
      return total;
    });
    setValues(backend, call.outputs[0]!, product);
  });
}

export const matmulInBfloat: Wrap = roundedProducts(({ dtype }) => dtype === "f32", "bf16");
export const matmulOfHalfsInHalf: Wrap = roundedProducts(({ dtype }) => dtype === "f16", "f16");
export const matmulOfBfloatsInBfloat: Wrap = roundedProducts(({ dtype }) => dtype === "bf16", "bf16");
/**
 * Promise 1 allows 1.3e-6 relative and four times what PyTorch misses by, which adds blocks up: 70,000 terms in turn are
 * off by three times as much. Some hundred terms in turn are within it, and no fault.
 */
export const matmulInTurn: Wrap = roundedProducts(
  ({ dtype, shape }) => dtype === "f32" && shape[1]! > 60_000,
  "f32",
);

const plain = (program: Program): boolean => program.instructions.length === 1;

/** Plain reductions of one kind, of floats, computed anew from the elements of each group. */
function reductions(
  only: (call: ReduceCall, length: number) => boolean,
  f: (values: readonly number[]) => number,
): Wrap {
  return afterwards((call, backend) => {
    if (call.kernel !== "reduce" || !plain(call.program) || call.outputs.length !== 1) return;
    const input = call.inputs[0]!;
    const length = input.size / call.outputs[0]!.size;
    if (call.attributes.kinds[0] !== "sum" || !isFloat(input.dtype) || !only(call, length)) return;
    const values = nd(input.shape, valuesOf(backend, input));
    setValues(backend, call.outputs[0]!, groups(values, call.attributes.axes).lists.map(f));
  });
}

/** Adds up in f32, one term after the other, where there are very many; in columns too, unlike pairs of them. */
export const sumsInTurn: Wrap = reductions(
  ({ inputs }, length) => inputs[0]!.dtype === "f32" && length > 60_000,
  (values) => values.reduce((total, value) => Math.fround(total + value), 0),
);
/** Each block of 128 ends one element early. */
export const dropsLastOfBlock: Wrap = reductions(
  (_call, length) => length >= 128,
  (values) => values.filter((_, i) => i % 128 !== 127).reduce((total, value) => total + value, 0),
);
/** Running sums that are rounded to f32 after every term. */
export const runsInTurn: Wrap = afterwards((call, backend) => {
  const input = call.inputs[0]!;
  if (
    call.kernel !== "scan" ||
    call.attributes.kind !== "sum" ||
    call.attributes.reverse ||
    input.dtype !== "f32"
  )
    return;
  const running = (line: readonly number[]): readonly number[] => {
    let total = 0;
    return line.map((value) => (total = Math.fround(total + value)));
  };
  setValues(
    backend,
    call.outputs[0]!,
    lines(nd(input.shape, valuesOf(backend, input)), call.attributes.axis, running).data,
  );
});

/** Another function in programs that are nothing but one of this name, of f32. */
function functions(op: ScalarOp, f: (x: number) => number): Wrap {
  return afterwards((call, backend) => {
    if (call.kernel !== "map" || call.inputs.length !== 1 || call.inputs[0]!.dtype !== "f32") return;
    if (call.program.instructions.map((one) => one.op).join() !== `input,${op}`) return;
    // Its own input written over has no arguments left.
    if (call.outputs[0]!.buffer === call.inputs[0]!.buffer) return;
    setValues(backend, call.outputs[0]!, valuesOf(backend, call.inputs[0]!).map(f));
  });
}

const PERIOD = Math.fround(2 * Math.PI);
/** Whole periods are taken off in f32, which does not hold the period. */
export const sinReducedInFloat: Wrap = functions("sin", (x) => {
  const rest = Math.fround(x - Math.fround(PERIOD * Math.round(x / PERIOD)));
  return Math.sin(rest);
});
/** The series up to x^15, good to all digits between ±π, and nothing else. */
export const sinUnreduced: Wrap = functions("sin", (x) => {
  let [term, total] = [x, x];
  for (let n = 2; n < 20; n += 2) {
    term *= (-x * x) / (n * (n + 1));
    total += term;
  }
  return total;
});
export const tanhSaturates: Wrap = functions("tanh", (x) => (Math.abs(x) >= 4 ? Math.sign(x) : Math.tanh(x)));
/** Loses the digits of small arguments. */
export const expm1ByExp: Wrap = functions("expm1", (x) => Math.fround(Math.fround(Math.exp(x)) - 1));
/** Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most, which near 0 is all digits but one. */
export const erfOfFiveTerms: Wrap = functions("erf", (x) => {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const terms = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429];
  const polynomial = terms.reduceRight((total, factor) => (total + factor) * t, 0);
  return Number.isNaN(x) ? x : Math.sign(x) * (1 - polynomial * Math.exp(-x * x));
});
