import { argmax, cast, equal, mul, OptionError, ShapeError, sum, Tensor, topk, unsqueeze } from "@nf/core";
import { nameOf } from "./misuse.ts";

/** What a batch adds to a mean: a sum that stays on the backend, and how many terms it has. */
export interface MetricSum {
  /** A scalar. */
  readonly total: Tensor;
  readonly count: number;
}

/**
 * A metric of one batch: a scalar tensor that is its mean over the batch's items, or a sum and what it is divided by. It
 * runs after the step's forward, without gradients, and nothing is read back: sums stay on the backend until they are told.
 */
export type MetricFunction<Output, Batch> = (
  output: Output,
  batch: Batch,
  loss: Tensor,
) => Tensor | MetricSum;

/** A metric that is a function of a mean. */
export interface MetricSpec<Output, Batch> {
  readonly update: MetricFunction<Output, Batch>;
  /** Makes the figure of the mean over all batches. */
  readonly finish: (mean: number) => number;
}

/** What `fit` takes as a metric. */
export type Metric<Output, Batch> = MetricFunction<Output, Batch> | MetricSpec<Output, Batch>;

/** Figures by name: the loss, and each metric. */
export type Figures<Name extends string> = Readonly<Record<"loss" | Name, number>>;

/**
 * Share of items whose class is the likeliest: `[…, classes]` logits or probabilities and `[…]` labels.
 *
 * @param k how many of the likeliest classes count as right; default 1
 * @throws ShapeError for labels that are not the shape of the logits without their last axis
 */
export function accuracy(logits: Tensor, labels: Tensor, k = 1): MetricSum {
  const items = logits.shape.slice(0, -1);
  if (
    logits.rank === 0 ||
    items.length !== labels.rank ||
    items.some((size, i) => size !== labels.shape[i])
  ) {
    throw new ShapeError(
      `accuracy: expected labels of shape [${items.join(", ")}] for logits of [${logits.shape.join(", ")}], got [${labels.shape.join(", ")}].`,
    );
  }
  if (!Number.isInteger(k) || k < 1)
    throw new OptionError(`accuracy: k must be a whole number from 1, got ${k}.`);
  const right =
    k === 1
      ? equal(argmax(logits, { axis: -1 }), labels)
      : equal(topk(logits, { k }).indices, unsqueeze(labels, labels.rank));
  return { total: sum(cast(right, "f32")), count: labels.size };
}

/** e to the mean loss: how many equally likely choices a language model is as unsure as, for a loss in nats a token. */
export const perplexity: MetricSpec<unknown, unknown> = {
  update: (_output, _batch, loss) => loss,
  finish: Math.exp,
};

/** Figures of any names. */
export type NamedFigures = Readonly<Record<string, number>>;

/** Sums of figures: on the backend between two reads, in float64 on the host afterwards. */
export class FigureSums<Output, Batch, Name extends string> {
  readonly #metrics: readonly (readonly [name: string, Metric<Output, Batch>])[];
  readonly #items: (batch: Batch) => number;
  /** Of the loss and each metric, not yet read. */
  #pending = new Map<string, { total: Tensor; count: number }>();
  #pendingItems = 0;
  #pendingBatches = 0;

  constructor(
    metrics: Readonly<Record<Name, Metric<Output, Batch>>>,
    items: ((batch: Batch) => number) | undefined,
  ) {
    this.#metrics = Object.entries(metrics) as [string, Metric<Output, Batch>][];
    this.#items = items ?? itemsIn;
  }

  /** Batches since the last read. */
  get batches(): number {
    return this.#pendingBatches;
  }

  /** Items since the last read. */
  get items(): number {
    return this.#pendingItems;
  }

  /** Adds a batch, without gradients. */
  add(output: Output, batch: Batch, loss: Tensor): void {
    const items = this.#items(batch);
    if (!(items > 0))
      throw new OptionError(
        `fit: a batch has ${items} items, which its means cannot weigh by. Say how many with the option items.`,
      );
    this.#pendingItems += items;
    this.#pendingBatches++;
    this.#note("loss", loss, items);
    for (const [name, metric] of this.#metrics) {
      const update = typeof metric === "function" ? metric : metric.update;
      const given = update(output, batch, loss);
      if (given instanceof Tensor) this.#note(name, given, items);
      else this.#noteSum(name, given as MetricSum | undefined);
    }
  }

