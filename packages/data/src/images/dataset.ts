import { checkOptions, OptionError } from "@nf/core";
import { checkIndex, type Dataset } from "../dataset.ts";
import { DataError } from "../errors.ts";
import { NdArray } from "../ndarray.ts";
import { checkNormalization, type Normalization } from "./normalization.ts";

/** An image and its class. */
export interface LabelledImage {
  /** Shape [channels, height, width], `f32`. */
  readonly image: NdArray;
  /** Scalar, `i32`. */
  readonly label: NdArray;
}

/** What an {@link ImageDataset} is made of. */
export interface ImageDatasetInit {
  /** Pixels 0 to 255 of shape [count, channels, height, width]. */
  readonly images: NdArray<Uint8Array>;
  /** Class of each image. */
  readonly labels: Uint8Array;
  /** Names of the classes. */
  readonly classes: readonly string[];
  readonly name: string;
  readonly source: string;
  readonly normalize?: Normalization | undefined;
}

/**
 * Labelled images, held as bytes and turned into `f32` (0 to 1, or normalised) when asked for. Items are
 * {@link LabelledImage}; a batch has `image` of shape [batch, channels, height, width] and `label` of shape [batch].
 */
export class ImageDataset implements Dataset<LabelledImage> {
  readonly length: number;
  readonly name: string;
  /** Where the images come from, and what they must not be used for. */
  readonly source: string;
  readonly classes: readonly string[];
  /** Pixels 0 to 255 of shape [count, channels, height, width]. */
  readonly images: NdArray<Uint8Array>;
  readonly labels: Uint8Array;
  /** The `f32` value of each of the 256 pixel values, for each channel. */
  readonly #levels: readonly Float32Array[];

  /**
   * @throws DataError if images and labels do not fit together.
   * @throws OptionError for a `normalize` without finite mean and positive std, or not one for each channel.
   */
  constructor(init: ImageDatasetInit) {
    checkOptions("ImageDataset", init, ["images", "labels", "classes", "name", "source", "normalize"]);
    const { images, labels, classes, name, source, normalize } = init;
    const [count] = images.shape;
    if (images.shape.length !== 4 || count !== labels.length) {
      throw new DataError(
        `${name}: expected images of shape [count, channels, height, width] and as many labels, got images ` +
          `[${images.shape.join(", ")}] and ${labels.length} labels.`,
      );
    }
    const wrong = labels.findIndex((label) => label >= classes.length);
    if (wrong >= 0) {
      throw new DataError(
        `${name}: label ${labels[wrong]} of image ${wrong} is none of the ${classes.length} classes.`,
      );
    }
    this.length = count;
    this.images = images;
    this.labels = labels;
    this.classes = Object.freeze([...classes]);
    this.name = name;
    this.source = source;
    this.#levels = levels(normalize, images.shape[1] ?? 0);
  }

  get(index: number): LabelledImage {
    const { image, label } = this.getBatch([index]);
    return { image: new NdArray(image.data, this.images.shape.slice(1)), label: new NdArray(label.data, []) };
  }

  getBatch(indices: readonly number[]): LabelledImage {
    const [, ...imageShape] = this.images.shape;
    const [channels = 0, height = 0, width = 0] = imageShape;
    const plane = height * width;
    const size = channels * plane;
    const pixels = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    for (let position = 0; position < indices.length; position++) {
      const index = indices[position] as number;
      checkIndex(this.name, index, this.length);
      labels[position] = this.labels[index] as number;
      for (let channel = 0; channel < channels; channel++) {
        const skipped = channel * plane;
        const levels = this.#levels[channel] as Float32Array;
        look(levels, this.images.data, index * size + skipped, pixels, position * size + skipped, plane);
      }
    }
    return {
      image: new NdArray(pixels, [indices.length, ...imageShape]),
      label: new NdArray(labels, [indices.length]),
    };
  }

  /** Number of images of each class. */
  classCounts(): number[] {
    const counts = this.classes.map(() => 0);
    for (const label of this.labels) counts[label] = (counts[label] as number) + 1;
    return counts;
  }
}

/** Writes the levels of `count` bytes. A function of its own: engines keep what it is given in registers. */
function look(
  levels: Float32Array,
  bytes: Uint8Array,
  from: number,
  pixels: Float32Array,
  to: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) pixels[to + i] = levels[bytes[from + i] as number] as number;
}

function levels(normalize: Normalization | undefined, channels: number): Float32Array[] {
  const [means, stds] = checkNormalization(normalize ?? { mean: 0, std: 1 });
  if (means.length !== 1 && means.length !== channels) {
    throw new OptionError(
      `normalize: expected one mean and std, or one for each of the ${channels} channels, got ${means.length}.`,
    );
  }
  return Array.from({ length: channels }, (_, channel) => {
    const mean = means[means.length === 1 ? 0 : channel] as number;
    const std = stds[means.length === 1 ? 0 : channel] as number;
    return Float32Array.from({ length: 256 }, (_, value) => (value / 255 - mean) / std);
  });
}
