import { TokenizerError } from "../errors.ts";
import { joinPath, namesIn } from "../files/file-system.ts";
import { type ByteSource, type FileInput, openSource } from "../files/source.ts";
import { isGguf, openGguf } from "../gguf/gguf.ts";
import { ggufTokenizer } from "./gguf.ts";
import { jsonTokenizer, readFields, type TokenizerNeighbours } from "./json.ts";
import { isLlama2cVocabulary, llama2cTokenizer } from "./llama2c.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Loads a tokenizer: a folder in Hugging Face's layout (`tokenizer.json`, with `tokenizer_config.json`, `config.json`
 * and `chat_template.jinja` where there are), a `tokenizer.json` alone, a GGUF file, a llama2.c `tokenizer.bin`, or a
 * folder with one GGUF or llama2.c file. A file is told by its bytes, not by its name.
 *
 * @throws TokenizerError if there is none, or it is malformed or of a kind that is not read here.
 */
export async function loadTokenizer(input: FileInput): Promise<Tokenizer> {
  const names = typeof input === "string" ? await namesIn(input) : undefined;
  return names === undefined ? loadFile(input, {}) : loadFolder(input as string, names);
}

async function loadFile(input: FileInput, beside: TokenizerNeighbours): Promise<Tokenizer> {
  return withSource(input, async (source) => {
    const start = await source.read(0, Math.min(64, source.size));
    if (isGguf(start)) return fromGguf(input);
    if (/^\s*\{/.test(new TextDecoder().decode(start)))
      return jsonTokenizer(source.name, await readFields(source), beside);
    return llama2cTokenizer(source);
  });
}

async function withSource<T>(input: FileInput, use: (source: ByteSource) => Promise<T>): Promise<T> {
  const source = await openSource(input);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

async function fromGguf(input: FileInput): Promise<Tokenizer> {
  const file = await openGguf(input);
  await file.close();
  return ggufTokenizer(file);
}

async function loadFolder(folder: string, names: readonly string[]): Promise<Tokenizer> {
  const pathOf = (name: string): string => joinPath(folder, name);
  if (names.includes("tokenizer.json")) {
    const fields = (name: string): Promise<Readonly<Record<string, unknown>>> | undefined =>
      names.includes(name) ? withSource(pathOf(name), readFields) : undefined;
    const chatTemplate = names.includes("chat_template.jinja")
      ? await withSource(pathOf("chat_template.jinja"), readTemplate)
      : undefined;
    return loadFile(pathOf("tokenizer.json"), {
      tokenizerConfig: await fields("tokenizer_config.json"),
      config: await fields("config.json"),
      chatTemplate,
    });
  }
  const fitting = names.filter((name) => name.endsWith(".gguf"));
  for (const name of fitting.length === 0 ? names.filter((one) => one.endsWith(".bin")) : []) {
    if (await withSource(pathOf(name), isLlama2cVocabulary)) fitting.push(name);
  }
  if (fitting.length > 1)
    throw new TokenizerError(
      `${folder}: holds ${fitting.join(", ")}. Pass the path of the one that is meant.`,
    );
  if (fitting[0] !== undefined) return loadFile(pathOf(fitting[0]), {});
  throw new TokenizerError(
    `${folder}: holds no tokenizer. Expected tokenizer.json, or one .gguf or llama2.c tokenizer .bin file.`,
  );
}

/** Largest chat template; published ones have up to 20 kB. */
const LARGEST_TEMPLATE = 4_000_000;

async function readTemplate(source: ByteSource): Promise<string> {
  if (source.size > LARGEST_TEMPLATE)
    throw new TokenizerError(
      `${source.name}: ${source.size} bytes are more than the ${LARGEST_TEMPLATE} a template may have.`,
    );
  return new TextDecoder().decode(await source.read(0, source.size));
}
