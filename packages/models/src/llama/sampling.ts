import {
  checkInteger,
  checkNumber,
  checkOptions,
  generator as defaultGenerator,
  Generator,
  NanoFluxError,
  OptionError,
} from "@nf/core";

/** How the next token is chosen from its logits. */
export interface SamplingOptions {
  /** Always the most likely token; the same as `temperature: 0`. Default false. */
  readonly greedy?: boolean;
  /** Logits are divided by it: below 1 more certain, above 1 more varied. Default 1. */
  readonly temperature?: number;
  /** Choose among the `topK` most likely tokens only. */
  readonly topK?: number;
  /** Choose among the most likely tokens that together have this probability. Holtzman et al. 2019, arXiv:1904.09751. */
  readonly topP?: number;
  /** Leave out tokens less likely than this share of the most likely one. Nguyen et al. 2024, arXiv:2407.01082. */
  readonly minP?: number;
  /**
   * Divides positive logits of tokens that the prompt or the text has, and multiplies negative ones. Keskar et al. 2019,
   * arXiv:1909.05858. Default 1: none.
   */
  readonly repetitionPenalty?: number;
  /** Taken off a token's logit for each time it was generated. Default 0: none. */
  readonly frequencyPenalty?: number;
  /** Seed of the draws: the same seed and logits give the same tokens. Not together with `generator`. */
  readonly seed?: number;
  /** Source of the draws; default the one that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** Names of {@link SamplingOptions}. */
export const SAMPLING_OPTIONS: readonly (keyof SamplingOptions)[] = [
  "greedy",
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "frequencyPenalty",
  "seed",
  "generator",
];

/** What only makes sense where tokens are drawn. */
const DRAWING = ["topK", "topP", "minP", "seed", "generator"] as const;

/**
 * Chooses tokens. Penalties come first, then temperature, `topK`, `topP` of what that left, and `minP`. Memory is taken
 * once, for all choices.
 */
export class Sampler {
  /** Whether the greatest logit is chosen, and no penalty changes which that is. */
  readonly plain: boolean;
  private readonly temperature: number;
  private readonly topK: number;
  private readonly topP: number;
  private readonly minP: number;
  private readonly repetitionPenalty: number;
  private readonly frequencyPenalty: number;
  private readonly source: Generator;
  /** How often a token was generated; 0 for those that only the prompt has. */
  private readonly seen = new Map<number, number>();
  private scores = new Float64Array(0);
  /** Token ids: a heap by score, or the kept ones. */
  private order = new Int32Array(0);

  /** @throws OptionError for values out of their domain, and for options that contradict each other. */
  constructor(options: SamplingOptions = {}) {
    const op = "sampling";
    checkOptions(op, options, SAMPLING_OPTIONS);
    const temperature =
      options.greedy === true ? 0 : checkNumber(op, "temperature", options.temperature ?? 1, 0);
    if (options.greedy === true && (options.temperature ?? 0) !== 0)
      throw new OptionError(`${op}: greedy goes without a temperature, got ${options.temperature}.`);
    const drawing = DRAWING.filter((name) => options[name] !== undefined);
    if (temperature === 0 && drawing.length > 0) {
      throw new OptionError(
        `${op}: nothing is drawn at temperature 0 (greedy), so ${drawing.join(", ")} would have no effect. Leave it out, or set a temperature.`,
      );
    }
    if (options.seed !== undefined && options.generator !== undefined)
      throw new OptionError(`${op}: give a seed or a generator, not both.`);
    this.temperature = temperature;
    this.topK = checkLeast(options.topK, "topK");
    this.topP = checkNumber(op, "topP", options.topP ?? 1, 0, 1);
    this.minP = checkNumber(op, "minP", options.minP ?? 0, 0, 1);
    this.repetitionPenalty = checkNumber(op, "repetitionPenalty", options.repetitionPenalty ?? 1, 1e-3, 1e3);
    this.frequencyPenalty = checkNumber(op, "frequencyPenalty", options.frequencyPenalty ?? 0, -100, 100);
    this.plain = temperature === 0 && this.repetitionPenalty === 1 && this.frequencyPenalty === 0;
    const { seed, generator } = options;
    this.source =
      generator ??
      (seed === undefined
        ? temperature === 0
          ? new Generator(0)
          : defaultGenerator()
        : new Generator(seed));
  }

  /** Notes tokens of the prompt, for the repetition penalty. */
  prompt(tokens: readonly number[]): void {
    for (const token of tokens) this.seen.set(token, this.seen.get(token) ?? 0);
  }

  /** Notes a generated token, for the penalties. */
  generated(token: number): void {
    this.seen.set(token, (this.seen.get(token) ?? 0) + 1);
  }

