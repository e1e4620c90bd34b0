import {
  add,
  argmax,
  checkInteger,
  checkNumber,
  checkOptions,
  fromData,
  logSoftmax,
  max,
  OptionError,
  Scope,
  type Tensor,
} from "@nf/core";
import { evaluating } from "../evaluating.ts";
import type { CancelSignal } from "../llama/generate.ts";
import type { DecoderState, Transformer } from "./model.ts";

/** Options of {@link greedySearch}. */
export interface SearchOptions {
  /** Most tokens of a result, `eosId` among them; default 50 more than its source has, as in the paper. */
  readonly maxLength?: number;
  /** Ids that results must not have. `padId` is never chosen. */
  readonly suppress?: readonly number[];
  /** Ends the search between two tokens: it rejects with the signal's reason. */
  readonly signal?: CancelSignal;
}

/** Options of {@link beamSearch}. */
export interface BeamSearchOptions extends SearchOptions {
  /** Sequences that are followed at a time; default 4, as in the paper. */
  readonly beams?: number;
  /** Exponent of the length by which log-probabilities are divided: 0 none, default 0.6, as in the paper. */
  readonly lengthPenalty?: number;
  /** Results for each source; default 1, at most `beams`. */
  readonly hypotheses?: number;
}

/** A sequence that a search found. */
export interface Hypothesis {
  /** Ids between `bosId` and `eosId`. */
  readonly tokens: readonly number[];
  /** Logarithm of the probability of its tokens, that of `eosId` included. */
  readonly logProbability: number;
  /** What hypotheses are ordered by: the logarithm over the length penalty; in a greedy search the logarithm itself. */
  readonly score: number;
  /** Whether it ended with `eosId`, rather than at `maxLength`. */
  readonly finished: boolean;
}

/** A sequence in the making. */
interface Beam {
  readonly tokens: readonly number[];
  readonly logProbability: number;
  /** Its row in the last step. */
  readonly row: number;
}

/** A way to go on. */
interface Candidate {
  readonly beam: Beam;
  readonly token: number;
  readonly logProbability: number;
}

const SEARCH = ["maxLength", "suppress", "signal"] as const;

/**
 * Translates sources by taking the most likely token each time. Sources are lists of ids without padding; all are computed
 * at once, and leave the batch as they end.
 *
 * @returns a hypothesis for each source.
 * @throws OptionError for an unknown option, a value out of its domain, or a source without tokens.
 */
export async function greedySearch(
  model: Transformer,
  sources: readonly (readonly number[])[],
  options: SearchOptions = {},
): Promise<readonly Hypothesis[]> {
  checkOptions("greedySearch", options, SEARCH);
  const { eosId } = model.config;
  const lengths = limits("greedySearch", model, sources, options);
  if (sources.length === 0) return [];
  const results: Hypothesis[] = [];
  let open = sources.map((_, source) => ({
    source,
    tokens: [] as readonly number[],
    logProbability: 0,
    row: source,
  }));
  const rows = new Rows(model, sources, options);
  try {
    while (open.length > 0) {
      const [ids, logs] = await rows.step(open, (logProbabilities) => [
        argmax(logProbabilities, { axis: -1 }),
        max(logProbabilities, { axis: -1 }),
      ]);
      open = open.flatMap((one, row) => {
        const token = ids?.[row] as number;
        const logProbability = one.logProbability + (logs?.[row] as number);
        const length = one.tokens.length + 1;
        const finished = token === eosId;
        const tokens = finished ? one.tokens : [...one.tokens, token];
        if (!finished && length < (lengths[one.source] as number))
          return [{ ...one, tokens, logProbability, row }];
        results[one.source] = { tokens, logProbability, score: logProbability, finished };
        return [];
      });
    }
  } finally {
    rows.dispose();
  }
  return results;
}

/**
 * Translates sources by following the most likely sequences. Those that end are kept, and weighed against the others by
 * log-probability / ((5 + length) / 6)^lengthPenalty (Wu et al. 2016, arXiv:1609.08144). A source is done when
 * no sequence that goes on can become better than its results or, once `beams` have ended, is better so far. With one beam it is
 * {@link greedySearch}.
 *
 * @returns for each source its hypotheses, best first; unfinished ones only where there are too few others.
 * @throws OptionError for an unknown option, a value out of its domain, or a source without tokens.
 *
 * @example
 * ```ts no-run
 * import { beamSearch, type Transformer } from "@nf/models";
 *
 * declare const model: Transformer;
 * const [[best]] = await beamSearch(model, [[5, 9, 4]], { beams: 4 });
 * console.log(best?.tokens);
 * ```
 */
