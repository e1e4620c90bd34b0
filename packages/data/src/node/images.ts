import { CIFAR10, CIFAR10_FILES, readCifar10, readCifar10Archive } from "../images/cifar10.ts";
import { FASHION_MNIST, type ImageCollection, MNIST } from "../images/collections.ts";
import type { Normalization } from "../images/normalization.ts";
import { type ImageSplits, readImages } from "../images/read.ts";
import { checkLoadOptions, findCollection, type Layout, type LoadOptions } from "./collection.ts";

/** Options of {@link mnist}, {@link fashionMnist} and {@link cifar10}. */
export interface LoadImagesOptions extends LoadOptions {
  /** Normalise pixels; default none, values 0 to 1. MNIST's own: mean 0.1307, std 0.3081. */
  normalize?: Normalization;
}

/**
 * Full MNIST: 60,000 digits to train, 10,000 to test. From `folder` (or `NF_DATA_DIR`), else from the cache, else, with
 * `download: true`, from its mirrors into the cache. Cached files are verified by SHA-256 each time.
 *
 * @throws DataError (`NF_DATA`) saying where it looked and what to do if the files are not there, or are damaged.
 * @throws DownloadError (`NF_DOWNLOAD`) if no mirror delivers them.
 */
export function mnist(options: LoadImagesOptions = {}): Promise<ImageSplits> {
  return load("mnist", MNIST, options);
}

/** Fashion-MNIST: 60,000 pictures of clothes to train, 10,000 to test; options as {@link mnist}. */
export function fashionMnist(options: LoadImagesOptions = {}): Promise<ImageSplits> {
  return load("fashionMnist", FASHION_MNIST, options);
}

/** Loads a collection from a folder, the cache or the network, in this order; see {@link mnist}. */
export function loadImages(
  collection: ImageCollection,
  options: LoadImagesOptions = {},
): Promise<ImageSplits> {
  return load("loadImages", collection, options);
}

/** @param caller what messages about options name. */
async function load(
  caller: string,
  collection: ImageCollection,
  options: LoadImagesOptions,
): Promise<ImageSplits> {
  checkLoadOptions(caller, options, ["normalize"]);
  const { normalize } = options;
  const hint = collection.name === "mnist" ? "embeddedMnist() has 10,000 digits that need neither." : "";
  const { read, source } = await findCollection(caller, collection, options, { hint });
  return readImages(collection, ({ name }) => read(name), { source, ...(normalize && { normalize }) });
}

const inFolder = (folder: string): Layout => ({
  id: folder,
  paths: [...CIFAR10_FILES.train, ...CIFAR10_FILES.test].map((name) => `${folder}/${name}`),
});
/** The first 4,000 and 1,000 records of the published files. */
const EXCERPT: Layout = { id: "excerpt", paths: ["cifar10/train_4000.bin.gz", "cifar10/test_1000.bin.gz"] };

/**
 * CIFAR-10: 50,000 pictures of 32 by 32 pixels in colour to train, 10,000 to test, of ten classes; options as
 * {@link mnist}. A folder may hold `cifar10/cifar-10-binary.tar.gz` as published, its six `.bin` files in `cifar10/`,
 * `cifar10/cifar-10-batches-bin/` or `cifar-10-batches-bin/`, or an excerpt, `cifar10/train_4000.bin.gz` and
 * `cifar10/test_1000.bin.gz`, which the `source` of the datasets then says.
 */
export async function cifar10(options: LoadImagesOptions = {}): Promise<ImageSplits> {
  checkLoadOptions("cifar10", options, ["normalize"]);
  const layouts = [
    ...["cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin"].map(inFolder),
    EXCERPT,
  ];
  const { layout, read, source } = await findCollection("cifar10", CIFAR10, options, { layouts });
  const each = (names: readonly string[]): Promise<Uint8Array[]> =>
    Promise.all(names.map((name) => read(`${layout}/${name}`)));
  const files =
    layout === "published"
      ? await readCifar10Archive(await read(CIFAR10.files.archive.name))
      : layout === EXCERPT.id
        ? { train: [await read(EXCERPT.paths[0] as string)], test: [await read(EXCERPT.paths[1] as string)] }
        : { train: await each(CIFAR10_FILES.train), test: await each(CIFAR10_FILES.test) };
  const more = {
    source: layout === EXCERPT.id ? `${source} (an excerpt)` : source,
    ...(options.normalize && { normalize: options.normalize }),
  };
  return {
    train: await readCifar10("train", files.train, more),
    test: await readCifar10("test", files.test, more),
  };
}
