/** The library's byte pair encoder, as far as it is looked at. */
interface Bpe {
  bpe(word: string): string[];
  readonly merges: unknown;
  readonly unk_token?: unknown;
  readonly byte_fallback: boolean;
  readonly tokens_to_ids: ReadonlyMap<string, number>;
}

/**
 * Makes a byte pair encoder without a token for the unknown refuse a part that it has no token for, and whose bytes have
 * none. The library leaves such parts out, so that a model would be given another text than was written.
 */
export function refuseUnknownParts(model: unknown): void {
  if (!isBpe(model) || (model.unk_token !== undefined && model.unk_token !== null)) return;
  const { byte_fallback: byBytes, tokens_to_ids: ids } = model;
  const bytes = new TextEncoder();
  const hasBytes = (part: string): boolean =>
    Array.from(bytes.encode(part)).every((byte) =>
      ids.has(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
    );
  const merge = model.bpe.bind(model);
  model.bpe = (word) => {
    const parts = merge(word);
    const unknown = parts.find((part) => !ids.has(part) && !(byBytes && hasBytes(part)));
    if (unknown === undefined) return parts;
    throw new Error(
      `the vocabulary lacks ${JSON.stringify(unknown)}, and it has no token for the unknown. Leave it out of the text`,
    );
  };
}

function isBpe(model: unknown): model is Bpe {
  const { bpe, merges, tokens_to_ids } = (model ?? {}) as Partial<Bpe>;
  return typeof bpe === "function" && Array.isArray(merges) && tokens_to_ids instanceof Map;
}
