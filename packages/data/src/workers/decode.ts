import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { type Collated, collate } from "../collate.ts";
import { type AnyDataset, type Dataset, isDataset, provenance } from "../dataset.ts";
import { type Job, WorkerPool } from "./pool.ts";

/** Options of {@link decodeInWorkers}. */
export interface DecodeOptions {
  /** Address of the module that has the function, as in `new URL("./decode.js", import.meta.url)`. */
  module: URL | string;
  /** Name under which the module exports the function `(item, index, epoch) => decoded`, which may return a promise. */
  function: string;
  /** Threads. Default 2. */
  workers?: number;
}

/** A dataset whose items other threads decode; see {@link decodeInWorkers}. */
export interface DecodedDataset<Out> extends Dataset<Out>, AsyncDisposable {
  /** Ends the threads. Without it they end with the process, which idle ones do not keep alive. */
  close(): Promise<void>;
}

/**
 * The dataset whose items are what a function of a module makes of another's, in threads of Node: for work that would keep
 * the loop waiting, such as decompressing pictures. It is named by module and function, because functions do not cross to
 * other threads. A {@link DataLoader} keeps them busy with `prefetch` batches, and its order, seeds and `state` are those it
 * has without them, whatever their number.
 *
 * Items and results are data (numbers, strings, arrays, plain objects, `NdArray`s) and are copied. In the thread an
 * `NdArray` is a plain `{ data, shape }`; what comes back in that form is an `NdArray` again.
 *
 * @throws OptionError for options that make no sense.
 * @throws DataError where there are no threads of Node, as in browsers.
 * @throws WorkerError (`NF_DATA`), when an item is asked for, naming worker and item if the function or its thread fails.
 */
export function decodeInWorkers<Out>(dataset: AnyDataset, options: DecodeOptions): DecodedDataset<Out> {
  checkOptions("decodeInWorkers", options, ["module", "function", "workers"]);
  const { module, function: name, workers = 2 } = options;
  if (!isDataset(dataset))
    throw new OptionError(
      "decodeInWorkers: the first argument must be a dataset with a length and get(index).",
    );
  const address = module instanceof URL ? module.href : module;
  if (typeof address !== "string" || !URL.canParse(address)) {
    throw new OptionError(
      `decodeInWorkers: module must be an address, as in new URL("./decode.js", import.meta.url), got ${String(module)}.`,
    );
  }
  if (typeof name !== "string" || name === "")
    throw new OptionError(`decodeInWorkers: function must be a name, got ${String(name)}.`);
  checkInteger("decodeInWorkers", "workers", workers, 1);
  const pool = new WorkerPool(address, name, workers);
  const decode = async (indices: readonly number[], epoch: number): Promise<Out[]> => {
    const jobs = indices.map(async (index): Promise<Job> => {
      return { item: await dataset.get(index, epoch), index, epoch };
    });
    return (await pool.run(await Promise.all(jobs))) as Out[];
  };
  return {
    ...provenance(dataset),
    length: dataset.length,
    get: async (index, epoch = 0) => (await decode([index], epoch))[0] as Out,
    getBatch: async (indices, epoch = 0): Promise<Collated<Out>> => collate(await decode(indices, epoch)),
    close: () => pool.close(),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}
