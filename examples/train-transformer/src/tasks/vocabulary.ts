import { SPECIAL } from "./task.ts";

/** Words by id: padding, begin, end, one that stands for all unknown words, then the frequent ones. */
export class Vocabulary {
  /** Id of words that are not in it. */
  static readonly unknown: number = Math.max(...Object.values(SPECIAL)) + 1;
  readonly words: readonly string[];
  private readonly ids: ReadonlyMap<string, number>;

  /**
   * @param texts sentences as words.
   * @param least how often a word must be there.
   */
  constructor(texts: Iterable<readonly string[]>, least: number) {
    const counts = new Map<string, number>();
    for (const words of texts) for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    const frequent = [...counts]
      .filter(([, count]) => count >= least)
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    this.words = ["<pad>", "<s>", "</s>", "<unk>", ...frequent.map(([word]) => word)];
    this.ids = new Map(this.words.map((word, id) => [word, id]));
  }

  get size(): number {
    return this.words.length;
  }

  encode(words: readonly string[]): readonly number[] {
    return words.map((word) => this.ids.get(word) ?? Vocabulary.unknown);
  }

  decode(ids: readonly number[]): readonly string[] {
    return ids.map((id) => this.words[id] ?? "<unk>");
  }
}
