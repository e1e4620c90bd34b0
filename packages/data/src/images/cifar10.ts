import { checkOptions } from "@nf/core";
import { DataError } from "../errors.ts";
import { type ArchiveLimits, readArchive } from "../files/archive.ts";
import type { FileCollection } from "../files/collection.ts";
import { inflate } from "../gunzip.ts";
import { NdArray } from "../ndarray.ts";
import { ImageDataset } from "./dataset.ts";
import type { ReadImagesOptions } from "./read.ts";

/** The ten classes of CIFAR-10 in the order of their labels. */
export const CIFAR10_CLASSES: readonly string[] = [
  ...["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
];

/** Krizhevsky's 60,000 colour pictures of 32 by 32 pixels, as the archive of binary records that he publishes. */
export const CIFAR10: FileCollection & {
  readonly files: { readonly archive: FileCollection["files"][string] };
} = {
  name: "cifar10",
  title: "CIFAR-10",
  mirrors: ["https://www.cs.toronto.edu/~kriz/"],
  files: {
    archive: {
      name: "cifar-10-binary.tar.gz",
      bytes: 170052171,
      sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
  },
};

/** Names of the published files of each part, as they lie in the archive's folder. */
export const CIFAR10_FILES: { readonly train: readonly string[]; readonly test: readonly string[] } = {
  train: [1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`),
  test: ["test_batch.bin"],
};

const PIXELS = 3 * 32 * 32;
const RECORD = 1 + PIXELS;
/** More than two of the published files, which have 30.7 million bytes each. */
const LARGEST_FILE = 64 * 2 ** 20;
/** The published archive has six files of 30.73 million bytes each, and little else. */
const LIMITS: ArchiveLimits = { inflated: 256 * 2 ** 20, file: 32 * 2 ** 20, kept: 192 * 2 ** 20, files: 6 };

/**
 * Makes a dataset of CIFAR-10's binary files, plain or gzipped: records of a label and 3,072 pixels, red, green and blue
 * planes one after the other. In browsers too.
 *
 * Format: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
 *
 * @param split what the dataset's name says, `train` or `test`.
 * @param files one after the other, as their bytes.
 * @throws DataError for a file that does not consist of such records, or is too large.
 */
export async function readCifar10(
  split: string,
  files: readonly Uint8Array[],
  options: ReadImagesOptions = {},
): Promise<ImageDataset> {
  checkOptions("readCifar10", options, ["normalize", "source"]);
  const contents = await Promise.all(
    files.map((bytes, number) => inflate(`CIFAR-10, file ${number + 1} of ${split}`, bytes, LARGEST_FILE)),
  );
  contents.forEach(({ length }, number) => {
    if (length === 0 || length % RECORD !== 0) {
      throw new DataError(
        `CIFAR-10, file ${number + 1} of ${split}: ${length} bytes are no whole number of records of ${RECORD}. The file is ` +
          "truncated, or not of the binary version.",
      );
    }
  });
  const count = contents.reduce((sum, { length }) => sum + length / RECORD, 0);
  const pixels = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  let image = 0;
  for (const bytes of contents) {
    for (let start = 0; start < bytes.length; start += RECORD, image++) {
      labels[image] = bytes[start] as number;
      pixels.set(bytes.subarray(start + 1, start + RECORD), image * PIXELS);
    }
  }
  return new ImageDataset({
    images: new NdArray(pixels, [count, 3, 32, 32]),
    labels,
    classes: CIFAR10_CLASSES,
    name: `cifar10/${split}`,
    source: `${options.source ?? "CIFAR-10"}, ${split} set`,
    normalize: options.normalize,
  });
}

/** The files of the published archive `cifar-10-binary.tar.gz`. @throws DataError if it is damaged or lacks one. */
export async function readCifar10Archive(
  bytes: Uint8Array,
): Promise<{ readonly train: Uint8Array[]; readonly test: Uint8Array[] }> {
  const baseName = (name: string): string => name.slice(name.lastIndexOf("/") + 1);
  const wanted = [...CIFAR10_FILES.train, ...CIFAR10_FILES.test];
  const files = await readArchive("CIFAR-10, cifar-10-binary.tar.gz", bytes, LIMITS, (name) =>
    wanted.includes(baseName(name)),
  );
  const found = new Map([...files].map(([name, contents]) => [baseName(name), contents]));
  const pick = (name: string): Uint8Array => {
    const contents = found.get(name);
    if (contents !== undefined) return contents;
    throw new DataError(`CIFAR-10, cifar-10-binary.tar.gz: it lacks ${name}.`);
  };
  return { train: CIFAR10_FILES.train.map(pick), test: CIFAR10_FILES.test.map(pick) };
}
