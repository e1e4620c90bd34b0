import { BackendError } from "@nf/core";
import type { ByteSource } from "../files/source.ts";

/** How a checkpoint begins behind the 8 bytes of its header's length: the digest comes first, at a place that never moves. */
const OPENING = '{"__metadata__":{"sha256":"';
/** Where the digest lies in a file. */
export const DIGEST_AT: number = 8 + OPENING.length;
/** What lies there while the digest is computed. */
export const NO_DIGEST: string = "0".repeat(64);

const CHUNK = 2 ** 22;

interface Hash {
  update(bytes: Uint8Array): void;
  digest(): Promise<string>;
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** SHA-256 of bytes that come piece by piece. Browsers have none, so that the pieces are joined there. */
export function sha256(): Hash {
  const crypto = globalThis.process?.getBuiltinModule?.("node:crypto");
  if (crypto !== undefined) {
    const hash = crypto.createHash("sha256");
    return { update: (bytes) => void hash.update(bytes), digest: async () => hash.digest("hex") };
  }
  const pieces: Uint8Array[] = [];
  return {
    update: (bytes) => void pieces.push(bytes.slice()),
    async digest() {
      const subtle = globalThis.crypto?.subtle;
      if (subtle === undefined)
        throw new BackendError(
          "Checkpoints need crypto.subtle, which browsers have on pages from https and localhost only.",
          "NF_UNSUPPORTED",
        );
      const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const piece of pieces) {
        whole.set(piece, at);
        at += piece.length;
      }
      return hex(new Uint8Array(await subtle.digest("SHA-256", whole)));
    },
  };
}

/** What is wrong with a file: nothing, that it does not begin as a checkpoint, or that some bit is another. */
export type Verdict = "sound" | "other" | "damaged";

/**
 * Whether every bit of a file is what was written: the digest is over all bytes, with zeros in its own place.
 */
export async function verify(source: ByteSource): Promise<Verdict> {
  const end = DIGEST_AT + NO_DIGEST.length;
  if (source.size < end) return "other";
  const start = await source.read(0, end);
  const decoder = new TextDecoder();
  if (decoder.decode(start.subarray(8, DIGEST_AT)) !== OPENING) return "other";
  const written = decoder.decode(start.subarray(DIGEST_AT));
  start.set(new TextEncoder().encode(NO_DIGEST), DIGEST_AT);
  const hash = sha256();
  hash.update(start);
  for (let at = end; at < source.size; at += CHUNK)
    hash.update(await source.read(at, Math.min(CHUNK, source.size - at)));
  return (await hash.digest()) === written ? "sound" : "damaged";
}
