import {
  DataError,
  type Dataset,
  embeddedMnist,
  type ImageDataset,
  type Normalization,
  subset,
} from "@nf/data";
import { type DownloadProgress, type LoadOptions, mnist } from "@nf/data/node";
import { Option } from "commander";
import { wholeNumber } from "./values.ts";

/** Mean and spread of MNIST's training pixels. */
export const MNIST_PIXELS: Normalization = { mean: 0.1307, std: 0.3081 };

/** What {@link digits} gives. */
export interface Digits {
  readonly train: ImageDataset;
  readonly test: ImageDataset;
  /** `mnist` with 60,000 and 10,000 images, `embedded` with 8,000 and 2,000. */
  readonly data: "mnist" | "embedded";
}

/** Options of {@link digits}. */
export interface DigitsOptions {
  /** Whether the network may be used. */
  readonly download: boolean;
  /** Default {@link MNIST_PIXELS}; null for pixels from 0 to 1, black being 0. */
  readonly normalize?: Normalization | null;
}

/** The option `--download`. */
export function downloadOption(what: string): Option {
  return new Option("--download", `fetch ${what} if it is not on this machine, and keep it`).default(
    false,
    "nothing uses the network",
  );
}

/** The option `--limit`. */
export function limitOption(): Option {
  return new Option("--limit <n>", "train and test on the first so many images only").argParser(
    wholeNumber(1, 1_000_000),
  );
}

/** The first items of a dataset, all of them without a limit. */
export function first<Item>(dataset: Dataset<Item>, limit: number | undefined): Dataset<Item> {
  if (limit === undefined || limit >= dataset.length) return dataset;
  return subset(
    dataset,
    Array.from({ length: limit }, (_, i) => i),
  );
}

/** What a loader of `@nf/data` needs of the command that it works for. */
export interface Caller {
  /** Tells a line of progress. */
  note(line: string): void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Options of a loader of `@nf/data`: a download that was asked for tells how far it is, and ends with Ctrl-C. */
export function loading(
  download: boolean,
  { note, signal }: Caller,
): Required<Pick<LoadOptions, "download" | "signal" | "onProgress">> {
  return { download, signal, onProgress: downloadNotes(note) };
}

/** Tells of each tenth of a file, or of each ten megabytes where nobody knows how many there are. */
function downloadNotes(note: (line: string) => void): (progress: DownloadProgress) => void {
  const told = new Map<string, number>();
  return ({ url, received, total }) => {
    const part = Math.floor(total === undefined ? received / 1e7 : (10 * received) / Math.max(total, 1));
    if (part <= (told.get(url) ?? -1)) return;
    told.set(url, part);
    const megabytes = (bytes: number): string => `${Number((bytes / 1e6).toPrecision(2))} MB`;
    note(
      `downloading ${url}: ${total === undefined ? megabytes(received) : `${10 * part} % of ${megabytes(total)}`}`,
    );
  };
}

/**
 * What a loader of `@nf/data` gives.
 *
 * @throws DataError where the data are not on this machine, naming this command's way to fetch them
 */
export async function fetched<Data>(loading: Promise<Data>): Promise<Data> {
  try {
    return await loading;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    throw new DataError(error.message.replace("the option download: true", "--download"), { cause: error });
  }
}

/**
 * Full MNIST: of the folder that `NF_DATA_DIR` names, the cache, or with `download` the network. Without any of them the
 * 10,000 digits that come with `@nf/data`, which is told.
 *
 * @throws DataError where `NF_DATA_DIR` is set and MNIST is neither there nor in the cache
 */
export async function digits(
  { download, normalize = MNIST_PIXELS }: DigitsOptions,
  caller: Caller,
): Promise<Digits> {
  const pixels = normalize === null ? {} : { normalize };
  try {
    return { ...(await fetched(mnist({ ...loading(download, caller), ...pixels }))), data: "mnist" };
  } catch (error) {
    if (!(error instanceof DataError) || download || process.env["NF_DATA_DIR"]) throw error;
    caller.note(
      "Full MNIST is not on this machine: this run uses 10,000 of its images, 8,000 to train and 2,000 to test, and comes to " +
        "other figures than the README tells. --download fetches the 70,000 (12 MB); NF_DATA_DIR names a folder that has them.",
    );
    return { ...(await embeddedMnist(pixels)), data: "embedded" };
  }
}
