import { LocatedFile } from "../files/located.ts";
import { type FileInput, openSource } from "../files/source.ts";
import type { WeightFile } from "../weight-file.ts";
import { GGUF_MAGIC, readHeader } from "./header.ts";

/**
 * Opens a GGUF file (version 2 or 3): a path (Node), bytes or a `Blob`. Names, shapes and metadata are the file's own,
 * shapes with the outermost dimension first; `huggingFaceLayout` translates those of Llama and its relatives.
 *
 * @throws WeightFileError if the file is malformed, or holds a type of tensor that is not read here.
 */
export async function openGguf(input: FileInput): Promise<WeightFile> {
  const source = await openSource(input);
  try {
    const { tensors, metadata } = await readHeader(source);
    return new LocatedFile("gguf", source, tensors, metadata);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Whether a file with these first bytes calls itself GGUF. */
export function isGguf(start: Uint8Array): boolean {
  return start.length >= 4 && new DataView(start.buffer, start.byteOffset).getUint32(0, true) === GGUF_MAGIC;
}
