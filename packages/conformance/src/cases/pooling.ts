import type { AvgPoolOptions, MaxPoolOptions, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Edge, Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { maximum } from "../reference/special.ts";
import { perAxis, pool } from "../reference/windows.ts";
import { between, data, edge, FLOATS, optionsText, row, shapesText } from "./define.ts";
import { upsampleRows } from "./upsampling.ts";

const FAMILY = "pooling";
const greatest = (values: readonly number[]): number => values.reduce(maximum, -Infinity);
const mean = (values: readonly number[]): number => reference.sum(values) / values.length;

type PoolOptions = MaxPoolOptions & AvgPoolOptions;
type PoolCall = (x: Tensor, options: PoolOptions) => Tensor;

function instanceOf(
  call: PoolCall,
  kind: "max" | "mean",
  x: readonly number[],
  options: PoolOptions,
): Instance {
  const rank = x.length - 2;
  const kernel = perAxis(options.kernelSize, rank, 1);
  return {
    label: shapesText(x) + optionsText(options),
    operands: [data(x, { distinct: kind === "max" })],
    // A window is added up in turn.
    ...(kind === "mean" && { chain: reference.count(kernel) }),
    run: ([input]) => call(input!, options),
    reference: ([input]) => {
      const geometry = {
        stride: options.stride === undefined ? kernel : perAxis(options.stride, rank, 1),
        padding: perAxis(options.padding, rank, 0),
        dilation: perAxis(options.dilation, rank, 1),
      };
      const combine = (values: readonly number[], withPadding: number): number => {
        if (kind === "max") return greatest(values);
        return reference.sum(values) / (options.countIncludePad === false ? values.length : withPadding);
      };
      return pool(input!, kernel, geometry, options.ceilMode === true, combine);
    },
  };
}

/** Poolings whose window fits the padded input. */
function anyPool(rank: number, kind: "max" | "mean"): fc.Arbitrary<readonly [number[], PoolOptions]> {
  const window = fc.record({
    size: between(1, 3),
    stride: between(1, 3),
    dilation: between(1, kind === "max" ? 2 : 1),
    half: fc.boolean(),
    room: between(0, rank === 3 ? 2 : 4),
  });
  return fc
    .record({
      lead: fc.tuple(between(1, 2), between(1, 2)),
      windows: fc.array(window, { minLength: rank, maxLength: rank }),
      ceilMode: fc.boolean(),
      countIncludePad: fc.boolean(),
    })
    .map(({ lead, windows, ceilMode, countIncludePad }) => {
      const padding = windows.map(({ size, half }) => (half ? Math.floor(size / 2) : 0));
      const x = [
        ...lead,
        ...windows.map(({ size, dilation, room }, i) =>
          Math.max(1, dilation * (size - 1) + 1 - 2 * padding[i]! + room),
        ),
      ];
      const common = {
        kernelSize: windows.map(({ size }) => size),
        stride: windows.map(({ stride }) => stride),
        padding,
        ceilMode,
      };
      return [
        x,
        kind === "max"
          ? { ...common, dilation: windows.map(({ dilation }) => dilation) }
          : { ...common, countIncludePad },
      ] as const;
    });
}

const POOLS = {
  maxPool1d: nf.maxPool1d,
  maxPool2d: nf.maxPool2d,
  maxPool3d: nf.maxPool3d,
  avgPool1d: nf.avgPool1d,
  avgPool2d: nf.avgPool2d,
  avgPool3d: nf.avgPool3d,
} as const;

function poolRow(
  op: "maxPool1d" | "maxPool2d" | "maxPool3d" | "avgPool1d" | "avgPool2d" | "avgPool3d",
  fixed: readonly (readonly [readonly number[], PoolOptions])[],
  edges: readonly Edge[] = [],
): Row {
  const kind = op.startsWith("max") ? "max" : "mean";
  const call = POOLS[op] as PoolCall;
  return row(FAMILY, {
    op,
    kernels: kind === "max" ? ["reduce", "argReduce", "gather", "scatter"] : ["reduce"],
    tolerance: kind === "max" ? "exact" : "composed",
    dtypes: FLOATS,
    instances: fixed.map(([x, options]) => instanceOf(call, kind, x, options)),
    ...(op.includes("2d") && {
      large: [
        instanceOf(call, kind, [2, 3, 35, 34], { kernelSize: 2 }),
        instanceOf(call, kind, [1, 5, 33, 20], { kernelSize: 3, stride: 2, padding: 1 }),
      ],
    }),
    arbitrary: anyPool(Number(op.at(-2)), kind).map(([x, options]) => instanceOf(call, kind, x, options)),
    edges,
  });
}

const image = (values: readonly number[], height: number, width: number): reference.Nd =>
  reference.nd([1, 1, height, width], values);

/** Windows along one dimension of an adaptive pooling: from floor(i in / out) to before ceil((i + 1) in / out). */
function adaptive(
  x: reference.Nd,
  sizes: readonly number[],
  f: (values: readonly number[]) => number,
): reference.Nd {
  const spatial = x.shape.slice(2);
  return reference.build([...x.shape.slice(0, 2), ...sizes], ([n, c, ...place]) => {
    const starts = place.map((p, i) => Math.floor((p * spatial[i]!) / sizes[i]!));
    const ends = place.map((p, i) => Math.ceil(((p + 1) * spatial[i]!) / sizes[i]!));
    const shape = starts.map((start, i) => ends[i]! - start);
    const values = Array.from({ length: reference.count(shape) }, (_, k) =>
      reference.at(x, [n!, c!, ...reference.indexAt(shape, k).map((step, i) => starts[i]! + step)]),
    );
    return f(values);
  });
}

const ADAPTIVE = {
  adaptiveAvgPool1d: nf.adaptiveAvgPool1d,
  adaptiveAvgPool2d: nf.adaptiveAvgPool2d,
  adaptiveMaxPool1d: nf.adaptiveMaxPool1d,
  adaptiveMaxPool2d: nf.adaptiveMaxPool2d,
} as const;

function adaptiveRow(
  op: "adaptiveAvgPool1d" | "adaptiveAvgPool2d" | "adaptiveMaxPool1d" | "adaptiveMaxPool2d",
): Row {
  const rank = Number(op.at(-2));
  const max = op.includes("Max");
  const instance = ([x, sizes]: readonly [readonly number[], readonly number[]]): Instance => ({
    label: `${shapesText(x)} to ${shapesText(sizes)}`,
    operands: [data(x, { distinct: max })],
    // The most that a window holds, which is added up in turn.
    ...(!max && { chain: reference.count(sizes.map((size, i) => Math.ceil(x[i + 2]! / size) + 1)) }),
    run: ([input]) => ADAPTIVE[op](input!, { outputSize: sizes }),
    reference: ([input]) => adaptive(input!, sizes, max ? greatest : mean),
  });
  const fixed: readonly (readonly [readonly number[], readonly number[]])[] =
    rank === 1
      ? [
          [[2, 2, 7], [3]],
          [[1, 1, 6], [2]],
          [[1, 2, 3], [5]],
        ]
      : [
          [
            [1, 2, 5, 7],
            [3, 2],
          ],
          [
            [1, 1, 4, 6],
            [2, 3],
          ],
          [
            [2, 1, 3, 2],
            [1, 1],
          ],
        ];
  const each = (low: number, high: number): fc.Arbitrary<number[]> =>
    fc.array(between(low, high), { minLength: rank, maxLength: rank });
  return row(FAMILY, {
    op,
    kernels: max ? ["reduce", "argReduce", "gather", "scatter"] : ["reduce", "gather", "scatter"],
    tolerance: max ? "exact" : "composed",
    instances: fixed.map(instance),
    arbitrary: fc
      .tuple(between(1, 2), between(1, 2), each(1, 7), each(1, 5))
      .map(([n, c, spatial, sizes]) => instance([[n, c, ...spatial], sizes])),
  });
}

const GLOBAL = { globalAvgPool: nf.globalAvgPool, globalMaxPool: nf.globalMaxPool } as const;

function globalRow(op: "globalAvgPool" | "globalMaxPool"): Row {
  const max = op === "globalMaxPool";
  const instance = ([x, keepDims]: readonly [readonly number[], boolean]): Instance => ({
    label: shapesText(x) + (keepDims ? " keepDims" : ""),
    operands: [data(x, { distinct: max })],
    run: ([input]) => GLOBAL[op](input!, { keepDims }),
    reference: ([input]) =>
      reference.reduce(
        input!,
        x.slice(2).map((_, i) => i + 2),
        keepDims,
        max ? greatest : mean,
      ),
  });
  return row(FAMILY, {
    op,
    kernels: ["reduce"],
    tolerance: max ? "exact" : "composed",
    instances: [instance([[2, 3, 4], false]), instance([[2, 3, 4, 5], true]), instance([[1, 1, 1], false])],
    arbitrary: fc.tuple(fc.array(between(1, 4), { minLength: 3, maxLength: 5 }), fc.boolean()).map(instance),
  });
}

/** Pooling, and its reverse, upsampling. */
export function poolingRows(): readonly Row[] {
  return [
    poolRow("maxPool1d", [
      [[2, 3, 7], { kernelSize: 2 }],
      [[1, 2, 6], { kernelSize: 3, stride: 2, padding: 1 }],
      [[1, 1, 7], { kernelSize: 2, dilation: 2, ceilMode: true, stride: 2 }],
    ]),
    poolRow(
      "maxPool2d",
      [
        [[2, 2, 4, 6], { kernelSize: 2 }],
        [[1, 2, 5, 5], { kernelSize: 3, stride: 2, padding: 1 }],
        [[1, 1, 6, 7], { kernelSize: [2, 3], stride: [1, 2], ceilMode: true }],
        [[1, 1, 7, 7], { kernelSize: 2, dilation: 2, stride: 1 }],
        [[1, 1, 3, 3], { kernelSize: 3 }],
      ],
      [
        edge(
          "NaN propagates",
          ([x]) => nf.maxPool2d(x!, { kernelSize: 2 }),
          [image([1, NaN, 2, 3], 2, 2)],
          [NaN],
        ),
        edge(
          "the first of equals has the gradient",
          ([x]) => nf.maxPool2d(x!, { kernelSize: 2 }),
          [image([5, 5, 5, 5], 2, 2)],
          [5],
          { grads: [[1, 0, 0, 0]] },
        ),
        edge(
          "padding is below everything",
          ([x]) => nf.maxPool2d(x!, { kernelSize: 2, padding: 1, stride: 2 }),
          [image([-1, -2, -3, -4], 2, 2)],
          [-1, -2, -3, -4],
          { grads: [[1, 1, 1, 1]] },
        ),
        edge(
          "windows that overlap add their gradients",
          ([x]) => nf.maxPool2d(x!, { kernelSize: [1, 2], stride: 1 }),
          [image([1, 9, 2], 1, 3)],
          [9, 9],
          { grads: [[0, 2, 0]] },
        ),
      ],
    ),
    poolRow("maxPool3d", [
      [[1, 2, 4, 4, 4], { kernelSize: 2 }],
      [[1, 1, 3, 4, 3], { kernelSize: 2, stride: 1, padding: 1 }],
    ]),
    poolRow("avgPool1d", [
      [[2, 3, 7], { kernelSize: 2 }],
      [[1, 2, 6], { kernelSize: 3, stride: 2, padding: 1, countIncludePad: false }],
    ]),
    poolRow("avgPool2d", [
      [[2, 2, 4, 6], { kernelSize: 2 }],
      [[1, 2, 5, 5], { kernelSize: 3, stride: 2, padding: 1 }],
      [[1, 2, 5, 5], { kernelSize: 3, stride: 2, padding: 1, countIncludePad: false }],
      [[1, 1, 6, 7], { kernelSize: [2, 3], stride: [2, 2], ceilMode: true }],
      [[1, 1, 5, 6], { kernelSize: 2, stride: 3, padding: 1, ceilMode: true }],
    ]),
    poolRow("avgPool3d", [
      [[1, 2, 4, 4, 4], { kernelSize: 2 }],
      [[1, 1, 3, 4, 3], { kernelSize: 2, stride: 1, padding: 1 }],
    ]),
    adaptiveRow("adaptiveAvgPool1d"),
    adaptiveRow("adaptiveAvgPool2d"),
    adaptiveRow("adaptiveMaxPool1d"),
    adaptiveRow("adaptiveMaxPool2d"),
    globalRow("globalAvgPool"),
    globalRow("globalMaxPool"),
    ...upsampleRows(),
  ];
}
