import { type Backend, checkInteger, checkOptions, OptionError, Scope } from "@nf/core";
import { type Collated, collate } from "./collate.ts";
import { type Dataset, isDataset } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { asIterable, type IterableDataset, isIterableDataset } from "./iterable.ts";
import { kindOf } from "./ndarray.ts";
import { planEpoch } from "./plan.ts";
import type { BatchSource } from "./samplers/batch.ts";
import type { Sampler } from "./samplers/sampler.ts";
import { type Tensors, toTensors } from "./tensors.ts";
import { groups } from "./transforms.ts";

/** Options of {@link DataLoader}. */
export interface DataLoaderOptions<Item, Host = Collated<Item>> {
  /** Items in a batch. Default 1. */
  batchSize?: number;
  /** Another random order in every epoch. Default false: the dataset's own order. */
  shuffle?: boolean;
  /** What the orders are made from, together with the epoch: a whole number of at least 0. Default 0. */
  seed?: number;
  /** Leave out a last batch that is not full. Default false. */
  dropLast?: boolean;
  /** Which items an epoch has, and in which order, instead of `shuffle` and `seed`. */
  sampler?: Sampler;
  /** Which items each batch has, instead of `batchSize`, `dropLast`, `sampler`, `shuffle` and `seed`. */
  batchSampler?: BatchSource;
  /** Makes a host batch of items; the loader then makes tensors of its arrays. Default {@link collate}. */
  collate?: (items: Item[]) => Host | Promise<Host>;
  /** Host batches that are fetched ahead while the loop body runs. Default 2. */
  prefetch?: number;
  /** Where the tensors live. Default the backend in use when a batch is handed out. */
  backend?: Backend;
}

/** Where a {@link DataLoader} stands; plain JSON, for checkpoints. */
export interface DataLoaderState {
  readonly epoch: number;
  /** Batches of that epoch that were handed out. */
  readonly batch: number;
  /** What the order depends on; `setState` refuses a loader where it differs. */
  readonly order: {
    readonly seed: number;
    readonly shuffle: boolean;
    readonly batchSize: number;
    readonly dropLast: boolean;
    /** Items of the dataset; null for an iterable one, which does not say. */
    readonly items: number | null;
    /** Key of the sampler or batch sampler; absent without one. */
    readonly sampler?: string;
  };
}

const OPTIONS = [
  ...[
    "batchSize",
    "shuffle",
    "seed",
    "dropLast",
    "sampler",
    "batchSampler",
    "collate",
    "prefetch",
    "backend",
  ],
];

/**
 * Batches of a dataset as tensors on the backend in use. Each `for await` over it is one epoch; with `shuffle` every
 * epoch has an order of its own, the same on every platform for the same seed and epoch.
 *
 * The tensors of a batch, and what is computed from them outside any other scope, are freed when the next batch is
 * asked for or the loop ends; `.keep()` holds one longer. Host batches are fetched ahead, tensors are not.
 *
 * An iterable dataset has its own order: `shuffleDataset` shuffles it, and the loader takes neither `shuffle` nor samplers.
 * To resume it in an epoch, the batches before are read again and passed over.
 *
 * @example
 * ```ts no-run
 * import { ArrayDataset, DataLoader, NdArray } from "@nf/data";
 * const dataset = new ArrayDataset({ x: new NdArray(new Float32Array(32), [16, 2]), y: new Int32Array(16) });
 * const loader = new DataLoader(dataset, { batchSize: 4, shuffle: true, seed: 7 });
 * for await (const { x, y } of loader) console.log(x.shape, y.dtype); // [4, 2] "i32"
 * ```
 */
export class DataLoader<Item, Host = Collated<Item>> implements AsyncIterable<Tensors<Host>> {
  readonly dataset: Dataset<Item> | IterableDataset<Item>;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropLast: boolean;
  readonly prefetch: number;
  readonly #sampler: Sampler | undefined;
  readonly #batchSampler: BatchSource | undefined;
  readonly #backend: Backend | undefined;
  readonly #collate: ((items: Item[]) => Host | Promise<Host>) | undefined;
  /** Where the next `for await` starts. */
  #next = { epoch: 0, batch: 0 };
  /** The loop that runs, or was left early. */
  #current: { readonly epoch: number; batch: number } | undefined;

