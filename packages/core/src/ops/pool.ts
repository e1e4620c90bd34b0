import { showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import { div } from "./binary.ts";
import { upload } from "./create.ts";
import { runFused } from "./fused.ts";
import { gather, scatterAdd } from "./index-ops.ts";
import type { Op } from "./op.ts";
import { checkOptions } from "./options.ts";
import { expandTo, filled } from "./programs.ts";
import { argmax, max, sum } from "./reduce.ts";
import { reshape } from "./shape.ts";
import { detach, withUnitDims } from "./views.ts";
import {
  bothSides,
  checkSpatial,
  fold,
  type Padding,
  type PerDimension,
  padTrailing,
  perDimension,
  unpadTrailing,
  windows,
} from "./windows.ts";

/** Options of max pooling; numbers count for all spatial dimensions. */
export interface MaxPoolOptions {
  readonly kernelSize: PerDimension;
  /** Step between windows; default the kernel size. */
  readonly stride?: PerDimension;
  /** Minus infinities on both sides, at most half the kernel; default 0. */
  readonly padding?: PerDimension;
  /** Step between the elements of a window; default 1. */
  readonly dilation?: PerDimension;
  /** Whether a window that hangs over the end counts; default false. */
  readonly ceilMode?: boolean;
}

/** Options of average pooling. */
export interface AvgPoolOptions {
  readonly kernelSize: PerDimension;
  /** Step between windows; default the kernel size. */
  readonly stride?: PerDimension;
  /** Zeros on both sides, at most half the kernel; default 0. */
  readonly padding?: PerDimension;
  /** Whether a window that hangs over the end counts; default false. */
  readonly ceilMode?: boolean;
  /** Whether padding counts in the divisor; default true. */
  readonly countIncludePad?: boolean;
}

interface PoolAttributes {
  readonly kind: "max" | "mean";
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** What windows run over, with what ceil mode adds at the end. */
  readonly padding: Padding;
  readonly countedPadding: Padding;
  readonly countIncludePad: boolean;
  readonly xShape: Shape;
  readonly outShape: Shape;
}

const POOL: Op<PoolAttributes> = {
  name: "pool",
  forward: ([x], attributes, device) =>
    fused("forward", [x as Tensor], attributes, attributes.outShape, device),
  decompose([x], attributes) {
    const input = x as Tensor;
    if (attributes.kind === "mean") {
      const total = sum(windowRows(input, attributes, 0), { axis: -1 });
      return [div(reshape(total, attributes.outShape), divisors(input, attributes))];
    }
    const rows = windowRows(input, attributes, -Infinity);
    if (!input.requiresGrad) return [reshape(max(rows, { axis: -1 }), attributes.outShape)];
    // The gradient of a maximum is shared among ties, that of pooling goes to the first one.
    return [reshape(gather(rows, -1, argmax(rows, { axis: -1, keepDims: true })), attributes.outShape)];
  },
  gradient: {
    save: ([x], _outputs, _needs, { kind }) => (kind === "max" ? [x as Tensor] : []),
    vjp({ saved: [x], gradients: [g], attributes, createGraph }) {
      const gradient = g as Tensor;
      if (createGraph) return [spread(gradient, x, attributes)];
      return [apply(POOL_GRAD, x === undefined ? [gradient] : [gradient, x], attributes)[0] as Tensor];
    },
  },
};

/** The gradient of x from that of the output; linear in it, but only its decomposition is differentiable. */
const POOL_GRAD: Op<PoolAttributes> = {
  name: "poolGrad",
  forward: (inputs, attributes, device) => fused("backward", inputs, attributes, attributes.xShape, device),
  decompose: ([g, x], attributes) => [spread(g as Tensor, x, attributes)],
};

function fused(
  pass: "forward" | "backward",
  inputs: readonly Tensor[],
  { kind, kernelSize, stride, dilation, padding, countIncludePad, countedPadding }: PoolAttributes,
  shape: Shape,
  device: Parameters<typeof runFused>[0],
): readonly Tensor[] | undefined {
  const attributes = { pass, kind, kernelSize, stride, dilation, padding, countIncludePad, countedPadding };
  return runFused(device, "pool", { kernel: "pool", attributes }, inputs, [
    { shape, dtype: (inputs[0] as Tensor).dtype },
  ]);
}

/** Windows of x, one a row: `[batch, channels, …positions, window]`. */
function windowRows(x: Tensor, attributes: PoolAttributes, fill: number): Tensor {
  const { outShape, kernelSize, padding } = attributes;
  return reshape(windows(padTrailing(x, padding, fill), attributes), [...outShape, sizeOf(kernelSize)]);
}

function spread(g: Tensor, x: Tensor | undefined, attributes: PoolAttributes): Tensor {
  const { kernelSize, outShape, padding, xShape, kind } = attributes;
  const rowShape = [...outShape, sizeOf(kernelSize)];
  let rows: Tensor;
  if (kind === "mean") {
    const share = div(g, divisors(g, attributes));
    rows = expandTo(withUnitDims(share, [...outShape, 1]), rowShape);
  } else {
    const winners = argmax(windowRows(detach(x as Tensor), attributes, -Infinity), {
      axis: -1,
      keepDims: true,
    });
    rows = scatterAdd(filled(g.device, rowShape, g.dtype, 0), -1, winners, withUnitDims(g, [...outShape, 1]));
  }
  const padded = xShape.map((size, axis) => size + bothSides(padding, axis - 2));
  return unpadTrailing(fold(reshape(rows, [...outShape, ...kernelSize]), padded, attributes), padding);
}

/** What the sum of each window is divided by: a number where it is the same everywhere, else `[1, 1, …positions]`. */
function divisors(x: Tensor, attributes: PoolAttributes): Tensor | number {
  const { kernelSize, stride, padding, countedPadding, countIncludePad, xShape, outShape } = attributes;
  const counts = kernelSize.map((size, i) => {
    const [before] = padding[i] as readonly [number, number];
    const [low, high] = countIncludePad ? (countedPadding[i] as readonly [number, number]) : [0, 0];
    const end = (xShape[i + 2] as number) + high;
    return Array.from({ length: outShape[i + 2] as number }, (_, position) => {
      const start = position * (stride[i] as number) - before;
      return Math.min(start + size, end) - Math.max(start, -low);
    });
  });
  if (counts.every((row) => row.every((count) => count === row[0])))
    return counts.reduce((product, row) => product * (row[0] ?? 1), 1);
  const table = counts.reduce<readonly number[]>(
    (all, row) => all.flatMap((count) => row.map((other) => count * other)),
    [1],
  );
  return upload(
    "pool",
    x.device,
    x.dtype === "f64" ? Float64Array.from(table) : Float32Array.from(table),
    [1, 1, ...outShape.slice(2)],
    x.dtype,
  );
}

const POOL_OPTIONS = {
  max: ["kernelSize", "stride", "padding", "ceilMode", "dilation"],
  mean: ["kernelSize", "stride", "padding", "ceilMode", "countIncludePad"],
};

function pool(
  op: string,
  rank: number,
  kind: "max" | "mean",
  x: Tensor,
  options: MaxPoolOptions & AvgPoolOptions,
): Tensor {
  checkSpatial(op, x, rank);
  if (options === undefined) throw new OptionError(`${op}: give at least the window, { kernelSize: … }.`);
  checkOptions(op, options, POOL_OPTIONS[kind]);
  const kernelSize = perDimension(op, "kernelSize", options.kernelSize, rank, 1);
  const stride = perDimension(op, "stride", options.stride ?? kernelSize, rank, 1);
  const dilation = perDimension(op, "dilation", options.dilation ?? 1, rank, 1);
  const amounts = perDimension(op, "padding", options.padding ?? 0, rank, 0);
  const countedPadding = new Array<[number, number]>(rank);
  const padding = new Array<[number, number]>(rank);
  const outShape = x.shape.slice();
  for (let i = 0; i < rank; i++) {
    const size = kernelSize[i] as number;
    const amount = amounts[i] as number;
    const step = stride[i] as number;
    const length = x.shape[i + 2] as number;
    if (amount > size / 2)
      throw new OptionError(`${op}: padding ${amount} is more than half of the kernel size ${size}.`);
    const reach = (dilation[i] as number) * (size - 1) + 1;
    const room = length + 2 * amount - reach;
    let count = (options.ceilMode === true ? Math.ceil(room / step) : Math.floor(room / step)) + 1;
    // A window that would start in the padding behind the end does not count.
    if (options.ceilMode === true && (count - 1) * step >= length + amount) count--;
    if (room < 0 || count < 1) {
      throw new ShapeError(
        `${op}: the window ${showShape(kernelSize)} is larger than the padded input of x ${showShape(x.shape)}.`,
      );
    }
    countedPadding[i] = [amount, amount];
    padding[i] = [amount, Math.max(amount, (count - 1) * step + reach - length - amount)];
    outShape[i + 2] = count;
  }
  const attributes: PoolAttributes = {
    kind,
    kernelSize,
    stride,
    dilation,
    padding,
    countedPadding,
    countIncludePad: options.countIncludePad ?? true,
    xShape: x.shape,
    outShape,
  };
  return apply(POOL, [x], attributes)[0] as Tensor;
}

/** Greatest element of each window of x `[batch, channels, length]`; NaN propagates. Gradient to the first of equals. */
export function maxPool1d(x: Tensor, options: MaxPoolOptions): Tensor {
  return pool("maxPool1d", 1, "max", x, options);
}

/** Greatest element of each window of x `[batch, channels, height, width]`; NaN propagates. Gradient to the first of equals. */
export function maxPool2d(x: Tensor, options: MaxPoolOptions): Tensor {
  return pool("maxPool2d", 2, "max", x, options);
}

/** Greatest element of each window of x `[batch, channels, depth, height, width]`; NaN propagates. Gradient to the first of equals. */
export function maxPool3d(x: Tensor, options: MaxPoolOptions): Tensor {
  return pool("maxPool3d", 3, "max", x, options);
}

/** Mean of each window of x `[batch, channels, length]`. */
export function avgPool1d(x: Tensor, options: AvgPoolOptions): Tensor {
  return pool("avgPool1d", 1, "mean", x, options);
}

/** Mean of each window of x `[batch, channels, height, width]`. */
export function avgPool2d(x: Tensor, options: AvgPoolOptions): Tensor {
  return pool("avgPool2d", 2, "mean", x, options);
}

/** Mean of each window of x `[batch, channels, depth, height, width]`. */
export function avgPool3d(x: Tensor, options: AvgPoolOptions): Tensor {
  return pool("avgPool3d", 3, "mean", x, options);
}