  #note(name: string, mean: Tensor, items: number): void {
    this.#checkScalar(name, mean);
    this.#keep(name, mul(wide(mean), items), items);
  }

  #noteSum(name: string, given: MetricSum | undefined): void {
    const { total, count } = given ?? {};
    this.#checkScalar(name, total);
    if (typeof count !== "number" || !(count >= 0))
      throw new OptionError(
        `fit: metric ${name} must give { total, count } with a count of terms from 0, got ${nameOf(count)}.`,
      );
    // What a metric returns may be its own, or a part of the batch.
    this.#keep(name, mul(wide(total), 1), count);
  }

  #checkScalar(name: string, total: unknown): asserts total is Tensor {
    if (!(total instanceof Tensor) || total.size !== 1) {
      const got = total instanceof Tensor ? `shape [${total.shape.join(", ")}]` : typeof total;
      throw new ShapeError(
        `fit: metric ${name} must give a scalar tensor, or { total, count } with a scalar total; got ${got}. Reduce it with mean or sum.`,
      );
    }
  }

  /** Takes a sum over, and adds it to that of before. */
  #keep(name: string, sum: Tensor, count: number): void {
    const before = this.#pending.get(name);
    const next = before === undefined ? sum : before.total.add(sum);
    next.keep();
    before?.total.dispose();
    this.#pending.set(name, { total: next, count: (before?.count ?? 0) + count });
  }

  /** Reads what was added since the last read, and forgets it. */
  async read(): Promise<HostSums> {
    const pending = [...this.#pending];
    const sums = new HostSums(this.#pendingItems);
    this.forget(false);
    try {
      for (const [name, { total, count }] of pending) sums.set(name, await total.item(), count);
    } finally {
      for (const [, { total }] of pending) total.dispose();
    }
    return sums;
  }

  /** Begins anew. */
  forget(dispose = true): void {
    if (dispose) for (const { total } of this.#pending.values()) total.dispose();
    this.#pending = new Map();
    this.#pendingItems = 0;
    this.#pendingBatches = 0;
  }

  /** Means of sums as figures. */
  figures(sums: HostSums): Figures<Name> {
    const entries = [["loss", sums.mean("loss")] as const].concat(
      this.#metrics.map(([name, metric]) => {
        const mean = sums.mean(name);
        return [name, typeof metric === "function" ? mean : metric.finish(mean)] as never;
      }),
    );
    return Object.fromEntries(entries) as Figures<Name>;
  }
}

/** What sums are kept in: f64 stays, all else becomes f32. */
function wide(value: Tensor): Tensor {
  return value.dtype === "f32" || value.dtype === "f64" ? value : cast(value, "f32");
}

/** Plain form of {@link HostSums}. */
export interface SavedSums {
  readonly items: number;
  readonly sums: Readonly<Record<string, readonly [total: number, count: number]>>;
}

/** Sums on the host. */
export class HostSums {
  items: number;
  readonly #sums = new Map<string, { total: number; count: number }>();

  constructor(items = 0) {
    this.items = items;
  }

  set(name: string, total: number, count: number): void {
    this.#sums.set(name, { total, count });
  }

  add(other: HostSums): void {
    this.items += other.items;
    for (const [name, { total, count }] of other.#sums) {
      const before = this.#sums.get(name) ?? { total: 0, count: 0 };
      this.set(name, before.total + total, before.count + count);
    }
  }

  mean(name: string): number {
    const { total, count } = this.#sums.get(name) ?? { total: Number.NaN, count: 0 };
    return total / count;
  }

  save(): SavedSums {
    const sums = [...this.#sums].map(([name, { total, count }]) => [name, [total, count]] as const);
    return { items: this.items, sums: Object.fromEntries(sums) };
  }

  static from({ items, sums }: SavedSums): HostSums {
    const made = new HostSums(items);
    for (const [name, [total, count]] of Object.entries(sums)) made.set(name, total, count);
    return made;
  }
}

/** Size of the first dimension of the first tensor in a batch. */
export function itemsIn(batch: unknown): number {
  if (batch instanceof Tensor) return batch.shape[0] ?? 1;
  if (typeof batch === "object" && batch !== null) {
    for (const one of Object.values(batch)) {
      const items = itemsIn(one);
      if (items > 0) return items;
    }
  }
  return 0;
}
