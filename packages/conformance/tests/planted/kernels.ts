import {
  ArithmeticError,
  type Backend,
  type Call,
  contiguousStrides,
  DTYPES,
  type Kernel,
  makeView,
  type View,
} from "@nf/core";
import { Planted, setValues, valuesOf } from "./host.ts";

type Plant = (call: Call, run: (call: Call) => void, backend: Backend) => void;
type Of<K extends Kernel> = Extract<Call, { kernel: K }>;

const planted =
  (plant: Plant) =>
  (wrapped: Backend): Backend =>
    new Planted(wrapped, plant);

/** A fault in calls of one kernel. */
export function inCalls<K extends Kernel>(
  kernel: K,
  plant: (call: Of<K>, run: (call: Call) => void, backend: Backend) => void,
) {
  return planted((call, run, backend) => {
    if (call.kernel === kernel) plant(call as Of<K>, run, backend);
    else run(call);
  });
}

/** 16-bit weights beside f32 are all read from the first place. */
export const weightsLost: (wrapped: Backend) => Backend = inCalls("matmul", (call, run) => {
  const [a, b] = call.inputs as readonly [View, View];
  if (a.dtype === b.dtype) run(call);
  else run({ ...call, inputs: [a, { ...b, strides: b.strides.map(() => 0) }, ...call.inputs.slice(2)] });
});

/** The call with other attributes. */
function attributed<K extends Kernel>(
  kernel: K,
  change: (attributes: Of<K> extends { attributes: infer A } ? A : never) => object,
) {
  return inCalls(kernel, (call, run) => {
    const { attributes } = call as { attributes?: unknown };
    run({ ...call, attributes: { ...(attributes as object), ...change(attributes as never) } } as Call);
  });
}

/** Results of calls, changed afterwards. */
export function results<K extends Kernel>(
  kernel: K,
  change: (value: number, i: number, call: Of<K>) => number,
  only: (call: Of<K>) => boolean = () => true,
) {
  return inCalls(kernel, (call, run, backend) => {
    run(call);
    if (!only(call)) return;
    for (const view of call.outputs)
      setValues(
        backend,
        view,
        valuesOf(backend, view).map((value, i) => change(value, i, call)),
      );
  });
}

/** Results beyond the first block of 64 are zeros. */
export const onlyFirstBlock = (kernel: Kernel): ((wrapped: Backend) => Backend) =>
  results(
    kernel,
    (value, i) => (i < 64 ? value : 0),
    ({ outputs }) => outputs.some(({ size }) => size > 64),
  );

const flipped = (view: View, axes: readonly number[]): View => {
  const offset = axes.reduce((sum, axis) => sum + (view.shape[axis]! - 1) * view.strides[axis]!, view.offset);
  return makeView(
    view.buffer,
    view.dtype,
    view.shape,
    view.strides.map((step, axis) => (axes.includes(axis) ? -step : step)),
    offset,
  );
};

let parity = 0;

