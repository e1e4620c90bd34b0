import { LocatedFile } from "../files/located.ts";
import { type FileInput, openSource } from "../files/source.ts";
import type { WeightFile } from "../weight-file.ts";
import { readHeader } from "./header.ts";

/**
 * Opens one safetensors file: a path (Node), bytes or a `Blob`. The header is read and checked whole; tensors are read
 * one by one when asked for. For shards, pass the folder to `openWeights`.
 *
 * @throws WeightFileError if the file breaks a rule of the format.
 */
export async function openSafetensors(input: FileInput): Promise<WeightFile> {
  const source = await openSource(input);
  try {
    const { tensors, metadata } = await readHeader(source);
    return new LocatedFile("safetensors", source, tensors, metadata);
  } catch (error) {
    await source.close();
    throw error;
  }
}
