import { checkInteger, checkNumber, checkOptions, type Generator, OptionError } from "@nf/core";
import type { Dataset } from "../dataset.ts";
import { DataError } from "../errors.ts";
import { kindOf, NdArray } from "../ndarray.ts";
import { below, generatorFor, uniform } from "../order.ts";
import { mapDataset } from "../transforms.ts";
import { checkNormalization, type Normalization } from "./normalization.ts";

/** Sets the draws apart from other uses of the same seed: "augm". */
const AUGMENT_KEY = 0x6175676d;

/**
 * Makes another image of one of shape [channels, height, width], with random numbers from `random` alone. The given image
 * is left as it is.
 */
export type ImageTransform = (image: NdArray, random: Generator) => NdArray;

/**
 * The dataset with its `image` changed at random: in every epoch another way, the same for the same seed, epoch and image
 * on every machine, whatever the order and the number of loops. The rest of each item is left as it is.
 *
 * @example
 * ```ts no-run
 * import { augment, compose, embeddedMnist, randomRotate, randomShift } from "@nf/data";
 * const { train } = await embeddedMnist();
 * const varied = augment(train, compose([randomShift({ pixels: 2 }), randomRotate({ degrees: 10 })]), { seed: 1 });
 * ```
 */
export function augment<Item extends { readonly image: NdArray }>(
  dataset: Dataset<Item>,
  transform: ImageTransform,
  options: { seed?: number } = {},
): Dataset<Item> {
  checkOptions("augment", options, ["seed"]);
  const { seed = 0 } = options;
  checkInteger("augment", "seed", seed, 0);
  if (typeof transform !== "function")
    throw new OptionError(`augment: expected a transform, as randomShift gives, got ${kindOf(transform)}.`);
  return mapDataset(dataset, (item, index, epoch) => ({
    ...item,
    image: transform(item.image, generatorFor(seed, AUGMENT_KEY, epoch, index)),
  }));
}

/** One transform after the other. */
export function compose(transforms: readonly ImageTransform[]): ImageTransform {
  if (!Array.isArray(transforms) || transforms.some((one) => typeof one !== "function"))
    throw new OptionError(
      "compose: expected a list of transforms, as in compose([randomShift(), normalize()]).",
    );
  return (image, random) => transforms.reduce((changed, transform) => transform(changed, random), image);
}

/** Options of {@link randomShift}. */
export interface RandomShiftOptions {
  /** Greatest shift in each direction. Default 2. */
  pixels?: number;
  /** Value of what comes in at the edges. Default 0. */
  fill?: number;
}

/** Moves the image by whole pixels, up to `pixels` in each direction, all shifts alike probable. */
export function randomShift(options: RandomShiftOptions = {}): ImageTransform {
  checkOptions("randomShift", options, ["pixels", "fill"]);
  const { pixels = 2, fill = 0 } = options;
  checkInteger("randomShift", "pixels", pixels, 0);
  checkNumber("randomShift", "fill", fill);
  return (image, random) => {
    const dy = below(random, 2 * pixels + 1) - pixels;
    const dx = below(random, 2 * pixels + 1) - pixels;
    const [, height, width] = sizesOf("randomShift", image);
    return cut(image, -dy, -dx, height, width, fill);
  };
}

/** Options of {@link randomCrop}. */
export interface RandomCropOptions {
  /** Height and width of what is cut out; one number for both. */
  size: number | readonly [height: number, width: number];
  /** Pixels that are put around the image first. Default 0. */
  padding?: number;
  /** Value of the padding. Default 0. */
  fill?: number;
}

/** Cuts out a part at random, all places alike probable. @throws DataError for an image that is smaller, padding included. */
export function randomCrop(options: RandomCropOptions): ImageTransform {
  checkOptions("randomCrop", options, ["size", "padding", "fill"]);
  const { size, padding = 0, fill = 0 } = options ?? {};
  const [height, width] = typeof size === "number" ? [size, size] : (size ?? []);
  checkInteger("randomCrop", "size", height as number, 1);
  checkInteger("randomCrop", "size", width as number, 1);
  checkInteger("randomCrop", "padding", padding, 0);
  checkNumber("randomCrop", "fill", fill);
  return (image, random) => {
    const [, fromHeight, fromWidth] = sizesOf("randomCrop", image);
    const rows = fromHeight + 2 * padding - height;
    const columns = fromWidth + 2 * padding - width;
    if (rows < 0 || columns < 0) {
      throw new DataError(
        `randomCrop: ${height} by ${width} pixels do not fit an image of ${fromHeight} by ${fromWidth} with a padding of ` +
          `${padding}.`,
      );
    }
    const top = below(random, rows + 1) - padding;
    const left = below(random, columns + 1) - padding;
    return cut(image, top, left, height, width, fill);
  };
}

/** Options of {@link randomHorizontalFlip} and {@link randomVerticalFlip}. */
export interface RandomFlipOptions {
  /** How often images are mirrored, 0 to 1. Default 0.5. */
  probability?: number;
}

/** Mirrors left and right. */
export function randomHorizontalFlip(options: RandomFlipOptions = {}): ImageTransform {
  return flip("randomHorizontalFlip", options, (data, [channels, height, width]) => {
    for (let row = 0; row < channels * height; row++) data.subarray(row * width, (row + 1) * width).reverse();
  });
}

