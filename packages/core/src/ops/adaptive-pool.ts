import { showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { div, mul } from "./binary.ts";
import { upload } from "./create.ts";
import { gather, indexSelect } from "./index-ops.ts";
import { checkInteger, checkOptions, checkTensor, show } from "./options.ts";
import { avgPool1d, avgPool2d, maxPool1d, maxPool2d } from "./pool.ts";
import { argmax, max, mean, sum } from "./reduce.ts";
import { permute, reshape } from "./shape.ts";
import { checkSpatial } from "./windows.ts";

/** Options of adaptive pooling. */
export interface AdaptivePoolOptions {
  /** Sizes of the result: a number for all spatial dimensions, or one each, where null keeps the input's. */
  readonly outputSize: number | readonly (number | null)[];
}

/** Options of global pooling. */
export interface GlobalPoolOptions {
  /** Keep the spatial dimensions with size 1; default false. */
  readonly keepDims?: boolean;
}

/** Windows along one dimension: they start at floor(i in / out) and end before ceil((i + 1) in / out). */
interface Windows {
  /** Positions of each window in turn; shorter ones repeat their last. */
  readonly index: Int32Array;
  /** Length of the longest. */
  readonly reach: number;
  readonly lengths: readonly number[];
}

function windowsOf(size: number, count: number): Windows {
  const starts = Array.from({ length: count }, (_, i) => Math.floor((i * size) / count));
  const lengths = starts.map((start, i) => Math.ceil(((i + 1) * size) / count) - start);
  const reach = Math.max(...lengths);
  const index = new Int32Array(count * reach);
  starts.forEach((start, i) => {
    for (let k = 0; k < reach; k++) index[i * reach + k] = start + Math.min(k, (lengths[i] as number) - 1);
  });
  return { index, reach, lengths };
}

function outputSizes(op: string, rank: number, x: Tensor, options: AdaptivePoolOptions): readonly number[] {
  checkOptions(op, options ?? null, ["outputSize"]);
  checkSpatial(op, x, rank);
  const given = options.outputSize;
  const sizes = typeof given === "number" ? new Array<number>(rank).fill(given) : given;
  if (!Array.isArray(sizes) || sizes.length !== rank)
    throw new OptionError(`${op}: outputSize must be a number or an array of ${rank}, got ${show(given)}.`);
  if (x.shape.slice(2).includes(0))
    throw new ShapeError(`${op}: x ${showShape(x.shape)} has nothing to pool over.`);
  return sizes.map((size: number | null, i: number) =>
    size === null ? (x.shape[i + 2] as number) : checkInteger(op, "outputSize", size, 1),
  );
}

/** The kernel of an ordinary pooling that does the same, where all windows are equal and do not overlap. */
function evenKernel(x: Tensor, sizes: readonly number[]): readonly number[] | undefined {
  const kernel = sizes.map((size, i) => (x.shape[i + 2] as number) / size);
  return kernel.every(Number.isInteger) ? kernel : undefined;
}

/** The windows of one dimension spread out: that dimension becomes `[…, windows, reach, …]`. */
function spread(x: Tensor, axis: number, { index, reach, lengths }: Windows): Tensor {
  const at = upload("adaptivePool", x.device, index, [index.length], "i32");
  const shape = [...x.shape.slice(0, axis), lengths.length, reach, ...x.shape.slice(axis + 1)];
  return reshape(indexSelect(x, axis, at), shape);
}

/** Means one dimension after the other. Shorter windows count their last element twice, half each time. */
function adaptiveMean(x: Tensor, sizes: readonly number[]): Tensor {
  return sizes.reduce((partial, size, i) => {
    const axis = i + 2;
    const windows = windowsOf(partial.shape[axis] as number, size);
    const rows = spread(partial, axis, windows);
    const trailing = new Array<number>(rows.rank - axis - 2).fill(1);
    const { lengths, reach } = windows;
    const shares = lengths.flatMap((length) =>
      Array.from({ length: reach }, (_, k) => (k < length - 1 ? 1 : 1 / (reach - length + 1))),
    );
    const total = sum(mul(rows, numbers(x, shares, [size, reach, ...trailing])), { axis: axis + 1 });
    return div(total, numbers(x, lengths, [size, ...trailing]));
  }, x);
}

/** Host numbers beside x. */
function numbers({ device, dtype }: Tensor, values: readonly number[], shape: Shape): Tensor {
  const array = dtype === "f64" ? Float64Array.from(values) : Float32Array.from(values);
  return upload("adaptivePool", device, array, shape, dtype);
}

/** Repeated positions change no maximum, and the first of equals still comes first. */
function adaptiveMax(x: Tensor, sizes: readonly number[]): Tensor {
  // [batch, channels, …(windows, reach)] -> [batch, channels, …windows, …reach]
  const spreadOut = sizes.reduce(
    (partial, size, i) => spread(partial, 2 + 2 * i, windowsOf(x.shape[i + 2] as number, size)),
    x,
  );
  const windowAxes = sizes.map((_, i) => 2 + 2 * i);
  const ordered = permute(spreadOut, [0, 1, ...windowAxes, ...windowAxes.map((axis) => axis + 1)]);
  const outShape: Shape = ordered.shape.slice(0, 2 + sizes.length);
  const rows = reshape(ordered, [...outShape, sizeOf(ordered.shape.slice(2 + sizes.length))]);
  if (!x.requiresGrad) return max(rows, { axis: -1 });
  // The gradient of a maximum is shared among ties, that of pooling goes to the first one.
  return reshape(gather(rows, -1, argmax(rows, { axis: -1, keepDims: true })), outShape);
}

/** Mean over windows of x `[batch, channels, length]`, chosen so that the result has `outputSize`. */
export function adaptiveAvgPool1d(x: Tensor, options: AdaptivePoolOptions): Tensor {
  const sizes = outputSizes("adaptiveAvgPool1d", 1, x, options);
  const kernelSize = evenKernel(x, sizes);
  return composite([x], () => (kernelSize ? avgPool1d(x, { kernelSize }) : adaptiveMean(x, sizes)));
}

/** Mean over windows of x `[batch, channels, height, width]`, chosen so that the result has `outputSize`. */
export function adaptiveAvgPool2d(x: Tensor, options: AdaptivePoolOptions): Tensor {
  const sizes = outputSizes("adaptiveAvgPool2d", 2, x, options);
  const kernelSize = evenKernel(x, sizes);
  return composite([x], () => (kernelSize ? avgPool2d(x, { kernelSize }) : adaptiveMean(x, sizes)));
}

/** Greatest element of windows of x `[batch, channels, length]`, chosen so that the result has `outputSize`. NaN propagates. */
export function adaptiveMaxPool1d(x: Tensor, options: AdaptivePoolOptions): Tensor {
  const sizes = outputSizes("adaptiveMaxPool1d", 1, x, options);
  const kernelSize = evenKernel(x, sizes);
  return composite([x], () => (kernelSize ? maxPool1d(x, { kernelSize }) : adaptiveMax(x, sizes)));
}

/** Greatest element of windows of x `[batch, channels, height, width]`, chosen so that the result has `outputSize`. NaN propagates. */
export function adaptiveMaxPool2d(x: Tensor, options: AdaptivePoolOptions): Tensor {
  const sizes = outputSizes("adaptiveMaxPool2d", 2, x, options);
  const kernelSize = evenKernel(x, sizes);
  return composite([x], () => (kernelSize ? maxPool2d(x, { kernelSize }) : adaptiveMax(x, sizes)));
}

function globalAxes(op: string, x: Tensor, options: GlobalPoolOptions): readonly number[] {
  checkTensor(op, x);
  checkOptions(op, options, ["keepDims"]);
  if (x.rank < 3)
    throw new ShapeError(`${op}: expected x [batch, channels, …spatial], got ${showShape(x.shape)}.`);
  return x.shape.slice(2).map((_, i) => i + 2);
}

/** Mean over all spatial dimensions of x `[batch, channels, …]`: `[batch, channels]`. */
export function globalAvgPool(x: Tensor, options: GlobalPoolOptions = {}): Tensor {
  const axis = globalAxes("globalAvgPool", x, options);
  return mean(x, { axis, keepDims: options.keepDims ?? false });
}

/**
 * Greatest element over all spatial dimensions of x `[batch, channels, …]`: `[batch, channels]`. NaN propagates, equal
 * elements share the gradient.
 */
export function globalMaxPool(x: Tensor, options: GlobalPoolOptions = {}): Tensor {
  const axis = globalAxes("globalMaxPool", x, options);
  return max(x, { axis, keepDims: options.keepDims ?? false });
}
