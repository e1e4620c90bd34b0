import { sameShape, showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { checkFloat, checkOptions } from "./options.ts";
import { permute, reshape } from "./shape.ts";
import {
  checkSpatial,
  fold as foldWindows,
  type Padding,
  type PerDimension,
  padTrailing,
  perDimension,
  unpadTrailing,
  windowCount,
  windows,
} from "./windows.ts";

/** Options of {@link unfold}; numbers count for height and width. */
export interface UnfoldOptions {
  readonly kernelSize: PerDimension;
  /** Step between the elements of a window; default 1. */
  readonly dilation?: PerDimension;
  /** Zeros on both sides; default 0. */
  readonly padding?: PerDimension;
  /** Step between windows; default 1. */
  readonly stride?: PerDimension;
}

/** Options of {@link fold}. */
export interface FoldOptions extends UnfoldOptions {
  /** Height and width of the result. */
  readonly outputSize: PerDimension;
}

interface Geometry {
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: Padding;
  /** Sizes with the padding. */
  readonly padded: Shape;
  /** Number of windows along height and width. */
  readonly positions: Shape;
}

const WINDOW_OPTIONS = ["kernelSize", "dilation", "padding", "stride"];

function geometryOf(op: string, sizes: readonly number[], options: UnfoldOptions): Geometry {
  const kernelSize = perDimension(op, "kernelSize", options.kernelSize, 2, 1);
  const stride = perDimension(op, "stride", options.stride ?? 1, 2, 1);
  const dilation = perDimension(op, "dilation", options.dilation ?? 1, 2, 1);
  const amounts = perDimension(op, "padding", options.padding ?? 0, 2, 0);
  const padding = amounts.map((amount): [number, number] => [amount, amount]);
  const padded = sizes.map((size, i) => size + 2 * (amounts[i] as number));
  const positions = padded.map((size, i) =>
    windowCount(size, kernelSize[i] as number, stride[i] as number, dilation[i] as number),
  );
  if (positions.some((count) => count < 1)) {
    throw new ShapeError(
      `${op}: the window ${showShape(kernelSize)} (dilation ${showShape(dilation)}) is larger than the padded image ${showShape(padded)}.`,
    );
  }
  return { kernelSize, stride, dilation, padding, padded, positions };
}

/**
 * The windows of images x `[batch, channels, height, width]` as columns, `[batch, channels · kernel, windows]`, windows
 * row by row.
 */
export function unfold(x: Tensor, options: UnfoldOptions): Tensor {
  checkOptions("unfold", options ?? null, WINDOW_OPTIONS);
  checkSpatial("unfold", x, 2);
  const geometry = geometryOf("unfold", x.shape.slice(2), options);
  const [batch, channels] = x.shape as [number, number];
  return composite([x], () => {
    // [batch, channels, rows, columns, height, width] -> [batch, channels, height, width, rows, columns]
    const all = windows(padTrailing(x, geometry.padding, 0), geometry);
    const column = channels * sizeOf(geometry.kernelSize);
    return reshape(permute(all, [0, 1, 4, 5, 2, 3]), [batch, column, sizeOf(geometry.positions)]);
  });
}

/**
 * The reverse of {@link unfold}: adds columns x `[batch, channels · kernel, windows]` up at their places in images
 * `[batch, channels, …outputSize]`.
 */
export function fold(x: Tensor, options: FoldOptions): Tensor {
  checkOptions("fold", options ?? null, ["outputSize", ...WINDOW_OPTIONS]);
  checkFloat("fold", x);
  const outputSize = perDimension("fold", "outputSize", options.outputSize, 2, 1);
  const geometry = geometryOf("fold", outputSize, options);
  const { kernelSize, positions, padded, padding } = geometry;
  const [batch = 0, column = 0] = x.shape;
  const channels = column / sizeOf(kernelSize);
  if (!Number.isInteger(channels) || !sameShape(x.shape, [batch, column, sizeOf(positions)])) {
    throw new ShapeError(
      `fold: expected x [batch, channels · ${sizeOf(kernelSize)}, ${sizeOf(positions)}] for the output size ${showShape(outputSize)}, got ${showShape(x.shape)}.`,
    );
  }
  return composite([x], () => {
    const split = permute(reshape(x, [batch, channels, ...kernelSize, ...positions]), [0, 1, 4, 5, 2, 3]);
    return unpadTrailing(foldWindows(split, [batch, channels, ...padded], geometry), padding);
  });
}
