import { WeightFileError } from "./errors.ts";
import { joinPath, namesIn } from "./files/file-system.ts";
import { isJsonObject, plainJson } from "./files/json.ts";
import { readJson } from "./files/read-json.ts";
import { type FileInput, openSource } from "./files/source.ts";
import { isGguf, openGguf } from "./gguf/gguf.ts";
import { llama2cKind, openLlama2c } from "./llama2c/llama2c.ts";
import { openSafetensors } from "./safetensors/safetensors.ts";
import { INDEX_NAME, openShards } from "./safetensors/shards.ts";
import type { WeightFile } from "./weight-file.ts";

/**
 * Opens weights of any kind: a safetensors, GGUF or llama2.c file (told by its bytes, not by its name), or a folder that
 * holds `model.safetensors`, shards with their index, or exactly one file of the others. `config.json` of a folder
 * becomes `config`, `generation_config.json` `generationConfig`.
 *
 * @throws WeightFileError if nothing is recognised, or more than one file could be meant.
 */
export async function openWeights(input: FileInput): Promise<WeightFile> {
  const names = typeof input === "string" ? await namesIn(input) : undefined;
  return names === undefined ? openFile(input) : openFolder(input as string, names);
}

async function openFile(input: FileInput): Promise<WeightFile> {
  const source = await openSource(input);
  let kind: ((input: FileInput) => Promise<WeightFile>) | undefined;
  try {
    const start = await source.read(0, Math.min(28, source.size));
    // The header of safetensors is an object, 8 bytes from the start; some writers put blanks before it.
    if (isGguf(start)) kind = openGguf;
    else if (llama2cKind(source, start) !== undefined) kind = openLlama2c;
    else if (start[8] === 0x7b || start[8] === 0x20) kind = openSafetensors;
  } finally {
    await source.close();
  }
  if (kind !== undefined) return kind(input);
  throw new WeightFileError(`${source.name}: is no safetensors, GGUF or llama2.c file.`);
}

async function openFolder(folder: string, names: readonly string[]): Promise<WeightFile> {
  const file = await openIn(folder, names);
  const close = (): Promise<void> => file.close();
  try {
    const config = await objectIn(folder, names, "config.json");
    const generationConfig = await objectIn(folder, names, "generation_config.json");
    return {
      format: file.format,
      name: file.name,
      tensors: file.tensors,
      metadata: file.metadata,
      config: config ?? file.config,
      ...(generationConfig !== undefined && { generationConfig }),
      read: (name) => file.read(name),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The object in a JSON file of a folder; undefined if there is no such file. */
async function objectIn(
  folder: string,
  names: readonly string[],
  name: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (!names.includes(name)) return undefined;
  const fields = await readJson(joinPath(folder, name));
  if (!isJsonObject(fields)) throw new WeightFileError(`${folder}: ${name} holds no object.`);
  return plainJson(fields) as Record<string, unknown>;
}

async function openIn(folder: string, names: readonly string[]): Promise<WeightFile> {
  if (names.includes(INDEX_NAME)) return openShards(folder);
  if (names.includes("model.safetensors")) return openSafetensors(joinPath(folder, "model.safetensors"));
  for (const ending of [".safetensors", ".gguf"]) {
    const path = onlyOne(
      folder,
      names.filter((name) => name.endsWith(ending)),
    );
    if (path !== undefined) return openFile(path);
  }
  // A folder of llama2.c also holds the vocabulary under this ending. One that is refused is opened to say why.
  const found = new Map<string, string[]>();
  for (const name of names.filter((one) => one.endsWith(".bin"))) {
    const kind = await checkpointKind(joinPath(folder, name));
    if (kind !== undefined) found.set(kind, [...(found.get(kind) ?? []), name]);
  }
  const path = onlyOne(folder, found.get("whole") ?? found.get("refused") ?? []);
  if (path !== undefined) return openFile(path);
  throw new WeightFileError(
    `${folder}: holds no weights. Expected model.safetensors, ${INDEX_NAME} with its shards, or one .safetensors, .gguf or llama2.c .bin file.`,
  );
}

/** @throws WeightFileError if there is more than one. */
function onlyOne(folder: string, names: readonly string[]): string | undefined {
  if (names.length > 1)
    throw new WeightFileError(
      `${folder}: holds ${names.join(", ")}. Pass the path of the one that is meant.`,
    );
  return names[0] === undefined ? undefined : joinPath(folder, names[0]);
}

async function checkpointKind(path: string): Promise<"whole" | "refused" | undefined> {
  const source = await openSource(path);
  try {
    return llama2cKind(source, await source.read(0, Math.min(28, source.size)));
  } finally {
    await source.close();
  }
}
