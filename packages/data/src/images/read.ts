import { checkOptions } from "@nf/core";
import { DataError, reasonOf } from "../errors.ts";
import type { RemoteFile } from "../files/collection.ts";
import { readIdx } from "../idx.ts";
import { NdArray } from "../ndarray.ts";
import type { ImageCollection } from "./collections.ts";
import { ImageDataset } from "./dataset.ts";
import type { Normalization } from "./normalization.ts";

/** The two parts of a collection of images. */
export interface ImageSplits {
  readonly train: ImageDataset;
  readonly test: ImageDataset;
}

/** Options of {@link readImages}. */
export interface ReadImagesOptions {
  /** Normalise pixels; default none, values 0 to 1. */
  normalize?: Normalization;
  /** What the datasets' `source` says. Default the collection's title. */
  source?: string;
}

/**
 * Makes datasets of a collection's four IDX files, wherever they come from: in a browser, `read` fetches them from
 * your own server. Nothing is verified but that the files are whole and fit together.
 *
 * @param read gives the bytes of one file, plain or gzipped.
 * @throws DataError naming the file that is damaged or does not fit.
 */
export async function readImages(
  collection: ImageCollection,
  read: (file: RemoteFile) => Promise<Uint8Array>,
  options: ReadImagesOptions = {},
): Promise<ImageSplits> {
  checkOptions("readImages", options, ["normalize", "source"]);
  const { files, classes, name, title } = collection;
  const part = async (split: string, images: RemoteFile, labels: RemoteFile): Promise<ImageDataset> => {
    const pixels = await bytesOf(collection, images, read, 3);
    const { data } = await bytesOf(collection, labels, read, 1);
    const [count = 0, height = 0, width = 0] = pixels.shape;
    return new ImageDataset({
      images: new NdArray(pixels.data, [count, 1, height, width]),
      labels: data,
      classes,
      name: `${name}/${split}`,
      source: `${options.source ?? title}, ${split} set`,
      normalize: options.normalize,
    });
  };
  return {
    train: await part("train", files.trainImages, files.trainLabels),
    test: await part("test", files.testImages, files.testLabels),
  };
}

async function bytesOf(
  collection: ImageCollection,
  file: RemoteFile,
  read: (file: RemoteFile) => Promise<Uint8Array>,
  rank: number,
): Promise<NdArray<Uint8Array>> {
  const bytes = await read(file);
  let array: NdArray;
  try {
    array = await readIdx(bytes);
  } catch (error) {
    throw new DataError(`${collection.title}, ${file.name}: ${reasonOf(error)}`, { cause: error });
  }
  const { data, shape } = array;
  if (!(data instanceof Uint8Array) || shape.length !== rank) {
    throw new DataError(
      `${collection.title}, ${file.name}: expected bytes of rank ${rank}, got ${data.constructor.name} of shape [${shape.join(", ")}].`,
    );
  }
  return new NdArray(data, shape);
}
