import type { Worker } from "node:worker_threads";
import { DataError, reasonOf } from "../errors.ts";
import { pack, unpack } from "./message.ts";
import { WORKER_SCRIPT } from "./script.ts";

/** An item that a worker is to decode. */
export interface Job {
  readonly item: unknown;
  readonly index: number;
  readonly epoch: number;
}

/** A worker that failed (`NF_DATA`): the function threw, its module could not be loaded, or the thread ended. */
export class WorkerError extends DataError {
  /** Number of the worker, from 0. */
  readonly worker: number;
  /** Index of the item it was at; absent where it was at none. */
  readonly item: number | undefined;

  constructor(message: string, at: { worker: number; item?: number | undefined }, options?: ErrorOptions) {
    super(message, options);
    this.worker = at.worker;
    this.item = at.item;
  }
}

interface Pending {
  readonly resolve: (items: unknown[]) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  /** Jobs that it was given and has not answered. */
  readonly pending: Map<number, Pending>;
}

/** Threads that run one function of one module. They are started when first needed, and end with `close`. */
export class WorkerPool {
  readonly #module: string;
  readonly #name: string;
  readonly #threads: (Thread | undefined)[];
  #jobs = 0;
  #closed = false;

  /** @throws DataError where there are no worker threads, as in browsers. */
  constructor(module: string, name: string, count: number) {
    this.#module = module;
    this.#name = name;
    this.#threads = Array.from({ length: count }, () => undefined);
    workerThreads();
  }

  /** Runs the function on items, in one message to the thread that has least to do. */
  run(jobs: readonly Job[]): Promise<unknown[]> {
    if (this.#closed) {
      return Promise.reject(
        new DataError("decodeInWorkers: the dataset was closed; its workers have ended."),
      );
    }
    const items = jobs.map(({ item, index, epoch }) => ({ item: pack(item), index, epoch }));
    const load = this.#threads.map((thread) => thread?.pending.size ?? 0);
    const number = load.indexOf(Math.min(...load));
    const thread = this.#threads[number] ?? this.#start(number);
    const job = this.#jobs++;
    return new Promise((resolve, reject) => {
      // Only a thread with work to do keeps the process alive.
      if (thread.pending.size === 0) thread.worker.ref();
      thread.pending.set(job, { resolve, reject });
      try {
        thread.worker.postMessage({ job, items });
      } catch (error) {
        thread.pending.delete(job);
        if (thread.pending.size === 0) thread.worker.unref();
        reject(
          new DataError(
            `decodeInWorkers: item ${jobs[0]?.index} cannot go to another thread: ${reasonOf(error)}.`,
          ),
        );
      }
    });
  }

  /** Ends the threads; what they were at fails. */
  async close(): Promise<void> {
    this.#closed = true;
    const threads = this.#threads.filter((thread) => thread !== undefined);
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }

  #start(number: number): Thread {
    const { Worker } = workerThreads();
    const worker = new Worker(WORKER_SCRIPT, {
      eval: true,
      workerData: { module: this.#module, name: this.#name },
    });
    const thread: Thread = { worker, pending: new Map() };
    this.#threads[number] = thread;
    worker.unref();
    worker.on("message", (answer: Answer) => this.#answered(thread, number, answer));
    let cause: unknown;
    worker.on("error", (error) => {
      cause = error;
    });
    worker.on("messageerror", (error) => {
      cause = error;
      void worker.terminate();
    });
    worker.on("exit", (code) => {
      // The next job starts another.
      this.#threads[number] = undefined;
      const why = cause === undefined ? `it ended with code ${code}` : reasonOf(cause);
      for (const { reject } of thread.pending.values()) {
        const message = this.#closed
          ? `decodeInWorkers: worker ${number} was at work when the dataset was closed.`
          : `decodeInWorkers: worker ${number}, running ${this.#name} of ${this.#module}, is gone: ${why}.`;
        reject(new WorkerError(message, { worker: number }, { cause }));
      }
    });
    return thread;
  }

  #answered(thread: Thread, worker: number, answer: Answer): void {
    const pending = thread.pending.get(answer.job);
    thread.pending.delete(answer.job);
    if (thread.pending.size === 0) thread.worker.unref();
    if ("results" in answer) {
      pending?.resolve(answer.results.map(unpack));
      return;
    }
    const item = answer.at < 0 ? undefined : answer.at;
    const where = item === undefined ? "before its first item" : `at item ${item}`;
    const cause = Object.assign(new Error(answer.message), { stack: answer.stack });
    pending?.reject(
      new WorkerError(
        `decodeInWorkers: worker ${worker}, running ${this.#name} of ${this.#module}, failed ${where}: ${answer.message}`,
        { worker, item },
        { cause },
      ),
    );
  }
}

type Answer =
  | { readonly job: number; readonly results: readonly unknown[] }
  | { readonly job: number; readonly at: number; readonly message: string; readonly stack: string };

/** @throws DataError where the process has none. */
function workerThreads(): typeof import("node:worker_threads") {
  const node = typeof process === "object" ? process.getBuiltinModule : undefined;
  if (node === undefined) {
    throw new DataError(
      "decodeInWorkers: this platform has no worker threads of Node; browsers are not served. Decode with mapDataset " +
        "instead, which runs in the page's own thread.",
    );
  }
  return node("node:worker_threads");
}
