import {
  type Backend,
  type Call,
  contiguousView,
  DTYPES,
  type DType,
  type Expr,
  flopsOf,
  program,
  scalar as s,
  sizeOf,
  type View,
} from "@nf/core";
import type { CreateBackend } from "./check.ts";
import { encode } from "./kernels/memory.ts";
import { type CallParts, callOf } from "./kernels/run.ts";
import type { KernelSpeed } from "./scorecard.ts";
import { Source } from "./source.ts";

interface Work {
  readonly parts: CallParts;
  readonly params?: readonly number[];
  readonly inputs: readonly (readonly [DType, readonly number[]])[];
  readonly outputs: readonly (readonly [DType, readonly number[]])[];
  /** Bound of random positions; index operands are below it. */
  readonly below?: number;
}

const LENGTH = 2 ** 20;
const SQUARE = [1024, 1024] as const;

const axpy = program("axpy", ["f32", "f32"], ["f32"], ([x, y], [a]) =>
  s.add(s.mul(x as Expr, a as Expr), y as Expr),
);
const identity = program("identity", ["f32"], [], ([x]) => x as Expr);

const window = {
  stride: [1, 1],
  dilation: [1, 1],
  padding: [
    [0, 0],
    [0, 0],
  ],
} as const;

/** One size of every kernel: large enough that the call itself costs nothing. */
const WORKS: readonly Work[] = [
  {
    parts: { kernel: "map", program: axpy },
    params: [2],
    inputs: [
      ["f32", [LENGTH]],
      ["f32", [LENGTH]],
    ],
    outputs: [["f32", [LENGTH]]],
  },
  {
    parts: { kernel: "reduce", program: identity, attributes: { kinds: ["sum"], axes: [1] } },
    inputs: [["f32", SQUARE]],
    outputs: [["f32", [1024, 1]]],
  },
  {
    parts: { kernel: "argReduce", attributes: { kind: "max", axes: [1] } },
    inputs: [["f32", SQUARE]],
    outputs: [["i32", [1024, 1]]],
  },
  {
    parts: { kernel: "matmul" },
    inputs: [
      ["f32", [384, 384]],
      ["f32", [384, 384]],
    ],
    outputs: [["f32", [384, 384]]],
  },
  {
    parts: { kernel: "gather", attributes: { axis: 0 } },
    inputs: [
      ["f32", SQUARE],
      ["i32", SQUARE],
    ],
    outputs: [["f32", SQUARE]],
    below: 1024,
  },
  {
    parts: { kernel: "scatter", attributes: { axis: 0, mode: "add" } },
    inputs: [
      ["f32", SQUARE],
      ["i32", SQUARE],
    ],
    outputs: [["f32", SQUARE]],
    below: 1024,
  },
  {
    parts: { kernel: "scan", attributes: { kind: "sum", axis: 1, reverse: false } },
    inputs: [["f32", SQUARE]],
    outputs: [["f32", SQUARE]],
  },
  {
    parts: { kernel: "sort", attributes: { axis: 1, descending: false } },
    inputs: [["f32", [256, 1024]]],
    outputs: [
      ["f32", [256, 1024]],
      ["i32", [256, 1024]],
    ],
  },
  {
    parts: { kernel: "conv", attributes: { ...window, pass: "forward", groups: 1 } },
    inputs: [
      ["f32", [8, 16, 32, 32]],
      ["f32", [32, 16, 3, 3]],
    ],
    outputs: [["f32", [8, 32, 30, 30]]],
  },
  {
    parts: {
      kernel: "pool",
      attributes: {
        stride: [2, 2],
        dilation: [1, 1],
        padding: window.padding,
        pass: "forward",
        kind: "max",
        kernelSize: [2, 2],
        countIncludePad: true,
        countedPadding: window.padding,
      },
    },
    inputs: [["f32", [16, 32, 32, 32]]],
    outputs: [["f32", [16, 32, 16, 16]]],
  },
  {
    parts: { kernel: "softmax", attributes: { pass: "forward", log: false } },
    inputs: [["f32", SQUARE]],
    outputs: [["f32", SQUARE]],
  },
  {
    parts: { kernel: "attention", attributes: { pass: "forward", causal: true, mask: false } },
    params: [0.125],
    inputs: [
      ["f32", [1, 8, 128, 64]],
      ["f32", [1, 8, 128, 64]],
      ["f32", [1, 8, 128, 64]],
    ],
    outputs: [
      ["f32", [1, 8, 128, 64]],
      ["f32", [1, 8, 128]],
    ],
  },
];