  /** @throws OptionError for an unknown option, or a value out of its domain. */
  constructor(dataset: Dataset<Item> | AsyncIterable<Item>, options: DataLoaderOptions<Item, Host> = {}) {
    checkOptions("DataLoader", options, OPTIONS);
    const kind = isDataset(dataset) ? "numbered" : isAsyncIterable(dataset) ? "iterable" : undefined;
    if (kind === undefined) {
      throw new OptionError(
        "DataLoader: the first argument must be a dataset: an object with a length and get(index), or one that is " +
          "iterated over. iterableDataset makes one of an array, an iterable or a function.",
      );
    }
    checkSamplers(kind, options);
    const { batchSize = 1, shuffle = false, seed = 0, dropLast = false, prefetch = 2 } = options;
    checkInteger("DataLoader", "batchSize", batchSize, 1);
    checkInteger("DataLoader", "prefetch", prefetch, 0);
    checkInteger("DataLoader", "seed", seed, 0);
    requireBoolean("shuffle", shuffle);
    requireBoolean("dropLast", dropLast);
    if (options.collate !== undefined && typeof options.collate !== "function") {
      throw new OptionError(`DataLoader: collate must be a function, got ${typeof options.collate}.`);
    }
    this.dataset = isDataset(dataset) ? dataset : asIterable(dataset);
    this.batchSize = batchSize;
    this.shuffle = shuffle;
    this.seed = seed;
    this.dropLast = dropLast;
    this.prefetch = prefetch;
    this.#sampler = options.sampler;
    this.#batchSampler = options.batchSampler;
    this.#backend = options.backend;
    this.#collate = options.collate;
  }

  /** Number of batches in an epoch. @throws DataError for an iterable dataset, of which nobody knows before its end. */
  get length(): number {
    const { knownLength } = this;
    if (knownLength === undefined) {
      throw new DataError(
        "DataLoader.length: the dataset is iterable, and how many items it has shows only at its end. Count the batches " +
          "of an epoch, or know the number from elsewhere.",
      );
    }
    return knownLength;
  }