export async function beamSearch(
  model: Transformer,
  sources: readonly (readonly number[])[],
  options: BeamSearchOptions = {},
): Promise<readonly (readonly Hypothesis[])[]> {
  const op = "beamSearch";
  checkOptions(op, options, [...SEARCH, "beams", "lengthPenalty", "hypotheses"]);
  const { beams = 4, lengthPenalty = 0.6, hypotheses = 1 } = options;
  checkInteger(op, "beams", beams, 1);
  checkInteger(op, "hypotheses", hypotheses, 1, beams);
  checkNumber(op, "lengthPenalty", lengthPenalty, 0, 100);
  const lengths = limits(op, model, sources, options);
  if (sources.length === 0) return [];
  const searches = sources.map(
    (_, source) =>
      new SourceSearch(
        source,
        { beams, lengthPenalty, hypotheses },
        lengths[source] as number,
        model.config.eosId,
      ),
  );
  const rows = new Rows(model, sources, options);
  try {
    for (;;) {
      const open = searches.filter((search) => !search.done);
      if (open.length === 0) break;
      const width = model.config.targetVocabSize;
      const [logs] = await rows.step(
        open.flatMap((search) => search.alive.map((beam) => ({ ...beam, source: search.source }))),
        (logProbabilities) => [logProbabilities],
      );
      let first = 0;
      for (const search of open) {
        const count = search.alive.length;
        search.extend(logs as ArrayLike<number>, width, first);
        first += count;
      }
    }
  } finally {
    rows.dispose();
  }
  return searches.map((search) => search.results());
}

/** The beams of one source. */
class SourceSearch {
  readonly source: number;
  alive: readonly Beam[];
  done = false;
  private readonly finished: Hypothesis[] = [];
  private readonly settings: Required<Pick<BeamSearchOptions, "beams" | "lengthPenalty" | "hypotheses">>;
  private readonly maxLength: number;
  private readonly eosId: number;

  constructor(source: number, settings: SourceSearch["settings"], maxLength: number, eosId: number) {
    this.source = source;
    this.settings = settings;
    this.maxLength = maxLength;
    this.eosId = eosId;
    this.alive = [{ tokens: [], logProbability: 0, row: source }];
  }

  /** Takes the best ways to go on. `logs` has `width` log-probabilities a row; the beams are the rows from `first`. */
  extend(logs: ArrayLike<number>, width: number, first: number): void {
    const { beams } = this.settings;
    // Of twice as many as there are beams, at least half go on: each beam ends in one way only.
    const best = this.best(logs, width, first, 2 * beams);
    const next: Beam[] = [];
    for (const [rank, { beam, token, logProbability }] of best.entries()) {
      if (token === this.eosId) {
        // Worse ones would fill the results with sequences that end too soon.
        if (rank < beams) this.finished.push(this.hypothesis(beam.tokens, logProbability, true));
      } else if (next.length < beams) {
        next.push({ tokens: [...beam.tokens, token], logProbability, row: beam.row });
      }
    }
    this.alive = next;
    this.finished.sort(byScore);
    const length = (best[0]?.beam.tokens.length ?? this.maxLength) + 1;
    this.done = next.length === 0 || length >= this.maxLength || !this.worthwhile(next[0] as Beam, length);
  }

  results(): readonly Hypothesis[] {
    const unfinished = this.alive.map((beam) => this.hypothesis(beam.tokens, beam.logProbability, false));
    return [...this.finished, ...unfinished.sort(byScore)].slice(0, this.settings.hypotheses);
  }

  /** Whether the most likely sequence that goes on, of a length, may still change the results. */
  private worthwhile({ logProbability }: Beam, length: number): boolean {
    const { beams, hypotheses } = this.settings;
    const bar = this.finished[hypotheses - 1]?.score ?? -Infinity;
    // Log-probabilities only fall, and no length divides them by more than the greatest.
    const bound = this.penalized(logProbability, this.maxLength);
    // With enough to choose from, it is not waited for a sequence that only its length would bring to the front.
    const estimate = this.finished.length < beams ? bound : this.penalized(logProbability, length);
    return estimate > bar;
  }

  private best(logs: ArrayLike<number>, width: number, first: number, count: number): readonly Candidate[] {
    const best: Candidate[] = [];
    for (const [position, old] of this.alive.entries()) {
      const beam = { ...old, row: first + position };
      const start = beam.row * width;
      for (let token = 0; token < width; token++) {
        const logProbability = beam.logProbability + (logs[start + token] as number);
        const worst = best.length < count ? -Infinity : (best[count - 1] as Candidate).logProbability;
        // False for NaN too: a model that gives none leads nowhere.
        if (!(logProbability > worst)) continue;
        if (best.length === count) best.pop();
        let place = best.length;
        while (place > 0 && (best[place - 1] as Candidate).logProbability < logProbability) place--;
        best.splice(place, 0, { beam, token, logProbability });
      }
    }
    return best;
  }

  private hypothesis(tokens: readonly number[], logProbability: number, finished: boolean): Hypothesis {
    const length = tokens.length + (finished ? 1 : 0);
    return { tokens, logProbability, score: this.penalized(logProbability, length), finished };
  }

  private penalized(logProbability: number, length: number): number {
    return logProbability / ((5 + length) / 6) ** this.settings.lengthPenalty;
  }
}

