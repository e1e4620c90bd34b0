import type { FileCollection } from "../files/collection.ts";
import { type CitationGraph, readCora } from "../graphs/cora.ts";
import { checkLoadOptions, findCollection, type LoadOptions } from "./collection.ts";

/** The graph as JSON, which is made from Planetoid's pickled files and published nowhere. */
const CORA: FileCollection & { readonly files: { readonly graph: FileCollection["files"][string] } } = {
  name: "cora",
  title: "Cora",
  mirrors: [],
  files: {
    graph: {
      name: "cora.json.gz",
      bytes: 96675,
      sha256: "22eb829f207caa3f0b0c17f3c0d7a55f0e60671c4db6def1c69f7dfd83118649",
    },
  },
};

/**
 * Cora: 2,708 papers with 1,433 words and seven subjects, 5,278 citations, and Planetoid's split (140, 500, 1,000), from
 * `cora/cora.json.gz` in `folder` (or `NF_DATA_DIR`), else from the cache or from `mirrors` of your own: nobody publishes
 * the file. Planetoid's own files are pickles of Python, for which there is no reader here.
 *
 * @throws DataError (`NF_DATA`) saying where it looked and what to do if it is not there, or is damaged.
 */
export async function cora(options: LoadOptions = {}): Promise<CitationGraph> {
  checkLoadOptions("cora", options);
  const { read, source } = await findCollection("cora", CORA, options);
  return readCora(await read(CORA.files.graph.name), source);
}