  /** The next token by its logits, of which there is one for each token. Logits stay as they are. */
  choose(logits: ArrayLike<number>): number {
    const { length } = logits;
    if (this.scores.length !== length) {
      this.scores = new Float64Array(length);
      this.order = new Int32Array(length);
    }
    const { scores } = this;
    for (let i = 0; i < length; i++) scores[i] = logits[i] as number;
    this.penalize();
    let best = 0;
    for (let i = 1; i < length; i++) if ((scores[i] as number) > (scores[best] as number)) best = i;
    const top = scores[best] as number;
    if (!Number.isFinite(top)) {
      throw new NanoFluxError(
        "NF_VALIDATION",
        `sampling: the greatest logit is ${top}, so that no token can be chosen. The weights are damaged, or overflowed.`,
      );
    }
    if (this.temperature === 0) return best;
    let total = 0;
    for (let i = 0; i < length; i++)
      total += scores[i] = Math.exp(((scores[i] as number) - top) / this.temperature);
    return this.draw(total);
  }

  private penalize(): void {
    const { scores, repetitionPenalty, frequencyPenalty } = this;
    if (repetitionPenalty === 1 && frequencyPenalty === 0) return;
    for (const [token, count] of this.seen) {
      const score = scores[token];
      if (score === undefined) continue;
      const repeated = score > 0 ? score / repetitionPenalty : score * repetitionPenalty;
      scores[token] = repeated - count * frequencyPenalty;
    }
  }

  /** Draws by the weights in `scores`, whose greatest is 1. */
  private draw(total: number): number {
    const { scores, order, topK, topP, minP } = this;
    const [high, low] = this.source.next();
    const u = (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
    if (topK >= scores.length && topP === 1) {
      for (let i = 0; i < order.length; i++) order[i] = i;
      return this.pick(u, order.length, minP, total);
    }
    const kept = this.mostLikely(Math.min(topK, scores.length), topP, total);
    return this.pick(u, kept, minP, undefined);
  }

  /**
   * Puts the most likely tokens to the end of `order`, the first of them last, and says how many: at most `count`, and
   * no more than it takes to reach the share `topP` of their (or with all tokens the whole) weight.
   */
  private mostLikely(count: number, topP: number, total: number): number {
    const { scores, order } = this;
    const { length } = order;
    for (let i = 0; i < length; i++) order[i] = i;
    for (let i = (length >> 1) - 1; i >= 0; i--) sink(order, scores, i, length);
    // The share is one of what topK leaves; without topK that is known before, and the heap need not be emptied.
    const known = count === length ? total : undefined;
    let weight = 0;
    let taken = 0;
    while (taken < count && !(known !== undefined && taken > 0 && weight >= topP * known)) {
      const last = length - 1 - taken;
      const token = order[0] as number;
      order[0] = order[last] as number;
      order[last] = token;
      weight += scores[token] as number;
      taken++;
      sink(order, scores, 0, last);
    }
    if (known !== undefined || topP === 1) return taken;
    let kept = 0;
    let sum = 0;
    while (kept < taken && (kept === 0 || sum < topP * weight))
      sum += scores[order[length - 1 - kept++] as number] as number;
    return kept;
  }

  /** Draws among the last `kept` tokens of `order`, leaving out those below `minP`. */
  private pick(u: number, kept: number, minP: number, known: number | undefined): number {
    const { scores, order } = this;
    const last = order.length - 1;
    let weight = minP === 0 ? (known ?? 0) : 0;
    if (weight === 0) {
      for (let i = 0; i < kept; i++) {
        const one = scores[order[last - i] as number] as number;
        if (one >= minP) weight += one;
      }
    }
    let left = u * weight;
    let chosen = order[last] as number;
    for (let i = 0; i < kept; i++) {
      const token = order[last - i] as number;
      const one = scores[token] as number;
      if (one < minP || one === 0) continue;
      chosen = token;
      left -= one;
      if (left < 0) break;
    }
    return chosen;
  }
}

function checkLeast(value: number | undefined, name: string): number {
  return value === undefined ? Number.MAX_SAFE_INTEGER : checkInteger("sampling", name, value, 1);
}

/** Restores the order of a heap whose entry `at` may be too light: likelier first, and of equals the lower id. */
function sink(order: Int32Array, scores: Float64Array, at: number, length: number): void {
  const token = order[at] as number;
  let hole = at;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= length) break;
    if (child + 1 < length && precedes(scores, order[child + 1] as number, order[child] as number)) child++;
    if (!precedes(scores, order[child] as number, token)) break;
    order[hole] = order[child] as number;
    hole = child;
  }
  order[hole] = token;
}

function precedes(scores: Float64Array, a: number, b: number): boolean {
  const [x, y] = [scores[a] as number, scores[b] as number];
  return x > y || (x === y && a < b);
}
