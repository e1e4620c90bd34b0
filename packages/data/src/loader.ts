import { type Backend, checkInteger, checkOptions, OptionError, Scope } from "@nf/core";
import { type Collated, collate } from "./collate.ts";
import type { Dataset } from "./dataset.ts";
import { epochOrder } from "./order.ts";
import { type Tensors, toTensors } from "./tensors.ts";

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
    readonly items: number;
  };
}

const OPTIONS = ["batchSize", "shuffle", "seed", "dropLast", "collate", "prefetch", "backend"];

/**
 * Batches of a dataset as tensors on the backend in use. Each `for await` over it is one epoch; with `shuffle` every
 * epoch has an order of its own, the same on every platform for the same seed and epoch.
 *
 * The tensors of a batch, and what is computed from them outside any other scope, are freed when the next batch is
 * asked for or the loop ends; `.keep()` holds one longer. Host batches are fetched ahead, tensors are not.
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
  readonly dataset: Dataset<Item>;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropLast: boolean;
  readonly prefetch: number;
  readonly #backend: Backend | undefined;
  readonly #collate: ((items: Item[]) => Host | Promise<Host>) | undefined;
  /** Where the next `for await` starts. */
  #next = { epoch: 0, batch: 0 };
  /** The loop that runs, or was left early. */
  #current: { readonly epoch: number; batch: number } | undefined;

  /** @throws OptionError for an unknown option, or a value out of its domain. */
  constructor(dataset: Dataset<Item>, options: DataLoaderOptions<Item, Host> = {}) {
    checkOptions("DataLoader", options, OPTIONS);
    if (!isDataset(dataset)) {
      throw new OptionError(
        "DataLoader: the first argument must be a dataset: an object with a length and get(index).",
      );
    }
    const { batchSize = 1, shuffle = false, seed = 0, dropLast = false, prefetch = 2 } = options;
    checkInteger("DataLoader", "batchSize", batchSize, 1);
    checkInteger("DataLoader", "prefetch", prefetch, 0);
    checkInteger("DataLoader", "seed", seed, 0);
    requireBoolean("shuffle", shuffle);
    requireBoolean("dropLast", dropLast);
    if (options.collate !== undefined && typeof options.collate !== "function") {
      throw new OptionError(`DataLoader: collate must be a function, got ${typeof options.collate}.`);
    }
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.shuffle = shuffle;
    this.seed = seed;
    this.dropLast = dropLast;
    this.prefetch = prefetch;
    this.#backend = options.backend;
    this.#collate = options.collate;
  }

  /** Number of batches in an epoch. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
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
    const own = Object.entries(this.#order());
    const saved: Readonly<Record<string, unknown>> = { ...order };
    const differing = own.filter(([key, value]) => saved[key] !== value);
    if (differing.length > 0) {
      const list = differing
        .map(([key, value]) => `${key} was ${String(saved[key])}, is ${String(value)}`)
        .join("; ");
      throw new OptionError(
        `DataLoader.setState: the state belongs to a loader with another order of batches: ${list}.`,
      );
    }
    checkInteger("DataLoader.setState", "epoch", epoch, 0);
    checkInteger("DataLoader.setState", "batch", batch, 0, this.length);
    this.#next = { epoch, batch };
    this.#current = undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Tensors<Host>, void, undefined> {
    const run = this.#next;
    this.#current = run;
    this.#next = { epoch: run.epoch + 1, batch: 0 };
    const { length } = this;
    const order = this.shuffle ? epochOrder(this.dataset.length, this.seed, run.epoch) : undefined;
    const ahead: Promise<Host>[] = [];
    let requested = run.batch;
    const fetchUpTo = (count: number): void => {
      while (ahead.length < count && requested < length) {
        const host = this.#fetch(order, requested++);
        // Its turn to be awaited may never come; then nobody is to hear of its failure.
        host.catch(() => {});
        ahead.push(host);
      }
    };
    while (run.batch < length) {
      fetchUpTo(1);
      const host = await (ahead.shift() as Promise<Host>);
      fetchUpTo(this.prefetch);
      const scope = new Scope("its DataLoader went on to the next batch, or the loop over it ended");
      try {
        const batch = scope.run(() => toTensors(host, this.#backend));
        run.batch++;
        yield batch;
      } finally {
        scope.dispose();
      }
    }
    if (this.#current === run) this.#current = undefined;
  }

  /** One batch on the host. */
  async #fetch(order: Int32Array | undefined, batch: number): Promise<Host> {
    const start = batch * this.batchSize;
    const end = Math.min(start + this.batchSize, this.dataset.length);
    const indices = Array.from({ length: end - start }, (_, i) => order?.[start + i] ?? start + i);
    if (this.#collate === undefined && this.dataset.getBatch !== undefined) {
      return (await this.dataset.getBatch(indices)) as Host;
    }
    const items = await Promise.all(indices.map((index) => this.dataset.get(index)));
    // Without a collate function, Host is Collated<Item>.
    return this.#collate === undefined ? (collate(items) as Host) : this.#collate(items);
  }

  #order(): DataLoaderState["order"] {
    const { seed, shuffle, batchSize, dropLast, dataset } = this;
    return { seed, shuffle, batchSize, dropLast, items: dataset.length };
  }
}

function isDataset(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !("length" in value) || !("get" in value)) return false;
  return Number.isSafeInteger(value.length) && typeof value.get === "function";
}

function requireBoolean(option: string, value: boolean): void {
  if (typeof value !== "boolean")
    throw new OptionError(`DataLoader: ${option} must be true or false, got ${String(value)}.`);
}
