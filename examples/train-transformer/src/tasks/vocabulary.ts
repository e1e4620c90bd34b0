import { Vocabulary } from "@nf/data";
import { SPECIAL } from "./task.ts";

/** Tokens that every vocabulary begins with, in the order of their ids. */
const SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"];

/** Id of words that are not in a vocabulary. */
export const UNKNOWN: number = Math.max(...Object.values(SPECIAL)) + 1;

/**
 * Words by id: padding, begin, end, one that stands for all unknown words, then the frequent ones.
 *
 * @param texts sentences as words.
 * @param least how often a word must be there.
 */
export function vocabularyOf(texts: Iterable<readonly string[]>, least: number): Vocabulary {
  return Vocabulary.build(texts, { minFrequency: least, specials: SPECIALS });
}
