import { WeightFileError } from "../errors.ts";
import { joinPath } from "../files/file-system.ts";
import { isJsonObject } from "../files/json.ts";
import { readJson } from "../files/read-json.ts";
import { type StoredTensor, storedTensor, type WeightFile } from "../weight-file.ts";
import { openSafetensors } from "./safetensors.ts";

/** Name of the file that says which shard holds a tensor. */
export const INDEX_NAME = "model.safetensors.index.json";
const MOST_SHARDS = 1024;

/**
 * Opens the shards that an index names as one file.
 *
 * @throws WeightFileError if the index names a file outside the folder, a shard is missing or unsound, or the index and
 * the shards do not hold the same tensors.
 */
export async function openShards(folder: string, indexName: string = INDEX_NAME): Promise<WeightFile> {
  const path = joinPath(folder, indexName);
  const index = await readJson(path);
  const places = isJsonObject(index) ? index.get("weight_map") : undefined;
  if (!isJsonObject(places)) throw new WeightFileError(`${path}: has no object weight_map.`);
  const names = new Set<string>();
  for (const [tensor, shard] of places) names.add(checkShard(path, tensor, shard));
  if (names.size > MOST_SHARDS)
    throw new WeightFileError(`${path}: names ${names.size} files, more than ${MOST_SHARDS}.`);

  const shards = new Map<string, WeightFile>();
  const closeAll = async (): Promise<void> => {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
  };
  try {
    for (const name of names) shards.set(name, await openSafetensors(joinPath(folder, name)));
    return joinShards(folder, shards, places as ReadonlyMap<string, string>, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** A shard is a file of the same folder, whatever the index would like. */
function checkShard(path: string, tensor: string, shard: unknown): string {
  if (typeof shard === "string" && /^[\w][\w.+-]*\.safetensors$/.test(shard)) return shard;
  throw new WeightFileError(
    `${path}: places ${JSON.stringify(tensor)} in ${JSON.stringify(shard)}; expected the name of a .safetensors file in the same folder.`,
  );
}

function joinShards(
  folder: string,
  shards: ReadonlyMap<string, WeightFile>,
  places: ReadonlyMap<string, string>,
  close: () => Promise<void>,
): WeightFile {
  const tensors = new Map<string, StoredTensor>();
  const absent: string[] = [];
  for (const [name, shard] of places) {
    const found = shards.get(shard)?.tensors.get(name);
    if (found === undefined) absent.push(`${name} (${shard})`);
    else tensors.set(name, found);
  }
  const unlisted = [...shards].flatMap(([shard, file]) =>
    [...file.tensors.keys()].filter((name) => places.get(name) !== shard).map((name) => `${name} (${shard})`),
  );
  if (absent.length + unlisted.length > 0) {
    throw new WeightFileError(
      `${folder}: the index and the shards do not agree. In the index only: ${absent.join(", ") || "none"}. ` +
        `In the shards only: ${unlisted.join(", ") || "none"}. Fetch the folder again.`,
    );
  }
  const metadata = new Map([...shards.values()].flatMap((shard) => [...shard.metadata]));
  const file: WeightFile = {
    format: "safetensors",
    name: folder,
    tensors,
    metadata,
    config: undefined,
    async read(name) {
      storedTensor(file, name);
      return (shards.get(places.get(name) as string) as WeightFile).read(name);
    },
    close,
  };
  return file;
}
