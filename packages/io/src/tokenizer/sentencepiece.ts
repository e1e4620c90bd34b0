import { TokenizerError } from "../errors.ts";

/** A vocabulary of SentencePiece: pieces (blanks as ▁) with scores, by id. */
export interface PieceVocabulary {
  readonly name: string;
  readonly pieces: readonly string[];
  /** The higher, the earlier two parts are joined to this piece. */
  readonly scores: ArrayLike<number>;
  readonly unknownId: number;
  /** Ids that text never becomes, and that are left out of decoded text. */
  readonly controlIds: readonly number[];
  /** Ids that stand for themselves wherever a text names them. */
  readonly userIds?: readonly number[];
  /** Whether a blank goes before a text. */
  readonly addPrefix: boolean;
  /** Ids put before and behind a text. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** The blank of SentencePiece. */
export const BLANK = "\u2581";

/**
 * A SentencePiece vocabulary as the contents of a `tokenizer.json`: byte pair encoding whose merges are all the ways to
 * split a piece into two others, in the order of the joined piece's score.
 */
export function pieceTokenizer(vocabulary: PieceVocabulary): Readonly<Record<string, unknown>> {
  const { pieces, controlIds, userIds = [], unknownId, addPrefix } = vocabulary;
  const ids = new Map<string, number>();
  pieces.forEach((piece, id) => {
    if (!ids.has(piece)) ids.set(piece, id);
  });
  return {
    version: "1.0",
    added_tokens: addedTokens(pieces, controlIds, userIds),
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...(addPrefix ? [{ type: "Prepend", prepend: BLANK }] : []),
        { type: "Replace", pattern: { String: " " }, content: BLANK },
      ],
    },
    pre_tokenizer: null,
    post_processor: surround(pieces, vocabulary.before, vocabulary.after),
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: BLANK }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addPrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      unk_token: pieces[unknownId],
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(ids),
      merges: mergesOf(vocabulary, ids),
    },
  };
}

/** Entries for tokens that a text can name: special ones, which decoding leaves out, and others. */
export function addedTokens(
  pieces: readonly string[],
  special: readonly number[],
  others: readonly number[],
): readonly object[] {
  const entry = (id: number, isSpecial: boolean): object => ({
    id,
    content: pieces[id],
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: isSpecial,
  });
  return [...special.map((id) => entry(id, true)), ...others.map((id) => entry(id, false))];
}

/** A post-processor that puts tokens around a text. */
export function surround(
  pieces: readonly string[],
  before: readonly number[],
  after: readonly number[],
): object | null {
  if (before.length + after.length === 0) return null;
  const special = (id: number): object => ({ SpecialToken: { id: pieces[id], type_id: 0 } });
  const around = [...before, ...after];
  const single = [...before.map(special), { Sequence: { id: "A", type_id: 0 } }, ...after.map(special)];
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: Object.fromEntries(
      around.map((id) => [pieces[id], { id: pieces[id], ids: [id], tokens: [pieces[id]] }]),
    ),
  };
}

/** Longest piece that is taken apart: each of its splits is looked up. */
const LONGEST_PIECE = 1024;

function mergesOf(
  { name, pieces, scores }: PieceVocabulary,
  ids: ReadonlyMap<string, number>,
): readonly (readonly [string, string])[] {
  const merges: { readonly score: number; readonly left: number; readonly right: number }[] = [];
  pieces.forEach((piece, id) => {
    if (piece.length > LONGEST_PIECE)
      throw new TokenizerError(
        `${name}: piece ${id} has ${piece.length} characters, more than ${LONGEST_PIECE}.`,
      );
    // A name that is there twice belongs to its first id.
    if (ids.get(piece) !== id) return;
    for (let at = 1; at < piece.length; at++) {
      const left = ids.get(piece.slice(0, at));
      const right = ids.get(piece.slice(at));
      if (left !== undefined && right !== undefined)
        merges.push({ score: scores[id] as number, left, right });
    }
  });
  merges.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return merges.map(({ left, right }) => [pieces[left] as string, pieces[right] as string] as const);
}