/** The sequences that are computed together, one a row. */
class Rows {
  private readonly model: Transformer;
  private readonly signal: CancelSignal | undefined;
  /** Added to logits: -Infinity for what must not be chosen. */
  private readonly offsets: Float32Array;
  private state: DecoderState;
  /** Source of each row of the state. */
  private sources: readonly number[];
  /** Owns what depends on the sources alone. */
  private encoded = new Scope("its search went on");
  /** Owns the rest of the state. */
  private decoded = new Scope("its search went on");

  constructor(model: Transformer, sources: readonly (readonly number[])[], options: SearchOptions) {
    const { padId, targetVocabSize } = model.config;
    this.model = model;
    this.signal = options.signal;
    this.sources = sources.map((_, source) => source);
    this.offsets = new Float32Array(targetVocabSize);
    for (const id of [...(options.suppress ?? []), ...(padId === null ? [] : [padId])])
      this.offsets[id] = -Infinity;
    this.state = this.encoded.run(() => evaluating(model, () => model.start(this.padded(sources))));
  }

  /**
   * Goes on by the last token of each beam, and reads what `result` makes of the log-probabilities `[beams, targetVocabSize]`.
   */
  async step(
    beams: readonly (Beam & { readonly source: number })[],
    result: (logProbabilities: Tensor) => readonly Tensor[],
  ): Promise<readonly ArrayLike<number>[]> {
    if (this.signal?.aborted === true) throw this.signal.reason ?? new Error("The search was aborted.");
    const { model } = this;
    const { backend } = model.targetEmbedding.weight;
    const last = Int32Array.from(beams, ({ tokens }) => tokens.at(-1) ?? model.config.bosId);
    const state = this.select(beams);
    const scope = new Scope("its search went on");
    const tensors = scope.run(() =>
      evaluating(model, () => {
        const next = model.step(fromData(last, [last.length, 1], { backend }), state);
        this.state = next.state;
        const offsets = fromData(this.offsets, [this.offsets.length], { backend });
        // What the new state shares with the old one belongs to a scope of its own.
        return { self: next.state.self, read: result(logSoftmax(add(next.logits, offsets))) };
      }),
    );
    this.decoded.dispose();
    this.decoded = scope;
    return Promise.all(tensors.read.map((tensor) => tensor.data()));
  }

  dispose(): void {
    this.decoded.dispose();
    this.encoded.dispose();
  }

  /** The state with the rows that the beams come from. */
  private select(beams: readonly (Beam & { readonly source: number })[]): DecoderState {
    const { model, sources } = this;
    if (beams.length === sources.length && beams.every(({ row }, i) => row === i)) return this.state;
    const wanted = beams.map(({ source }) => source);
    const moved = wanted.length !== sources.length || wanted.some((source, i) => source !== sources[i]);
    const rows = Int32Array.from(beams, ({ row }) => row);
    const { backend } = model.targetEmbedding.weight;
    const [encoded, decoded] = [new Scope("its search went on"), new Scope("its search went on")];
    const index = decoded.run(() => fromData(rows, [rows.length], { backend }));
    const self = decoded.run(() => model.select(this.state, index, { sources: false }).self);
    const state = moved ? encoded.run(() => model.select({ ...this.state, self: [] }, index)) : this.state;
    if (moved) {
      this.encoded.dispose();
      this.encoded = encoded;
      this.sources = wanted;
    }
    this.decoded.dispose();
    this.decoded = decoded;
    this.state = { ...state, self };
    return this.state;
  }

  private padded(sources: readonly (readonly number[])[]): Tensor {
    const { backend } = this.model.sourceEmbedding.weight;
    const { padId } = this.model.config;
    const width = Math.max(...sources.map(({ length }) => length));
    const ids = new Int32Array(sources.length * width).fill(padId ?? 0);
    for (const [row, source] of sources.entries()) ids.set(source, row * width);
    return fromData(ids, [sources.length, width], { backend });
  }
}

function byScore(a: Hypothesis, b: Hypothesis): number {
  return b.score - a.score;
}

/** Most tokens of the result for each source. */
function limits(
  op: string,
  { config }: Transformer,
  sources: readonly (readonly number[])[],
  { maxLength, suppress = [] }: SearchOptions,
): readonly number[] {
  const { sourceVocabSize, targetVocabSize, maxPositions, padId } = config;
  if (maxLength !== undefined) checkInteger(op, "maxLength", maxLength, 1, maxPositions);
  for (const id of suppress) checkInteger(op, "suppress", id, 0, targetVocabSize - 1);
  for (const [index, source] of sources.entries()) {
    if (source.length === 0) throw new OptionError(`${op}: source ${index} has no tokens.`);
    for (const id of source) checkInteger(op, `source ${index}`, id, 0, sourceVocabSize - 1);
    if (padId === null && source.length !== sources[0]?.length) {
      throw new OptionError(
        `${op}: without a padId all sources must be equally long, got ${sources[0]?.length} and ${source.length} tokens.`,
      );
    }
  }
  return sources.map(({ length }) => maxLength ?? Math.min(maxPositions, length + 50));
}
