import type { Backend, DType } from "@nf/core";
import { matmul, nd } from "../../src/reference/nd.ts";
import { setValues, valuesOf } from "./host.ts";
import { inCalls, results } from "./kernels.ts";

/* Faults that only signs of zeros, long lines and last digits show. */

const FUNCTIONS: readonly string[] = [
  "mul",
  "div",
  "sqrt",
  "sin",
  "tan",
  "tanh",
  "asinh",
  "erf",
  "expm1",
  "log1p",
];

/** f32 functions whose zeros lost their sign. */
export const functionsUnsigned: (wrapped: Backend) => Backend = results(
  "map",
  (value) => (value === 0 ? 0 : value),
  ({ outputs, program }) =>
    outputs.every(({ dtype }) => dtype === "f32") &&
    FUNCTIONS.includes(program.instructions.at(-1)?.op ?? ""),
);

/** Sorted values whose zeros lost their sign. */
export const sortUnsigned: (wrapped: Backend) => Backend = results("sort", (value) =>
  value === 0 ? 0 : value,
);

/** Positions of nine bits. */
export const shortPositions: (wrapped: Backend) => Backend = results("argReduce", (value) => value & 511);

/** Positions of sixteen bits. */
export const shortOrder: (wrapped: Backend) => Backend = inCalls("sort", (call, run, backend) => {
  run(call);
  const order = call.outputs[1]!;
  if (order.size > 65536)
    setValues(
      backend,
      order,
      valuesOf(backend, order).map((value) => value & 65535),
    );
});

/** The next 16-bit float towards 0. */
function cut(dtype: DType, value: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const [digits, least] = dtype === "f16" ? [10, -14] : [7, -126];
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), least) - digits);
  return Math.trunc(value / step) * step;
}

/** Products of 16-bit floats that are cut off instead of rounded. */
export const productsCut: (wrapped: Backend) => Backend = inCalls("matmul", (call, run, backend) => {
  run(call);
  const output = call.outputs[0]!;
  const [a, b] = call.inputs.map((view) => nd(view.shape, valuesOf(backend, view)));
  if (call.program !== undefined || (output.dtype !== "f16" && output.dtype !== "bf16")) return;
  setValues(
    backend,
    output,
    matmul(a!, b!).data.map((value) => cut(output.dtype, value)),
  );
});