export const wrongStride = planted((call, run) => {
  const dense = (view: View): View =>
    view.strides.some((step) => step < 0) || view.shape.length < 2
      ? view
      : makeView(view.buffer, view.dtype, view.shape, contiguousStrides(view.shape), 0);
  run(call.kernel === "map" ? { ...call, inputs: call.inputs.map(dense) } : call);
});
export const backwardsForwards = planted((call, run) => {
  const forwards = (view: View): View =>
    flipped(
      view,
      view.strides.flatMap((step, axis) => (step < 0 ? [axis] : [])),
    );
  run(call.kernel === "map" ? { ...call, inputs: call.inputs.map(forwards) } : call);
});
export const outputOffsetIgnored = planted((call, run) => {
  const start = (view: View): View =>
    view.strides.every((step) => step >= 0)
      ? makeView(view.buffer, view.dtype, view.shape, view.strides, 0)
      : view;
  run(call.kernel === "map" ? { ...call, outputs: call.outputs.map(start) } : call);
});
export const droppedGradient = results(
  "conv",
  () => 0,
  (call) => call.attributes.pass === "weightGrad",
);
export const nanSwallowed = results(
  "reduce",
  (value) => (Number.isNaN(value) ? 0 : value),
  (call) => call.attributes.kinds.includes("max"),
);
export const poolSwallowsNaN = results(
  "pool",
  (value) => (Number.isNaN(value) ? 0 : value),
  (call) => call.attributes.kind === "max",
);
export const offByOnePad = attributed("conv", ({ padding }) => ({
  padding: padding.map(([before, after]) =>
    [after, before].map((one, side) => (before === after && before > 0 ? one + (side === 0 ? 1 : -1) : one)),
  ),
}));
export const scatterSets = attributed("scatter", ({ mode }) => ({ mode: mode === "add" ? "set" : mode }));
export const lastTie = inCalls("argReduce", (call, run, backend) => {
  const { axes } = call.attributes;
  const total = axes.reduce((product, axis) => product * call.inputs[0]!.shape[axis]!, 1);
  run({ ...call, inputs: call.inputs.map((view) => flipped(view, axes)) });
  for (const view of call.outputs)
    setValues(
      backend,
      view,
      valuesOf(backend, view).map((i) => total - 1 - i),
    );
});
/** Adds f32 terms one after the other, rounding each time. */
export const naiveSum = inCalls("reduce", (call, run, backend) => {
  const [input, output] = [call.inputs[0], call.outputs[0]!];
  const plain = call.program.instructions.length === 1 && call.attributes.kinds.join() === "sum";
  if (!plain || input?.dtype !== "f32" || output.size !== 1) return run(call);
  run(call);
  let total = 0;
  for (const value of valuesOf(backend, input)) total = Math.fround(total + value);
  setValues(backend, output, [total]);
});
export const nonDeterministicSum = results(
  "reduce",
  (value) => (parity++ % 3 === 0 ? Math.fround(value * (1 + 1.2e-7)) : value),
  (call) => call.outputs[0]!.dtype === "f32" && call.attributes.kinds.includes("sum"),
);
export const unstableSort = inCalls("sort", (call, run, backend) => {
  const { axis } = call.attributes;
  const length = call.inputs[0]!.shape[axis]!;
  run({ ...call, inputs: call.inputs.map((view) => flipped(view, [axis])) });
  const index = call.outputs[1]!;
  setValues(
    backend,
    index,
    valuesOf(backend, index).map((i) => length - 1 - i),
  );
});
export const exclusiveScan = inCalls("scan", (call, run, backend) => {
  run(call);
  if (call.attributes.kind !== "sum") return;
  const before = valuesOf(backend, call.inputs[0]!);
  const output = call.outputs[0]!;
  setValues(
    backend,
    output,
    valuesOf(backend, output).map((value, i) => value - before[i]!),
  );
});
export const scanForwards = attributed("scan", () => ({ reverse: false }));
export const epilogueDropped = inCalls("matmul", (call, run) => {
  const { program: _, ...rest } = call;
  run({ ...rest, inputs: call.inputs.slice(0, 2) });
});
/** Cuts digits off where they should be rounded. */
export const truncatedHalf = inCalls("map", (call, run, backend) => {
  run(call);
  const [input, output] = [call.inputs[0], call.outputs[0]!];
  if (call.program.name !== "cast" || input?.dtype !== "f32" || output.dtype !== "f16") return;
  const cut = valuesOf(backend, input).map((value) => {
    const step = 2 ** Math.max(-24, Math.floor(Math.log2(Math.abs(value))) - 10);
    return Number.isFinite(value) && value !== 0 ? Math.trunc(value / step) * step : value;
  });
  setValues(backend, output, cut);
});
export const writesOutside = inCalls("map", (call, run, backend) => {
  run(call);
  for (const view of call.outputs) {
    const bytes = DTYPES[view.dtype].bytes;
    const end = view.offset + view.size;
    if (view.contiguous && (end + 1) * bytes <= view.buffer.byteLength)
      backend.write(view.buffer, end * bytes, new Uint8Array(bytes));
  }
});
export const truncatedDivision = inCalls("map", (call, run, backend) => {
  run(call);
  const [a, b] = call.inputs;
  if (
    !/floorDiv/.test(call.program.name) ||
    a?.dtype !== "i32" ||
    b?.dtype !== "i32" ||
    call.program.results.length !== 1
  )
    return;
  const [x, y] = [valuesOf(backend, a), valuesOf(backend, b)];
  const quotients = x.map((value, i) => Math.trunc(value / (y[i] || 1)));
  setValues(backend, call.outputs[0]!, quotients);
});
export const dividendSign = results(
  "map",
  (value, _i, call) => (/^remainder|^mod/.test(call.program.name) && value > 0 ? -value : value),
  (call) => call.outputs[0]!.dtype === "i32",
);
const known = new Map<number, readonly number[]>();
export const paramsKept = inCalls("map", (call, run) => {
  const first = known.get(call.program.id) ?? call.params;
  known.set(call.program.id, first);
  run({ ...call, params: first });
});
export const coordinatesMerged = inCalls("map", (call, run) => {
  const views = [...call.inputs, ...call.outputs];
  const counts = call.program.instructions.some(({ op }) => op === "coordinate");
  if (!counts || !views.every(({ contiguous }) => contiguous)) return run(call);
  const line = (view: View): View => makeView(view.buffer, view.dtype, [view.size], [1], view.offset);
  run({ ...call, inputs: call.inputs.map(line), outputs: call.outputs.map(line) });
});
export const roundingCast = inCalls("map", (call, run, backend) => {
  run(call);
  const [input] = call.inputs;
  if (
    call.program.instructions.length !== 2 ||
    input?.dtype !== "f32" ||
    call.outputs[0]!.dtype !== "i32" ||
    input.shape.join() !== call.outputs[0]!.shape.join()
  )
    return;
  setValues(
    backend,
    call.outputs[0]!,
    valuesOf(backend, input).map((value) => (Math.abs(value) < 1e6 ? Math.round(value) : value)),
  );
});
export const fusedSoftmaxWrong = results(
  "softmax",
  (value) => value * 1.001,
  (call) => call.attributes.pass === "forward" && !call.attributes.log,
);
export const fusedBackwardWrong = results(
  "norm",
  (value) => value * 1.01,
  (call) => call.attributes.pass === "backward",
);
export const swappedStride = attributed("conv", ({ stride, padding }) => ({
  stride: [...stride].reverse(),
  padding,
}));
export const meanOfWholeWindow = attributed("pool", () => ({ countIncludePad: true }));
export const notCausal = attributed("attention", () => ({ causal: false }));
export const ignoredCounts = inCalls("crossEntropy", (call, run) =>
  run({ ...call, params: [-12345, ...call.params.slice(1)] }),
);
export const wrongBits = results(
  "map",
  (value) => value ^ 1,
  (call) => call.program.instructions.some(({ op }) => op === "threefry") && call.outputs[0]!.dtype === "u32",
);
export const sortMissing = inCalls("sort", () => undefined);
export const zerosSkipped = inCalls("matmul", (call, run, backend) => {
  run(call);
  const [a, b] = call.inputs as [View, View];
  if (a.shape.length !== 2 || call.program !== undefined) return;
  const [x, y] = [valuesOf(backend, a), valuesOf(backend, b)];
  const [m, k, n] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
  const product = Array.from({ length: m * n }, (_, at) => {
    let total = 0;
    for (let i = 0; i < k; i++) {
      const [left, right] = [x[Math.floor(at / n) * k + i]!, y[i * n + (at % n)]!];
      if (left !== 0 && right !== 0) total += left * right;
    }
    return total;
  });
  setValues(backend, call.outputs[0]!, product);
});
/** Faults that a kernel finds are lost. */
export const faultsSwallowed = planted((call, run) => {
  try {
    run(call);
  } catch (error) {
    if (!(error instanceof ArithmeticError)) throw error;
  }
});