  /** Number of batches in an epoch; undefined for an iterable dataset, where {@link length} throws. */
  get knownLength(): number | undefined {
    if (this.#batchSampler !== undefined) return this.#batchSampler.length;
    const items = this.#sampler?.length ?? (isDataset(this.dataset) ? this.dataset.length : undefined);
    if (items === undefined) return undefined;
    const batches = items / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** The epoch that the next `for await` runs; counts up by itself from 0. */
  get epoch(): number {
    return this.#next.epoch;
  }

  /** Makes the next `for await` run this epoch from its first batch. */
  setEpoch(epoch: number): void {
    checkInteger("DataLoader.setEpoch", "epoch", epoch, 0);
    this.#next = { epoch, batch: 0 };
    this.#current = undefined;
  }

  /**
   * Where the loop stands: in its body, after the batch in hand; after it, at the next epoch; after a `break`, where it
   * was left. With two loops over one loader, that of the one begun last.
   */
  state(): DataLoaderState {
    const { epoch, batch } = this.#current ?? this.#next;
    return { epoch, batch, order: this.#order() };
  }

  /**
   * Makes the next `for await` go on where `state` was taken, with the very batches that were still to come.
   * @throws OptionError if this loader would give another order: other seed, batch size, dataset length, ….
   */
  setState(state: DataLoaderState): void {
    if (typeof state !== "object" || state === null) {
      throw new OptionError(`DataLoader.setState: expected what state() returned, got ${String(state)}.`);
    }
    const { epoch, batch, order } = state;
    const own: Readonly<Record<string, unknown>> = this.#order();
    const saved: Readonly<Record<string, unknown>> = { ...order };
    const differing = [...new Set([...Object.keys(own), "sampler"])].filter((key) => own[key] !== saved[key]);
    if (differing.length > 0) {
      const show = (value: unknown): string => (value === undefined ? "none" : String(value));
      const list = differing.map((key) => `${key} was ${show(saved[key])}, is ${show(own[key])}`).join("; ");
      throw new OptionError(
        `DataLoader.setState: the state belongs to a loader with another order of batches: ${list}.`,
      );
    }
    checkInteger("DataLoader.setState", "epoch", epoch, 0);
    checkInteger("DataLoader.setState", "batch", batch, 0, isDataset(this.dataset) ? this.length : undefined);
    this.#next = { epoch, batch };
    this.#current = undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Tensors<Host>, void, undefined> {
    const run = this.#next;
    this.#current = run;
    this.#next = { epoch: run.epoch + 1, batch: 0 };
    const batches = isDataset(this.dataset)
      ? this.#byNumber(this.dataset, run)
      : this.#inTurn(this.dataset, run);
    const ahead: Promise<IteratorResult<Host, void>>[] = [];
    const fetchUpTo = (count: number): void => {
      while (ahead.length < count) {
        const host = batches.next();
        // Its turn to be awaited may never come; then nobody is to hear of its failure.
        host.catch(() => {});
        ahead.push(host);
      }
    };
    try {
      for (;;) {
        fetchUpTo(1);
        const host = await (ahead.shift() as Promise<IteratorResult<Host, void>>);
        if (host.done) break;
        fetchUpTo(this.prefetch);
        const scope = new Scope("its DataLoader went on to the next batch, or the loop over it ended");
        try {
          const batch = scope.run(() => toTensors(host.value, this.#backend));
          run.batch++;
          yield batch;
        } finally {
          scope.dispose();
        }
      }
    } finally {
      batches.close();
    }
    if (this.#current === run) this.#current = undefined;
  }

  /** Host batches of a dataset that is asked by number, each fetched as soon as it is asked for. */
  #byNumber(
    dataset: Dataset<Item>,
    run: { readonly epoch: number; readonly batch: number },
  ): HostBatches<Host> {
    const { epoch } = run;
    const { length, batchSize, shuffle, seed } = this;
    const [sampler, batchSampler] = [this.#sampler, this.#batchSampler];
    const indicesOf = planEpoch(
      { items: dataset.length, length, batchSize, shuffle, seed, sampler, batchSampler },
      epoch,
    );
    let requested = run.batch;
    return {
      next: async () => {
        if (requested >= length) return { done: true, value: undefined };
        return { done: false, value: await this.#fetch(dataset, indicesOf(requested++), epoch) };
      },
      close: () => {},
    };
  }

  /** Host batches of an iterable dataset. What is asked for ahead waits for its turn. */
  #inTurn(
    dataset: IterableDataset<Item>,
    run: { readonly epoch: number; readonly batch: number },
  ): HostBatches<Host> {
    const skipped = run.batch;
    const { batchSize, dropLast } = this;
    const batches = async function* (
      stack: (items: Item[]) => Host | Promise<Host>,
    ): AsyncGenerator<Host, void, undefined> {
      let batch = 0;
      for await (const items of groups(dataset.epoch(run.epoch), batchSize, dropLast))
        if (batch++ >= skipped) yield await stack(items);
    };
    const iterator = batches((items) => this.#stack(items));
    return {
      next: () => iterator.next(),
      // A source that does not answer must not keep the loop from ending.
      close: () => void iterator.return().catch(() => {}),
    };
  }

  /** One batch on the host. */
  async #fetch(dataset: Dataset<Item>, indices: readonly number[], epoch: number): Promise<Host> {
    if (this.#collate === undefined && dataset.getBatch !== undefined) {
      return (await dataset.getBatch(indices, epoch)) as Host;
    }
    return this.#stack(await Promise.all(indices.map((index) => dataset.get(index, epoch))));
  }

  #stack(items: Item[]): Host | Promise<Host> {
    // Without a collate function, Host is Collated<Item>.
    return this.#collate === undefined ? (collate(items) as Host) : this.#collate(items);
  }

  #order(): DataLoaderState["order"] {
    const { seed, shuffle, batchSize, dropLast, dataset } = this;
    const sampler = (this.#batchSampler ?? this.#sampler)?.key;
    const items = isDataset(dataset) ? dataset.length : null;
    return { seed, shuffle, batchSize, dropLast, items, ...(sampler !== undefined && { sampler }) };
  }
}

/** Where a loop gets its batches from. */
interface HostBatches<Host> {
  next(): Promise<IteratorResult<Host, void>>;
  close(): void;
}

/** Options that say the same thing twice, or that an iterable dataset cannot follow, would be ignored: they are refused. */
function checkSamplers<Item, Host>(
  kind: "numbered" | "iterable",
  options: DataLoaderOptions<Item, Host>,
): void {
  const { sampler, batchSampler } = options;
  const given = (names: readonly (keyof typeof options)[]): string[] =>
    names.filter((name) => options[name] !== undefined && options[name] !== false);
  if (kind === "iterable") {
    const refused = given(["shuffle", "sampler", "batchSampler"]);
    if (refused.length > 0) {
      throw new OptionError(
        `DataLoader: an iterable dataset has its own order, ${refused.join(" and ")} cannot change it. Shuffle it with ` +
          "shuffleDataset(dataset, { buffer, seed }).",
      );
    }
  }
  if (sampler !== undefined) checkSampler("sampler", sampler, "indices");
  if (batchSampler !== undefined) checkSampler("batchSampler", batchSampler, "batches");
  const decided = batchSampler !== undefined ? "batchSampler" : sampler !== undefined ? "sampler" : undefined;
  if (decided === undefined) return;
  const others = given(
    batchSampler !== undefined
      ? ["batchSize", "dropLast", "shuffle", "seed", "sampler"]
      : ["shuffle", "seed"],
  );
  if (others.length > 0)
    throw new OptionError(
      `DataLoader: ${others.join(" and ")} cannot go together with ${decided}, which decides it.`,
    );
}

/** @throws OptionError naming what an object lacks to be a sampler. */
function checkSampler(option: string, value: object, method: string): void {
  const fields: Readonly<Record<string, unknown>> = Object(value);
  const { length, key } = fields;
  const wrong =
    typeof fields[method] !== "function"
      ? `its ${method} is ${kindOf(fields[method])}`
      : !Number.isSafeInteger(length) || (length as number) < 0
        ? `its length is ${kindOf(length)}`
        : typeof key !== "string"
          ? `its key is ${kindOf(key)}`
          : undefined;
  if (wrong === undefined) return;
  throw new OptionError(
    `DataLoader: ${option} must be an object with a length (a whole number of at least 0), a key (a string that says what it ` +
      `depends on) and ${method}(epoch); ${wrong}.`,
  );
}

function isAsyncIterable(value: unknown): boolean {
  return (
    typeof value === "object" && value !== null && (Symbol.asyncIterator in value || isIterableDataset(value))
  );
}

function requireBoolean(option: string, value: boolean): void {
  if (typeof value !== "boolean")
    throw new OptionError(`DataLoader: ${option} must be true or false, got ${String(value)}.`);
}
