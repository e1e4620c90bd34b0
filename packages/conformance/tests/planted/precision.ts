import {
  type Backend,
  type BackendBuffer,
  type Call,
  contiguousStrides,
  makeView,
  type View,
} from "@nf/core";
import { encode } from "../../src/kernels/memory.ts";
import { setValues, valuesOf } from "./host.ts";
import { inCalls, results } from "./kernels.ts";

/* Faults of precision: results that look right, with fewer digits than the dtype has. */

const { fround } = Math;

/** The nearest number of so many binary digits after the first. */
function keep(value: number, digits: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const step = 2 ** (Math.floor(Math.log2(Math.abs(value))) - digits);
  return Math.round(value / step) * step;
}

/** The first two inputs of f32 calls of a kernel, with fewer digits. */
const inputsOf = (kernel: "matmul" | "conv", digits: number): ((wrapped: Backend) => Backend) =>
  inCalls(kernel, (call, run, backend) => {
    const fresh: BackendBuffer[] = [];
    const cut = (view: View, i: number): View => {
      if (i > 1 || view.dtype !== "f32") return view;
      const values = valuesOf(backend, view).map((value) => keep(value, digits));
      const buffer = backend.allocate(Math.max(4, 4 * values.length));
      backend.write(buffer, 0, encode("f32", values));
      fresh.push(buffer);
      return makeView(buffer, "f32", view.shape, contiguousStrides(view.shape), 0);
    };
    const inputs = call.inputs.map(cut);
    run({ ...call, inputs, buffers: [...call.buffers, ...fresh] } as Call);
    for (const buffer of fresh) backend.free(buffer);
  });

export const tf32Matmul: (wrapped: Backend) => Backend = inputsOf("matmul", 10);
export const bf16Conv: (wrapped: Backend) => Backend = inputsOf("conv", 7);

/** The lines of a view along its last dimension. */
function linesOf(backend: Backend, view: View): number[][] {
  const values = valuesOf(backend, view);
  const width = view.shape.at(-1) ?? 1;
  return Array.from({ length: values.length / width }, (_, i) => values.slice(i * width, (i + 1) * width));
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => fround(sum + value), 0);

/** A variance as the mean of squares less the square of the mean. */
export const squaresLessSquare: (wrapped: Backend) => Backend = inCalls("norm", (call, run, backend) => {
  run(call);
  const { pass, centered, weight, bias } = call.attributes;
  const [x, ...rest] = call.inputs as readonly [View, ...View[]];
  if (pass !== "forward" || !centered || x.dtype !== "f32") return;
  const scale = weight ? valuesOf(backend, rest[0]!) : [];
  const shift = bias ? valuesOf(backend, rest[weight ? 1 : 0]!) : [];
  const lines = linesOf(backend, x).map((line) => {
    const mean = fround(total(line) / line.length);
    const squares = fround(total(line.map((value) => fround(value * value))) / line.length);
    const variance = Math.max(0, fround(squares - fround(mean * mean)));
    const inverse = fround(1 / Math.sqrt(variance + call.params[0]!));
    return line.map((value, i) => fround((value - mean) * inverse * (scale[i] ?? 1) + (shift[i] ?? 0)));
  });
  setValues(backend, call.outputs[0]!, lines.flat());
});

/** e^x over its sum, with nothing taken off x before. */
export const softmaxOfRaw: (wrapped: Backend) => Backend = inCalls("softmax", (call, run, backend) => {
  run(call);
  const { pass, log } = call.attributes;
  const [x] = call.inputs as readonly [View];
  if (pass !== "forward" || log || x.dtype !== "f32") return;
  const lines = linesOf(backend, x).map((line) => {
    const powers = line.map((value) => fround(Math.exp(value)));
    const sum = total(powers);
    return powers.map((power) => fround(power / sum));
  });
  setValues(backend, call.outputs[0]!, lines.flat());
});

/** An exponential of about 19 digits. */
export const coarseExp: (wrapped: Backend) => Backend = results(
  "map",
  (value) => fround(value * (1 + 2e-6)),
  ({ outputs, program }) => outputs[0]!.dtype === "f32" && program.instructions.at(-1)!.op === "exp",
);

/** Zeros that lost their sign on the way. */
export const unsignedZeros: (wrapped: Backend) => Backend = results("gather", (value) =>
  value === 0 ? 0 : value,
);
