/** The part of the library's byte pair encoder that is replaced. */
interface Bpe {
  bpe(word: string): string[];
  readonly merges: readonly (readonly [string, string])[];
  readonly end_of_word_suffix?: unknown;
  readonly continuing_subword_suffix?: unknown;
}

/** Characters from which on the quicker way is worth its tables. */
const LONG = 2048;
/** Numbers of parts are below it: two of them make a key that a float64 holds. */
const PARTS = 2 ** 25;

/** The part of the library's Unigram encoder that is replaced. */
interface Unigram {
  encode(words: readonly string[]): string[];
  tokenize(word: string): string[];
}

/**
 * Makes the library's encoders fit for words of a megabyte: byte pairs are merged by {@link quickenLongWords}, and
 * Unigram no longer hands the tokens of a word over as arguments, of which the stack holds some 100,000.
 */
export function prepareForLongWords(model: unknown): void {
  quickenLongWords(model);
  if (isUnigram(model)) model.encode = (words) => words.flatMap((word) => model.tokenize(word));
}

function isUnigram(model: unknown): model is Unigram {
  const { encode, tokenize } = (model ?? {}) as Partial<Unigram>;
  return typeof encode === "function" && typeof tokenize === "function";
}

/**
 * Makes a byte pair encoder quick for words of a megabyte, such as a text without blanks, or any text where the model
 * cuts none: the library builds a text of each pair to look it up. Short words, nearly all, stay with the library.
 */
export function quickenLongWords(model: unknown): void {
  if (!isBpe(model) || model.end_of_word_suffix || model.continuing_subword_suffix) return;
  const library = model.bpe.bind(model);
  let table: MergeTable | undefined;
  model.bpe = (word) => {
    if (word.length < LONG) return library(word);
    table ??= new MergeTable(model.merges);
    return mergeWord(word, table);
  };
}

function isBpe(model: unknown): model is Bpe {
  const { bpe, merges } = (model ?? {}) as Partial<Bpe>;
  return typeof bpe === "function" && Array.isArray(merges);
}

/** Which pairs of parts are joined, and how early. */
class MergeTable {
  readonly #numbers = new Map<string, number>();
  readonly #ranks = new Map<number, number>();
  /** The part that a merge of this rank gives. */
  readonly results: Int32Array;

  constructor(merges: readonly (readonly [string, string])[]) {
    this.results = new Int32Array(merges.length);
    merges.forEach(([left, right], rank) => {
      // Of a merge that is there twice, the library takes the last.
      this.#ranks.set(this.#add(left) * PARTS + this.#add(right), rank);
      this.results[rank] = this.#add(left + right);
    });
  }

  #add(part: string): number {
    const known = this.#numbers.get(part);
    if (known !== undefined) return known;
    this.#numbers.set(part, this.#numbers.size);
    return this.#numbers.size - 1;
  }

  /** Number of a part; -1 for one that no merge names. */
  numberOf(part: string): number {
    return this.#numbers.get(part) ?? -1;
  }

  /** How early two parts are joined; undefined if never. */
  rankOf(left: number, right: number): number | undefined {
    return left < 0 || right < 0 ? undefined : this.#ranks.get(left * PARTS + right);
  }
}

/** Joins, again and again, the pair of the least rank, of equal ones the leftmost, until no pair has one. */
function mergeWord(word: string, table: MergeTable): string[] {
  const starts: number[] = [];
  for (let at = 0; at < word.length; at += word.codePointAt(at)! > 0xffff ? 2 : 1) starts.push(at);
  const count = starts.length;
  starts.push(word.length);
  // Part i reaches from starts[i] to starts[next[i]]; the part that a merge takes in has number -2.
  const parts = Int32Array.from({ length: count }, (_, i) =>
    table.numberOf(word.slice(starts[i], starts[i + 1])),
  );
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const before = Int32Array.from({ length: count }, (_, i) => i - 1);
  const queue = new Queue();
  const offer = (left: number): void => {
    const right = left < 0 ? count : next[left]!;
    const rank = right === count ? undefined : table.rankOf(parts[left]!, parts[right]!);
    if (rank !== undefined) queue.push(rank * count + left);
  };
  for (let i = 0; i < count; i++) offer(i);
  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    const left = entry % count;
    const rank = (entry - left) / count;
    const right = next[left]!;
    // Parts that have been joined with others since leave their old pairs in the queue.
    if (parts[left] === -2 || right === count || table.rankOf(parts[left]!, parts[right]!) !== rank) continue;
    parts[left] = table.results[rank]!;
    parts[right] = -2;
    next[left] = next[right]!;
    if (next[left]! < count) before[next[left]!] = left;
    offer(before[left]!);
    offer(left);
  }
  const result: string[] = [];
  for (let i = 0; i < count; i = next[i]!) result.push(word.slice(starts[i], starts[next[i]!]));
  return result;
}

/** Numbers, the least first: a binary heap. */
class Queue {
  readonly #heap: number[] = [];

  push(value: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(value);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= value) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = value;
  }

  pop(): number | undefined {
    const heap = this.#heap;
    const least = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return least;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= last) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return least;
  }
}
