import { type Backend, type Call, DTYPES, type DType, makeView, type View } from "@nf/core";
import { setValues, valuesOf } from "./host.ts";
import { inCalls, results } from "./kernels.ts";

/** What f32 makes of a 32-bit integer, as the hardware converts it back: at the limit where it leaves the range. */
function throughFloat(dtype: DType, value: number): number {
  const [least, greatest] = DTYPES[dtype].range!;
  return Math.min(Math.max(Math.fround(value), least), greatest);
}

const ofI32 = ({ outputs }: Pick<Call, "outputs">): boolean =>
  outputs.some(({ dtype }) => dtype === "i32" || dtype === "u32");

const rounded = (value: number, _i: number, { outputs }: Pick<Call, "outputs">): number =>
  throughFloat(outputs[0]!.dtype, value);

export const mapThroughFloat: (wrapped: Backend) => Backend = results("map", rounded, ofI32);
export const sumThroughFloat: (wrapped: Backend) => Backend = results(
  "reduce",
  rounded,
  (call) => ofI32(call) && call.attributes.kinds.join() === "sum",
);
export const matmulThroughFloat: (wrapped: Backend) => Backend = results("matmul", rounded, ofI32);
export const gatherThroughFloat: (wrapped: Backend) => Backend = results("gather", rounded, ofI32);
export const scatterThroughFloat: (wrapped: Backend) => Backend = results(
  "scatter",
  rounded,
  (call) => ofI32(call) && call.attributes.mode === "add",
);
export const scanThroughFloat: (wrapped: Backend) => Backend = results("scan", rounded, ofI32);

/** Only programs that hand on what they read: copies, of one view to another. */
export const copyThroughFloat: (wrapped: Backend) => Backend = results(
  "map",
  rounded,
  (call) => ofI32(call) && call.program.instructions.every(({ op }) => op === "input"),
);

/** Numbers beside integers arrive in a register of f32. */
export const numbersThroughFloat: (wrapped: Backend) => Backend = inCalls("map", (call, run) =>
  run(ofI32(call) ? { ...call, params: call.params.map(Math.fround) } : call),
);

/** The same memory, read as signed. */
const signed = (view: View): View =>
  view.dtype === "u32" ? makeView(view.buffer, "i32", view.shape, view.strides, view.offset) : view;

export const sortsAsSigned: (wrapped: Backend) => Backend = inCalls("sort", (call, run) =>
  run({ ...call, inputs: call.inputs.map(signed), outputs: call.outputs.map(signed) }),
);
export const choosesAsSigned: (wrapped: Backend) => Backend = inCalls("argReduce", (call, run) =>
  run({ ...call, inputs: call.inputs.map(signed) }),
);
export const scansAsSigned: (wrapped: Backend) => Backend = inCalls("scan", (call, run) =>
  run({ ...call, inputs: call.inputs.map(signed), outputs: call.outputs.map(signed) }),
);

/** Results of calls of two u32 operands, or of one, computed from the operands once more. */
function ofOperands(
  name: string,
  dtype: DType,
  change: (a: number, b: number) => number,
): (wrapped: Backend) => Backend {
  return inCalls("map", (call, run, backend) => {
    run(call);
    if (call.program.name !== name || !call.inputs.every((view) => view.dtype === dtype)) return;
    if (call.params.length > 0 || call.outputs.length !== 1) return;
    const [a, b] = call.inputs.map((view) => valuesOf(backend, view));
    setValues(
      backend,
      call.outputs[0]!,
      a!.map((value, i) => change(value, b?.[i] ?? 0)),
    );
  });
}

export const comparesAsSigned: (wrapped: Backend) => Backend = ofOperands("less", "u32", (a, b) =>
  (a | 0) < (b | 0) ? 1 : 0,
);
export const dividesAsSigned: (wrapped: Backend) => Backend = ofOperands("floorDivide", "u32", (a, b) =>
  Math.floor((a | 0) / (b | 0)),
);
export const saturates: (wrapped: Backend) => Backend = ofOperands("add", "i8", (a, b) =>
  Math.min(127, Math.max(-128, a + b)),
);
/** Converts u32 as if it were i32. */
export const convertsAsSigned: (wrapped: Backend) => Backend = inCalls("map", (call, run, backend) => {
  run(call);
  const [input, output] = [call.inputs[0], call.outputs[0]!];
  if (call.program.name !== "cast" || input?.dtype !== "u32" || output.dtype !== "f32") return;
  setValues(
    backend,
    output,
    valuesOf(backend, input).map((value) => value | 0),
  );
});
