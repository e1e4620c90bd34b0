import { type Backend, contiguousView, program, scalar as s, sizeOf, type View } from "@nf/core";
import { blank, type run, upload } from "./helper.ts";

/** A call that a kernel takes, and which of its views may have other sizes, dtypes, or be left out. */
export interface Sample {
  readonly name: string;
  readonly call: Parameters<typeof run>[1];
  /** Inputs whose last size nothing else says. */
  readonly freeSize?: readonly number[];
  /** Inputs of any dtype. */
  readonly freeDtype?: readonly number[];
  /** Inputs that are seen as one list, whatever their dimensions. */
  readonly freeRank?: readonly number[];
  /** Inputs that may be missing. */
  readonly optional?: readonly number[];
}

const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);
const swish = program("swish", ["f32"], ["f32"], ([x], [k]) =>
  s.div(s.mul(x as s.Expr, k as s.Expr), s.add(s.exp(s.neg(x as s.Expr)), 1)),
);

/** Calls of all kernels and passes, on `[rows, width]` and images of `2 * width + 1` squared. `width` is even. */
export function samples(backend: Backend, rows: number, width: number): Sample[] {
  let seed = 0;
  const x = (...shape: number[]): View => {
    seed++;
    const values = Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin((i + seed * 31) * 12.9898) * 3);
    return upload(backend, "f32", shape, values);
  };
  const index = (most: number, ...shape: number[]): View => {
    const values = Array.from({ length: sizeOf(shape) }, (_, i) => (i * 7919) % most);
    return upload(backend, "i32", shape, values);
  };
  /** Blocks of weights, in a buffer that would hold them as any dtype. */
  const blocks = (count: number, size: number): View => {
    const bytes = Uint8Array.from({ length: count * size }, (_, i) => (i % size < 2 ? 0x2e : (i * 37) % 251));
    const buffer = backend.allocate(bytes.length * 4);
    backend.write(buffer, 0, bytes);
    return contiguousView(buffer, "u8", [bytes.length]);
  };
  const out = (...shape: number[]): View => blank(backend, "f32", shape);
  const whole = (...shape: number[]): View => blank(backend, "i32", shape);
  const size = 2 * width + 1;
  const half = width;
  const [batch, heads] = [4, 2];
  const windows = { stride: [1, 1], dilation: [1, 1], padding: [[1, 1] as const, [1, 1] as const] };
  const pools = {
    stride: [2, 2],
    dilation: [1, 1],
    padding: [[0, 0] as const, [0, 0] as const],
    countedPadding: [[0, 0] as const, [0, 0] as const],
    kernelSize: [2, 2],
    countIncludePad: true,
  };
  const image = (make: typeof x): View => make(batch, 4, size, size);
  const pooled = (make: typeof x): View => make(batch, 4, half, half);
  const q = (make: typeof x): View => make(batch, heads * 2, rows, width);
  const kv = (make: typeof x): View => make(batch, heads, rows, width);
  const conv = (pass: "forward" | "inputGrad" | "weightGrad") => ({ ...windows, pass, groups: 2 }) as const;
  const norm = (pass: "forward" | "backward") =>
    ({ pass, centered: true, weight: true, bias: true }) as const;
  const attention = (pass: "forward" | "backward") => ({ pass, causal: true, mask: true }) as const;
  const mask = (): View => x(batch, heads * 2, rows, rows);
  const list: Sample[] = [
    {
      name: "map",
      call: {
        kernel: "map",
        program: swish,
        inputs: [x(rows, width)],
        outputs: [out(rows, width)],
        params: [1.5],
      },
    },
    {
      name: "mapMany",
      call: {
        kernel: "mapMany",
        program: swish,
        inputs: [x(rows, width), x(width), x(rows)],
        outputs: [out(rows, width), out(width), out(rows)],
        attributes: { groups: 3 },
        params: [1.5],
      },
    },
    {
      name: "reduce",
      call: {
        kernel: "reduce",
        program: copy,
        inputs: [x(rows, width)],
        outputs: [out(1, width)],
        attributes: { kinds: ["sum"], axes: [0] },
      },
    },
    {
      name: "argReduce",
      call: {
        kernel: "argReduce",
        inputs: [x(rows, width)],
        outputs: [whole(1, width)],
        attributes: { kind: "max", axes: [0] },
      },
      freeDtype: [0],
    },
    {
      name: "matmul",
      call: { kernel: "matmul", inputs: [x(rows, width), x(width, rows)], outputs: [out(rows, rows)] },
    },
    {
      name: "gather",
      call: {
        kernel: "gather",
        inputs: [x(rows, width), index(rows, 2 * rows, width)],
        outputs: [out(2 * rows, width)],
        attributes: { axis: 0 },
      },
    },
    ...(["add", "set", "max"] as const).map(
      (mode): Sample => ({
        name: `scatter ${mode}`,
        call: {
          kernel: "scatter",
          inputs: [x(2 * rows, width), index(rows, 2 * rows, width)],
          outputs: [x(rows, width)],
          attributes: { axis: 0, mode },
        },
      }),
    ),
    {
      name: "scan",
      call: {
        kernel: "scan",
        inputs: [x(rows, width)],
        outputs: [out(rows, width)],
        attributes: { kind: "sum", axis: 0, reverse: false },
      },
    },
    {
      name: "sort",
      call: {
        kernel: "sort",
        inputs: [x(rows, width)],
        outputs: [out(rows, width), whole(rows, width)],
        attributes: { axis: 1, descending: true },
      },
    },
    {
      name: "softmax",
      call: {
        kernel: "softmax",
        inputs: [x(rows, width)],
        outputs: [out(rows, width)],
        attributes: { pass: "forward", log: false },
      },
    },
    {
      name: "softmax backward",
      call: {
        kernel: "softmax",
        inputs: [x(rows, width), x(rows, width)],
        outputs: [out(rows, width)],
        attributes: { pass: "backward", log: true },
      },
    },
    {
      name: "norm",
      call: {
        kernel: "norm",
        inputs: [x(rows, width), x(width), x(width)],
        outputs: [out(rows, width), out(rows, 1), out(rows, 1)],
        attributes: norm("forward"),
        params: [1e-5],
      },
    },
    {
      name: "norm backward",
      call: {
        kernel: "norm",
        inputs: [x(rows, width), x(rows, width), x(rows, 1), x(rows, 1), x(width)],
        outputs: [out(rows, width), out(width), out(width)],
        attributes: norm("backward"),
        params: [1e-5],
      },
    },
    {
      name: "crossEntropy",
      call: {
        kernel: "crossEntropy",
        inputs: [x(rows, width), index(width, rows)],
        outputs: [out(rows), out(rows)],
        attributes: { pass: "forward" },
        params: [-100, 0.1],
      },
      freeSize: [0],
    },
    {
      name: "crossEntropy backward",
      call: {
        kernel: "crossEntropy",
        inputs: [x(rows), x(rows, width), index(width, rows), x(rows)],
        outputs: [out(rows, width)],
        attributes: { pass: "backward" },
        params: [-100, 0.1],
      },
    },
    {
      name: "conv",
      call: {
        kernel: "conv",
        inputs: [image(x), x(6, 2, 3, 3), x(6)],
        outputs: [out(batch, 6, size, size)],
        attributes: conv("forward"),
      },
      optional: [2],
    },
    {
      name: "conv inputGrad",
      call: {
        kernel: "conv",
        inputs: [x(batch, 6, size, size), x(6, 2, 3, 3)],
        outputs: [image(out)],
        attributes: conv("inputGrad"),
      },
    },
    {
      name: "conv weightGrad",
      call: {
        kernel: "conv",
        inputs: [x(batch, 6, size, size), image(x)],
        outputs: [out(6, 2, 3, 3)],
        attributes: conv("weightGrad"),
      },
    },
    ...(["max", "mean"] as const).flatMap((kind): Sample[] => [
      {
        name: `pool ${kind}`,
        call: {
          kernel: "pool",
          inputs: [image(x)],
          outputs: [pooled(out)],
          attributes: { ...pools, kind, pass: "forward" },
        },
      },
      {
        name: `pool ${kind} backward`,
        call: {
          kernel: "pool",
          inputs: kind === "max" ? [pooled(x), image(x)] : [pooled(x)],
          outputs: [image(out)],
          attributes: { ...pools, kind, pass: "backward" },
        },
      },
    ]),
    {
      name: "attention",
      call: {
        kernel: "attention",
        inputs: [q(x), kv(x), kv(x), mask()],
        outputs: [q(out), out(batch, heads * 2, rows)],
        attributes: attention("forward"),
        params: [0.1],
      },
    },
    {
      name: "attention backward",
      call: {
        kernel: "attention",
        inputs: [q(x), q(x), kv(x), kv(x), mask(), q(x), x(batch, heads * 2, rows)],
        outputs: [q(out), kv(out), kv(out)],
        attributes: attention("backward"),
        params: [0.1],
      },
    },
    {
      name: "rope",
      call: {
        kernel: "rope",
        inputs: [x(batch, rows, width), x(rows, width / 2), x(rows, width / 2)],
        outputs: [out(batch, rows, width)],
        attributes: { interleaved: false, inverse: false },
      },
    },
    {
      name: "embeddingGrad",
      call: {
        kernel: "embeddingGrad",
        inputs: [x(rows, width), index(5, rows)],
        outputs: [out(5, width)],
        attributes: {},
      },
      freeRank: [1],
    },
    ...(["q8_0", "q4_0"] as const).map((format) => ({
      name: `quantizedMatmul ${format}`,
      call: {
        kernel: "quantizedMatmul" as const,
        inputs: [x(rows, 32 * width), blocks(8 * width * width, format === "q8_0" ? 34 : 18)],
        outputs: [out(rows, 8 * width)],
        attributes: { format, inner: 32 * width, columns: 8 * width },
      },
      freeRank: [1],
    })),
  ];
  return list;
}
