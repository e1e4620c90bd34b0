import { DataError } from "../errors.ts";
import { type ArchiveLimits, readArchive } from "../files/archive.ts";
import { linesOf, readText } from "../files/text.ts";
import { ParallelDataset, TextDataset } from "./dataset.ts";

/** The two classes of films that were reviewed, in the order of their labels. */
const CLASSES: readonly string[] = ["negative", "positive"];
/**
 * The published archive has 0.3 GB, most of it reviews without a rating. The 50,000 with one have 66 MB, the longest of
 * them 14 kB.
 */
const LIMITS: ArchiveLimits = {
  inflated: 768 * 2 ** 20,
  file: 2 ** 20,
  kept: 128 * 2 ** 20,
  files: 100_000,
};

/** A review of a film, as it is published. */
export interface Review {
  /** Number of the review among those of its class. */
  readonly id: number;
  /** 1 to 4 stars for a bad film, 7 to 10 for a good one. */
  readonly rating: number;
  readonly text: string;
}

/**
 * Makes a dataset of reviews: class 1 from seven stars up. They are ordered by their number, the good ones first, and
 * line breaks and tabs in them are blanks, whichever layout they come from.
 *
 * @throws DataError for a rating that does not occur.
 */
export function reviewDataset(split: string, reviews: readonly Review[], source: string): TextDataset {
  const wrong = reviews.find(({ rating }) => !(rating >= 1 && rating <= 10) || rating === 5 || rating === 6);
  if (wrong !== undefined) {
    throw new DataError(
      `IMDb, ${split}: review ${wrong.id} has the rating ${wrong.rating}; there are 1 to 4 and 7 to 10 alone.`,
    );
  }
  const ordered = reviews.toSorted((a, b) => a.id - b.id || b.rating - a.rating);
  return new TextDataset({
    texts: ordered.map(({ text }) => text.replace(/[\t\r\n]/g, " ")),
    labels: Uint8Array.from(ordered, ({ rating }) => (rating >= 7 ? 1 : 0)),
    classes: CLASSES,
    name: `imdb/${split}`,
    source: `${source}, ${split} set`,
  });
}

/**
 * Reads IMDb reviews as a table with tabs: a line of headings, then id, label (1 good, 0 bad), rating and text. Plain or
 * gzipped; in browsers too.
 *
 * @throws DataError naming the line that is malformed.
 */
export async function readImdbTable(split: string, bytes: Uint8Array, source = "IMDb"): Promise<TextDataset> {
  const what = `IMDb, ${split}`;
  const [head, ...lines] = linesOf(await readText(what, bytes));
  if (head !== "id\tlabel\trating\ttext") {
    throw new DataError(
      `${what}: line 1 is ${show(head ?? "")}, expected the headings id, label, rating and text with tabs between.`,
    );
  }
  const reviews = lines.map((line, number): Review => {
    const [id = "", label = "", rating = "", text, ...rest] = line.split("\t");
    const stars = Number(rating);
    const fits = label === (stars >= 7 ? "1" : "0");
    if (!/^\d+$/.test(id) || !/^\d+$/.test(rating) || !fits || text === undefined || rest.length > 0) {
      throw new DataError(
        `${what}: line ${number + 2} is ${show(line)}, expected id, label, rating and text with tabs between, and label 1 from ` +
          "rating 7 up.",
      );
    }
    return { id: Number(id), rating: stars, text };
  });
  return reviewDataset(split, reviews, source);
}

/** Number and rating of a review by the name of its file, `<id>_<rating>.txt`; undefined for another file. */
export function reviewOf(name: string): { readonly id: number; readonly rating: number } | undefined {
  const match = /(?:^|\/)(\d+)_(\d+)\.txt$/.exec(name);
  return match === null ? undefined : { id: Number(match[1]), rating: Number(match[2]) };
}

/** Both parts of the published archive `aclImdb_v1.tar.gz`. @throws DataError if it is damaged or lacks one. */
export async function readImdbArchive(
  bytes: Uint8Array,
  source = "IMDb",
): Promise<{ readonly train: TextDataset; readonly test: TextDataset }> {
  const what = "IMDb, aclImdb_v1.tar.gz";
  const files = await readArchive(what, bytes, LIMITS, (name) =>
    /(?:^|\/)(?:train|test)\/(?:pos|neg)\/\d+_\d+\.txt$/.test(name),
  );
  const part = async (split: "train" | "test"): Promise<TextDataset> => {
    const reviews: Review[] = [];
    for (const [name, contents] of files) {
      const about = name.includes(`${split}/`) ? reviewOf(name) : undefined;
      if (about !== undefined) reviews.push({ ...about, text: await readText(`${what}: ${name}`, contents) });
    }
    if (reviews.length === 0)
      throw new DataError(`${what}: it has no reviews in ${split}/pos and ${split}/neg.`);
    return reviewDataset(split, reviews, source);
  };
  return { train: await part("train"), test: await part("test") };
}

/**
 * Reads SST-2 sentences as a table with tabs: sentence and label (1 good, 0 bad), without headings. Plain or gzipped; in
 * browsers too.
 *
 * @throws DataError naming the line that is malformed.
 */
export async function readSst2(split: string, bytes: Uint8Array, source = "SST-2"): Promise<TextDataset> {
  const what = `SST-2, ${split}`;
  const lines = linesOf(await readText(what, bytes));
  const labels = new Uint8Array(lines.length);
  const texts = lines.map((line, number) => {
    const [text = "", label, ...rest] = line.split("\t");
    if ((label !== "0" && label !== "1") || text === "" || rest.length > 0) {
      throw new DataError(
        `${what}: line ${number + 1} is ${show(line)}, expected a sentence, a tab, and 0 or 1.`,
      );
    }
    labels[number] = Number(label);
    return text;
  });
  return new TextDataset({
    texts,
    labels,
    classes: CLASSES,
    name: `sst2/${split}`,
    source: `${source}, ${split} set`,
  });
}

/**
 * Reads sentences in two languages, one a line in each file. Plain or gzipped; in browsers too.
 *
 * @throws DataError if a file is damaged, or they have different numbers of lines.
 */
export async function readParallel(
  name: string,
  sources: Uint8Array,
  targets: Uint8Array,
  source: string = name,
): Promise<ParallelDataset> {
  const [left, right] = await Promise.all([
    readText(`${name}, sources`, sources),
    readText(`${name}, targets`, targets),
  ]);
  return new ParallelDataset({ sources: linesOf(left), targets: linesOf(right), name, source });
}

function show(line: string): string {
  return JSON.stringify(line.length > 80 ? `${line.slice(0, 80)}…` : line);
}