/** Runs of a kernel: at least the first number, and up to the second while they take less than these seconds. */
const RUNS = [3, 9] as const;
const ENOUGH = 0.2;

function view(backend: Backend, [dtype, shape]: Work["inputs"][number], below: number, source: Source): View {
  const values = Array.from({ length: sizeOf(shape) }, () =>
    dtype === "i32" ? source.below(below) : source.between(-64, 64) / 32,
  );
  const buffer = backend.allocate(values.length * DTYPES[dtype].bytes);
  backend.write(buffer, 0, encode(dtype, values));
  return contiguousView(buffer, dtype, shape);
}

/** Seconds of one run, with everything it dispatched. */
async function timed(backend: Backend, call: Call): Promise<number> {
  const start = performance.now();
  backend.execute(call);
  await backend.synchronize();
  return (performance.now() - start) / 1000;
}

async function measure(backend: Backend, work: Work): Promise<KernelSpeed | undefined> {
  const { parts, params = [], below = 1 } = work;
  const source = new Source(1);
  const inputs = work.inputs.map((one) => view(backend, one, below, source));
  const outputs = work.outputs.map((one) => view(backend, one, below, source));
  const call = callOf(parts, params, inputs, outputs);
  try {
    const declared = backend.capabilities.dtypes[parts.kernel] ?? [];
    const fused = !REQUIRED.has(parts.kernel);
    if (!declared.includes("f32") || (fused && backend.supports(call) !== "yes")) return undefined;
    await timed(backend, call);
    const all: number[] = [];
    const start = performance.now();
    while (all.length < RUNS[0] || (all.length < RUNS[1] && performance.now() - start < ENOUGH * 1000))
      all.push(await timed(backend, call));
    all.sort((a, b) => a - b);
    const median = all[all.length >> 1]!;
    const flops = flopsOf(call);
    const bytes = [...inputs, ...outputs].reduce(
      (sum, { size, dtype }) => sum + size * DTYPES[dtype].bytes,
      0,
    );
    const computes = COMPUTING.has(parts.kernel);
    return {
      kernel: parts.kernel,
      work: work.inputs.map(([dtype, shape]) => `${dtype} [${shape.join(", ")}]`).join(" "),
      seconds: median,
      min: all[0]!,
      max: all.at(-1)!,
      // A clock that did not move says nothing; the least it can show is a microsecond.
      rate: (computes ? flops : bytes) / Math.max(median, 1e-6) / 1e9,
      unit: computes ? "GFLOP/s" : "GB/s",
    };
  } finally {
    for (const { buffer } of [...inputs, ...outputs]) backend.free(buffer);
  }
}

const REQUIRED: ReadonlySet<string> = new Set([
  "map",
  "reduce",
  "argReduce",
  "matmul",
  "gather",
  "scatter",
  "scan",
  "sort",
]);
/** Kernels whose arithmetic takes longer than moving their operands. */
const COMPUTING: ReadonlySet<string> = new Set(["matmul", "conv", "attention"]);

/** Measures every kernel that a backend computes in f32: median of several runs after one that warms up. */
export async function measureSpeed(createBackend: CreateBackend): Promise<readonly KernelSpeed[]> {
  const backend = await createBackend();
  try {
    const speeds: (KernelSpeed | undefined)[] = [];
    for (const work of WORKS) speeds.push(await measure(backend, work));
    return speeds.filter((one) => one !== undefined);
  } finally {
    await backend.dispose();
  }
}
