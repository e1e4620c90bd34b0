import { TokenizerError } from "../errors.ts";
import type { ByteSource } from "../files/source.ts";
import { BLANK, pieceTokenizer } from "./sentencepiece.ts";
import { Tokenizer } from "./tokenizer.ts";

/** Largest vocabulary file; that of 32,000 pieces has 434 kB. */
const LARGEST = 32_000_000;
const BOS = 1;
const EOS = 2;
/** Ids before the pieces for the 256 bytes: unknown, beginning, end. */
const SPECIAL = 3;

/**
 * The tokenizer in a llama2.c `tokenizer.bin`: the greatest length as i32, then for each id its score (f32), its length
 * (i32) and its UTF-8 bytes.
 *
 * @throws TokenizerError if lengths do not fit the file.
 */
export async function llama2cTokenizer(source: ByteSource): Promise<Tokenizer> {
  const { name, size } = source;
  const vocabulary = size > LARGEST ? undefined : parseVocabulary(await source.read(0, size));
  if (vocabulary === undefined) {
    throw new TokenizerError(
      `${name}: is no llama2.c tokenizer, or is truncated: its lengths do not fit its ${size} bytes.`,
    );
  }
  const tokenizer = pieceTokenizer({
    name,
    ...vocabulary,
    unknownId: 0,
    controlIds: [0, BOS, EOS],
    addPrefix: true,
    before: [BOS],
    after: [],
  });
  return new Tokenizer({ name, tokenizer, bosId: BOS, eosId: EOS });
}

/** Whether a file is a llama2.c vocabulary. */
export async function isLlama2cVocabulary(source: ByteSource): Promise<boolean> {
  return source.size <= LARGEST && parseVocabulary(await source.read(0, source.size)) !== undefined;
}

function parseVocabulary(bytes: Uint8Array): { pieces: string[]; scores: number[] } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = new TextDecoder("utf-8", { ignoreBOM: true });
  const pieces: string[] = [];
  const scores: number[] = [];
  if (bytes.length < 4) return undefined;
  const longest = view.getInt32(0, true);
  for (let at = 4; at < bytes.length; ) {
    if (at + 8 > bytes.length) return undefined;
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    at += 8;
    if (length < 0 || length > longest || at + length > bytes.length || Number.isNaN(score)) return undefined;
    scores.push(score);
    pieces.push(text.decode(bytes.subarray(at, at + length)).replaceAll(" ", BLANK));
    at += length;
  }
  if (pieces.length < SPECIAL + 256) return undefined;
  // The format writes them with line breaks around; tokenizer.json does not.
  pieces[0] = "<unk>";
  pieces[BOS] = "<s>";
  pieces[EOS] = "</s>";
  return { pieces, scores };
}
