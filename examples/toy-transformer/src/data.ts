import { Generator } from "@nf/core";
import type { Dataset } from "@nf/data";

/** Symbols by id: ten digits, and what stands between numbers. */
export const SYMBOLS = "0123456789+=";
const PLUS: number = SYMBOLS.indexOf("+");
const EQUALS: number = SYMBOLS.indexOf("=");

/** Digits of each number, with zeros where it has fewer. */
const DIGITS = 3;
/** Digits of a sum. */
export const ANSWER: number = DIGITS + 1;
/** Tokens of a question: two numbers, `+` and `=`. */
export const QUESTION: number = 2 * DIGITS + 2;
/** Tokens that the model reads at most: the question, and the digits of the answer but for its last. */
export const TOKENS: number = QUESTION + ANSWER - 1;
/** Numbers are from 0 to below this. */
export const NUMBERS: number = 10 ** DIGITS;

/** Two numbers. */
export type Pair = readonly [a: number, b: number];

/** A question and its answer, the lowest digit of each number first, as one adds on paper. */
export interface Sum {
  /** `[TOKENS]`: of 23 + 459, `320+954=284`. What the model is to say next is never among what it reads. */
  readonly tokens: Int32Array;
  /** `[ANSWER]`: `2840`. */
  readonly answer: Int32Array;
}

/** Digits of a number, the lowest first. */
function digits(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, place) => Math.floor(value / 10 ** place) % 10);
}

/** A pair as tokens. */
export function sumOf([a, b]: Pair): Sum {
  const answer = digits(a + b, ANSWER);
  return {
    tokens: Int32Array.from([
      ...digits(a, DIGITS),
      PLUS,
      ...digits(b, DIGITS),
      EQUALS,
      ...answer.slice(0, -1),
    ]),
    answer: Int32Array.from(answer),
  };
}

/** Tokens as a text. */
export function textOf(tokens: ArrayLike<number>): string {
  return Array.from(tokens, (token) => SYMBOLS[token] ?? "").join("");
}

/** What a pair is for. */
export type Part = "train" | "validation" | "test";

/**
 * What a pair is for, the same in every run: nine of ten are trained on. Both orders of two numbers are in one part, for whoever has seen
 * 23 + 459 has seen 459 + 23.
 */
export function partOf([a, b]: Pair): Part {
  const place = Math.min(a, b) * NUMBERS + Math.max(a, b);
  // Fibonacci hashing: neighbours come to distant values.
  const share = (Math.imul(place + 1, 0x9e3779b1) >>> 0) / 2 ** 32;
  return share < 0.9 ? "train" : share < 0.95 ? "validation" : "test";
}

/** Some sums of a part, drawn by a seed; no pair is there twice. */
export function drawPairs(part: Part, count: number, seed: number): readonly Pair[] {
  const generator = new Generator(seed);
  const drawn = new Map<number, Pair>();
  while (drawn.size < count) {
    const [first, second] = generator.next();
    const pair: Pair = [first % NUMBERS, second % NUMBERS];
    if (partOf(pair) === part) drawn.set(pair[0] * NUMBERS + pair[1], pair);
  }
  return [...drawn.values()];
}

/** All pairs that are trained on, as a dataset: 900,000 or so. */
export function trainingSums(): Dataset<Sum> {
  const pairs: number[] = [];
  for (let place = 0; place < NUMBERS ** 2; place++) if (partOf(pairAt(place)) === "train") pairs.push(place);
  return { length: pairs.length, get: (index) => sumOf(pairAt(pairs[index] as number)) };
}

/** Pairs as a dataset. */
export function sums(pairs: readonly Pair[]): Dataset<Sum> {
  return { length: pairs.length, get: (index) => sumOf(pairs[index] as Pair) };
}

function pairAt(place: number): Pair {
  return [Math.floor(place / NUMBERS), place % NUMBERS];
}