/** Mirrors top and bottom. */
export function randomVerticalFlip(options: RandomFlipOptions = {}): ImageTransform {
  return flip("randomVerticalFlip", options, (data, [channels, height, width]) => {
    const rows = data.slice();
    for (let row = 0; row < channels * height; row++) {
      const from = row - (row % height) + (height - 1 - (row % height));
      data.set(rows.subarray(from * width, (from + 1) * width), row * width);
    }
  });
}

function flip(
  name: string,
  options: RandomFlipOptions,
  mirror: (data: NdArray["data"], sizes: ReturnType<typeof sizesOf>) => void,
): ImageTransform {
  checkOptions(name, options, ["probability"]);
  const { probability = 0.5 } = options;
  checkNumber(name, "probability", probability, 0, 1);
  return (image, random) => {
    const sizes = sizesOf(name, image);
    if (uniform(random) >= probability) return image;
    const data = image.data.slice();
    mirror(data, sizes);
    return new NdArray(data, image.shape);
  };
}

/** Options of {@link randomRotate}. */
export interface RandomRotateOptions {
  /** Greatest angle either way. Default 10. */
  degrees?: number;
  /** Value of what comes in at the edges. Default 0. */
  fill?: number;
}

/**
 * Turns the image around its centre by an angle of up to `degrees`, counter-clockwise where it is positive. Pixels are
 * mixed from the four they fall between; in integers they are rounded.
 */
export function randomRotate(options: RandomRotateOptions = {}): ImageTransform {
  checkOptions("randomRotate", options, ["degrees", "fill"]);
  const { degrees = 10, fill = 0 } = options;
  checkNumber("randomRotate", "degrees", degrees, 0, 180);
  checkNumber("randomRotate", "fill", fill);
  return (image, random) => rotate(image, (2 * uniform(random) - 1) * degrees, fill);
}

/** Normalises pixels, `(x - mean) / std`, with one number for all channels or one for each. The result is `f32`. */
export function normalize(normalization: Normalization): ImageTransform {
  const [means, stds] = checkNormalization(normalization);
  return (image) => {
    const [channels, height, width] = sizesOf("normalize", image);
    if (means.length !== 1 && means.length !== channels)
      throw new DataError(`normalize: there are ${means.length} means for ${channels} channels.`);
    const plane = height * width;
    const data = Float32Array.from(image.data, (value, i) => {
      const channel = means.length === 1 ? 0 : Math.floor(i / plane);
      return (value - (means[channel] as number)) / (stds[channel] as number);
    });
    return new NdArray(data, image.shape);
  };
}

/** A part of an image that may reach over its edges. */
function cut(
  image: NdArray,
  top: number,
  left: number,
  height: number,
  width: number,
  fill: number,
): NdArray {
  const [channels, fromHeight, fromWidth] = sizesOf("cut", image);
  const { data } = image;
  const values = likeOf(image, channels * height * width).fill(fill);
  const first = Math.max(0, left);
  const last = Math.min(fromWidth, left + width);
  for (let channel = 0; channel < channels; channel++) {
    for (let y = Math.max(0, top); y < Math.min(fromHeight, top + height); y++) {
      const from = (channel * fromHeight + y) * fromWidth;
      const to = (channel * height + y - top) * width;
      if (last > first) values.set(data.subarray(from + first, from + last), to + first - left);
    }
  }
  return new NdArray(values, [channels, height, width]);
}

function rotate(image: NdArray, degrees: number, fill: number): NdArray {
  const [channels, height, width] = sizesOf("randomRotate", image);
  const { data } = image;
  const values = likeOf(image, data.length);
  const rounded = !(data instanceof Float32Array || data instanceof Float64Array);
  const angle = (degrees * Math.PI) / 180;
  const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
  const [centreY, centreX] = [(height - 1) / 2, (width - 1) / 2];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      // Where the pixel comes from: the turn backwards. Rows count downwards.
      const fromX = cos * (x - centreX) - sin * (y - centreY) + centreX;
      const fromY = sin * (x - centreX) + cos * (y - centreY) + centreY;
      const [x0, y0] = [Math.floor(fromX), Math.floor(fromY)];
      const [wx, wy] = [fromX - x0, fromY - y0];
      for (let channel = 0; channel < channels; channel++) {
        const at = (row: number, column: number): number =>
          row < 0 || row >= height || column < 0 || column >= width
            ? fill
            : (data[(channel * height + row) * width + column] as number);
        const upper = at(y0, x0) * (1 - wx) + at(y0, x0 + 1) * wx;
        const lower = at(y0 + 1, x0) * (1 - wx) + at(y0 + 1, x0 + 1) * wx;
        const value = upper * (1 - wy) + lower * wy;
        values[(channel * height + y) * width + x] = rounded ? Math.round(value) : value;
      }
    }
  }
  return new NdArray(values, image.shape);
}

/** A zeroed array of the same kind, of so many elements. */
function likeOf({ data }: NdArray, length: number): NdArray["data"] {
  const kind = data.constructor as new (length: number) => NdArray["data"];
  return new kind(length);
}

/** @throws DataError unless the image is of rank 3. */
function sizesOf(op: string, image: NdArray): readonly [channels: number, height: number, width: number] {
  const [channels, height, width] = image.shape;
  if (image.shape.length !== 3 || channels === undefined || height === undefined || width === undefined) {
    throw new DataError(
      `${op}: expected an image of shape [channels, height, width], got [${image.shape.join(", ")}].`,
    );
  }
  return [channels, height, width];
}
