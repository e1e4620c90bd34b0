import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder that goes with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "nf-io-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A safetensors file of a header as it stands and data bytes. */
export function rawSafetensors(header: string, dataBytes = 0): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** A small llama2.c checkpoint whose values count up from 0, in float32. */
export function llama2cCheckpoint(
  header: readonly [number, number, number, number, number, number, number],
): Uint8Array {
  const [dim, hidden, layers, heads, kvHeads, vocabulary, length] = header;
  const kv = (dim / heads) * kvHeads;
  const table = Math.abs(vocabulary) * dim;
  const layer = 2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * hidden * dim;
  const count = table + layers * layer + dim + (length * dim) / heads + (vocabulary < 0 ? table : 0);
  const bytes = new Uint8Array(28 + 4 * count);
  new Int32Array(bytes.buffer, 0, 7).set(header);
  new Float32Array(bytes.buffer, 28).forEach((_, i, values) => {
    values[i] = i;
  });
  return bytes;
}

/** A llama2.c vocabulary: unknown, beginning, end, the bytes, then these pieces with scores. */
export function llama2cVocabulary(pieces: readonly (readonly [string, number])[]): Uint8Array {
  const text = new TextEncoder();
  const bytePieces = Array.from(
    { length: 256 },
    (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, 0] as const,
  );
  const all = [
    ["<unk>", 0] as const,
    ["\n<s>\n", 0] as const,
    ["\n</s>\n", 0] as const,
    ...bytePieces,
    ...pieces,
  ];
  const encoded = all.map(([piece, score]) => ({ bytes: text.encode(piece), score }));
  const file = new Uint8Array(4 + encoded.reduce((sum, { bytes }) => sum + 8 + bytes.length, 0));
  const view = new DataView(file.buffer);
  view.setInt32(0, Math.max(...encoded.map(({ bytes }) => bytes.length)), true);
  let at = 4;
  for (const { bytes, score } of encoded) {
    view.setFloat32(at, score, true);
    view.setInt32(at + 4, bytes.length, true);
    file.set(bytes, at + 8);
    at += 8 + bytes.length;
  }
  return file;
}
