import { OptionError } from "@nf/core";

/** BLEU of a corpus, and what it is made of. */
export interface BleuScore {
  /** 0 to 100. */
  readonly score: number;
  /** Precision of n-grams of 1 to 4 tokens in percent, smoothed where none was right. */
  readonly precisions: readonly number[];
  /** Factor for hypotheses shorter than their references, 0 to 1. */
  readonly brevityPenalty: number;
  /** N-grams of 1 to 4 tokens that the references have too. */
  readonly correct: readonly number[];
  /** N-grams of 1 to 4 tokens in the hypotheses. */
  readonly total: readonly number[];
  /** Tokens of all hypotheses. */
  readonly hypothesisLength: number;
  /** Tokens of all references; of several, the one whose length is nearest. */
  readonly referenceLength: number;
}

const ORDERS = [1, 2, 3, 4] as const;
/** Python's white space, which is where sacreBLEU splits. */
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const GAPS = new RegExp(`[${SPACE}]+`, "u");
const TRAILING = new RegExp(`[${SPACE}]+$`, "u");
/** ASCII marks that are tokens wherever they stand: all but the apostrophe, comma, hyphen and full stop. */
const MARK = /[ -&(-+/:-@[-`{-~]/g;
const ENTITIES = [
  ["&quot;", '"'],
  ["&amp;", "&"],
  ["&lt;", "<"],
  ["&gt;", ">"],
] as const;

/**
 * Splits a text into tokens as NIST's mteval-v13a does, sacreBLEU's default: ASCII marks are tokens of their own, full stops and
 * commas where they are not between digits, and hyphens after digits.
 */
export function tokenize13a(text: string): readonly string[] {
  let line = text
    .replace(TRAILING, "")
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ");
  for (const [entity, character] of ENTITIES) line = line.replaceAll(entity, character);
  line = ` ${line} `
    .replace(MARK, " $& ")
    .replace(/([^0-9])([.,])/gu, "$1 $2 ")
    .replace(/([.,])([^0-9])/gu, " $1 $2")
    .replace(/([0-9])-/gu, "$1 - ");
  return line.split(GAPS).filter((token) => token !== "");
}

/**
 * BLEU of translations against their references, as sacreBLEU defines it: 13a tokens, case counts, n-grams up to 4 over the
 * whole corpus, exponential smoothing of orders without a match, brevity penalty. Papineni et al. 2002; Post 2018,
 * arXiv:1804.08771.
 *
 * @param hypotheses texts, not tokenised.
 * @param references for each hypothesis its reference, or several.
 * @throws OptionError for lists of different lengths, or a hypothesis without a reference.
 *
 * @example
 * ```ts no-run
 * import { corpusBleu } from "@nf/models";
 *
 * const { score } = corpusBleu(["Ein Mann liest ein Buch."], ["Ein Mann liest ein altes Buch."]);
 * console.log(score.toFixed(1)); // 54.1
 * ```
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
): BleuScore {
  if (hypotheses.length !== references.length) {
    throw new OptionError(
      `corpusBleu: expected a reference for each of the ${hypotheses.length} hypotheses, got ${references.length}.`,
    );
  }
  const correct = ORDERS.map(() => 0);
  const total = ORDERS.map(() => 0);
  let hypothesisLength = 0;
  let referenceLength = 0;
  for (const [index, hypothesis] of hypotheses.entries()) {
    const given = references[index] as string | readonly string[];
    const wanted = (typeof given === "string" ? [given] : given).map(tokenize13a);
    if (wanted.length === 0) throw new OptionError(`corpusBleu: hypothesis ${index} has no reference.`);
    const tokens = tokenize13a(hypothesis);
    hypothesisLength += tokens.length;
    referenceLength += nearest(
      tokens.length,
      wanted.map(({ length }) => length),
    );
    for (const [i, order] of ORDERS.entries()) {
      const allowed = wanted.map((reference) => countGrams(reference, order));
      for (const [gram, count] of countGrams(tokens, order)) {
        const most = Math.max(...allowed.map((counts) => counts.get(gram) ?? 0));
        correct[i] = (correct[i] as number) + Math.min(count, most);
        total[i] = (total[i] as number) + count;
      }
    }
  }
  const brevityPenalty =
    hypothesisLength >= referenceLength
      ? 1
      : hypothesisLength === 0
        ? 0
        : Math.exp(1 - referenceLength / hypothesisLength);
  const precisions = smoothed(correct, total);
  const logs = precisions.map((precision) => Math.log(precision));
  const score = brevityPenalty * Math.exp(logs.reduce((sum, log) => sum + log, 0) / ORDERS.length);
  return { score, precisions, brevityPenalty, correct, total, hypothesisLength, referenceLength };
}

/** Percentages; the k-th order without a match gets that of 2^-k matches. All 0 where there is none at all. */
function smoothed(correct: readonly number[], total: readonly number[]): readonly number[] {
  if (correct.every((count) => count === 0)) return correct;
  let share = 1;
  return correct.map((count, i) => {
    const all = total[i] as number;
    // Later orders have no n-grams either.
    if (all === 0) return 0;
    if (count > 0) return (100 * count) / all;
    share /= 2;
    return (100 * share) / all;
  });
}

function countGrams(tokens: readonly string[], order: number): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + order <= tokens.length; i++) {
    // No token has a space in it.
    const gram = tokens.slice(i, i + order).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

/** The length nearest to that of the hypothesis, the shorter of two equally near. */
function nearest(length: number, lengths: readonly number[]): number {
  return lengths.reduce((best, one) => {
    const [far, near] = [Math.abs(one - length), Math.abs(best - length)];
    return far < near || (far === near && one < best) ? one : best;
  });
}
