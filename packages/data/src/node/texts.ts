import { OptionError } from "@nf/core";
import { readText } from "../files/text.ts";
import {
  IMDB,
  MULTI30K_PARTS,
  type Multi30kLanguage,
  multi30kCollection,
  SST2,
  TINY_SHAKESPEARE,
} from "../text/collections.ts";
import type { ParallelDataset, TextDataset } from "../text/dataset.ts";
import {
  type Review,
  readImdbArchive,
  readImdbTable,
  readParallel,
  readSst2,
  reviewDataset,
  reviewOf,
} from "../text/read.ts";
import { checkLoadOptions, type Found, findCollection, type Layout, type LoadOptions } from "./collection.ts";

/** A text, and where it is from. */
export interface Corpus {
  readonly name: string;
  readonly source: string;
  readonly text: string;
}

/**
 * tinyshakespeare: 1,115,394 characters of plays, from `folder` (or `NF_DATA_DIR`, `tinyshakespeare/input.txt`), else from
 * the cache, else, with `download: true`, from its home into the cache. Its checksum is compared each time.
 *
 * @throws DataError (`NF_DATA`) saying where it looked and what to do if it is not there, or is another text.
 * @throws DownloadError (`NF_DOWNLOAD`) if no mirror delivers it.
 */
export async function tinyShakespeare(options: LoadOptions = {}): Promise<Corpus> {
  checkLoadOptions("tinyShakespeare", options);
  const { name, files } = TINY_SHAKESPEARE;
  const { read, source } = await findCollection("tinyShakespeare", TINY_SHAKESPEARE, options, {
    verify: true,
  });
  return { name, source, text: await readText(name, await read(files.text.name)) };
}

/** Texts to train on and texts to test with. */
export interface TextSplits {
  readonly train: TextDataset;
  readonly test: TextDataset;
}

const TABLES: Layout = { id: "tables", paths: ["imdb/train.tsv.gz", "imdb/test.tsv.gz"] };
const reviewFolders = (folder: string): Layout => ({
  id: folder,
  paths: ["train/pos", "train/neg", "test/pos", "test/neg"].map((path) => `${folder}/${path}`),
});
/** Files that are read at a time. */
const AT_A_TIME = 64;

/**
 * IMDb: 25,000 reviews of films to train, 25,000 to test, good and bad in equal numbers; options as
 * {@link tinyShakespeare}. A folder may hold `imdb/aclImdb_v1.tar.gz` as published, the same unpacked (`imdb/aclImdb/` or
 * `aclImdb/`), or the tables `imdb/train.tsv.gz` and `imdb/test.tsv.gz`. Where there is none of them, `download: true` fetches the archive, 84 MB.
 */
export async function imdb(options: LoadOptions = {}): Promise<TextSplits> {
  checkLoadOptions("imdb", options);
  const layouts = [TABLES, reviewFolders("imdb/aclImdb"), reviewFolders("aclImdb")];
  const found = await findCollection("imdb", IMDB, options, { layouts });
  if (found.layout === "published")
    return readImdbArchive(await found.read(IMDB.files.archive.name), found.source);
  const part = async (split: string): Promise<TextDataset> =>
    found.layout === TABLES.id
      ? readImdbTable(split, await found.read(`imdb/${split}.tsv.gz`), found.source)
      : reviewDataset(split, await reviewsIn(found, `${found.layout}/${split}`), found.source);
  return { train: await part("train"), test: await part("test") };
}

async function reviewsIn(found: Found, folder: string): Promise<Review[]> {
  const reviews: Review[] = [];
  for (const kind of ["pos", "neg"]) {
    const names = (await found.list(`${folder}/${kind}`)).filter((name) => reviewOf(name) !== undefined);
    for (let start = 0; start < names.length; start += AT_A_TIME) {
      const some = names.slice(start, start + AT_A_TIME).map(async (name): Promise<Review> => {
        const path = `${folder}/${kind}/${name}`;
        const about = reviewOf(name) as { id: number; rating: number };
        return { ...about, text: await readText(`IMDb, ${path}`, await found.read(path)) };
      });
      reviews.push(...(await Promise.all(some)));
    }
  }
  return reviews;
}

/** Sentences to train on, to choose with, and to test with. */
export interface Sst2Splits extends TextSplits {
  readonly validation: TextDataset;
}

/**
 * SST-2: 6,920 sentences of film reviews to train, 872 to validate, 1,821 to test, good or bad; options as
 * {@link tinyShakespeare}. Files: `sst2/train.tsv`, `dev.tsv`, `test.tsv`.
 */
export async function sst2(options: LoadOptions = {}): Promise<Sst2Splits> {
  checkLoadOptions("sst2", options);
  const { read, source } = await findCollection("sst2", SST2, options);
  const part = async (split: "train" | "validation" | "test"): Promise<TextDataset> =>
    readSst2(split, await read(SST2.files[split].name), source);
  return { train: await part("train"), validation: await part("validation"), test: await part("test") };
}

/** Options of {@link multi30k}. */
export interface Multi30kOptions extends LoadOptions {
  /** Languages of sources and targets. Default `["en", "de"]`. */
  languages?: readonly [source: Multi30kLanguage, target: Multi30kLanguage];
}

/** Pairs to train on, to choose with, and to test with. */
export interface ParallelSplits {
  readonly train: ParallelDataset;
  readonly validation: ParallelDataset;
  readonly test: ParallelDataset;
}

/**
 * Multi30k: 29,000 captions of photographs with their translations to train, 1,014 to validate, and the 1,000 of the 2016
 * test set; options as {@link tinyShakespeare}. Files: `multi30k/train.en.gz` and its sisters.
 */
export async function multi30k(options: Multi30kOptions = {}): Promise<ParallelSplits> {
  checkLoadOptions("multi30k", options, ["languages"]);
  const { languages = ["en", "de"] as const } = options;
  const known: readonly string[] = ["en", "de", "fr"];
  const [from, to] = Array.isArray(languages) ? languages : [];
  if (languages.length !== 2 || from === to || !languages.every((one) => known.includes(one))) {
    throw new OptionError(
      `multi30k: languages must be two different ones of ${known.join(", ")}, as in ["en", "de"], got ${JSON.stringify(languages)}.`,
    );
  }
  const { read, source } = await findCollection("multi30k", multi30kCollection(languages), options);
  const part = async (split: keyof typeof MULTI30K_PARTS): Promise<ParallelDataset> =>
    readParallel(
      `multi30k/${split}`,
      await read(`${MULTI30K_PARTS[split]}.${from}.gz`),
      await read(`${MULTI30K_PARTS[split]}.${to}.gz`),
      `${source}, ${split} set`,
    );
  return { train: await part("train"), validation: await part("validation"), test: await part("test") };
}
