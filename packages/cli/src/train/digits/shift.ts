import { threefry2x32 } from "@nf/core";
import { type Dataset, type LabelledImage, NdArray } from "@nf/data";

/** Sets these draws apart from other uses of the same seed. */
const SHIFT_KEY = 0x73686966;
/** Shifts in each direction: one pixel back, none, one pixel on. */
const STEPS = 3;

/** What {@link ShiftedImages} needs of a dataset: items, and batches as they are stacked. */
export interface ImageSource extends Dataset<LabelledImage> {
  getBatch(indices: readonly number[]): LabelledImage;
}

/**
 * Images of a dataset, each moved by up to one pixel in both directions: another way in every epoch, the same for the
 * same seed, epoch and image on every machine. A net that has seen digits off their centre reads unseen ones better.
 */
export class ShiftedImages implements Dataset<LabelledImage> {
  readonly length: number;
  /** Set before the epoch's first batch is asked for. */
  epoch = 0;
  readonly #images: ImageSource;
  readonly #seed: number;
  readonly #background: number;

  /** @param background value of a pixel without ink, which comes in at the edges */
  constructor(images: ImageSource, seed: number, background: number) {
    this.length = images.length;
    this.#images = images;
    this.#seed = seed;
    this.#background = background;
  }

  get(index: number): LabelledImage {
    const { image, label } = this.getBatch([index]);
    return { image: new NdArray(image.data, image.shape.slice(1)), label: new NdArray(label.data, []) };
  }

  getBatch(indices: readonly number[]): LabelledImage {
    const { image, label } = this.#images.getBatch(indices);
    const [batch = 0, , height = 0, width = 0] = image.shape;
    const { data } = image;
    const moved = new Float32Array(data.length).fill(this.#background);
    const planes = data.length / (height * width);
    for (let plane = 0; plane < planes; plane++) {
      const index = indices[Math.floor((plane * batch) / planes)] ?? 0;
      const [word] = threefry2x32(this.#seed, SHIFT_KEY, this.epoch, index);
      const [dy, dx] = [(Math.floor(word / STEPS) % STEPS) - 1, (word % STEPS) - 1];
      const start = plane * height * width;
      const end = start + height * width;
      // All rows at once; what came round the edges is painted over.
      const by = dy * width + dx;
      if (Math.abs(by) < end - start)
        moved.set(data.subarray(start + Math.max(0, -by), end - Math.max(0, by)), start + Math.max(0, by));
      if (dy !== 0) {
        const row = dy > 0 ? start : end - width;
        moved.fill(this.#background, row, row + width);
      }
      if (dx !== 0)
        for (let i = dx > 0 ? start : start + width - 1; i < end; i += width) moved[i] = this.#background;
    }
    return { image: new NdArray(moved, image.shape), label };
  }
}
