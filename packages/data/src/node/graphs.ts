import { type CitationGraph, readCora } from "../graphs/cora.ts";
import { CORA, type PlanetoidFiles, readPlanetoid } from "../graphs/planetoid.ts";
import { checkLoadOptions, findCollection, type LoadOptions } from "./collection.ts";

const JSON_FILE = "cora/cora.json.gz";

/**
 * Cora: 2,708 papers with 1,433 words and seven subjects, 5,278 citations, and Planetoid's split (140, 500, 1,000), from
 * Planetoid's files `cora/ind.cora.x` and its seven sisters, or `cora/cora.json.gz`, in `folder` (or `NF_DATA_DIR`), else from the
 * cache. `download: true` fetches Planetoid's files, 0.57 MB.
 *
 * @throws DataError (`NF_DATA`) saying where it looked and what to do if it is not there, or is damaged.
 */
export async function cora(options: LoadOptions = {}): Promise<CitationGraph> {
  checkLoadOptions("cora", options);
  const layouts = [{ id: "json", paths: [JSON_FILE] }];
  const { layout, read, source } = await findCollection("cora", CORA, options, { layouts });
  if (layout === "json") return readCora(await read(JSON_FILE), source);
  const part = (name: keyof PlanetoidFiles<unknown>): Promise<Uint8Array> => read(CORA.files[name].name);
  const [x, y, tx, ty] = await Promise.all([part("x"), part("y"), part("tx"), part("ty")]);
  const [allx, ally, graph, testIndex] = await Promise.all([
    ...([part("allx"), part("ally")] as const),
    ...([part("graph"), part("testIndex")] as const),
  ]);
  return readPlanetoid({ x, y, tx, ty, allx, ally, graph, testIndex }, source);
}
