import { type AnyWorker, globalNamed, nodeModule } from "./platform.ts";
import { WORKER_SOURCE, type WorkerStart } from "./worker.ts";

/** Longest time a worker may take to start, in milliseconds. */
const START_LIMIT = 15_000;

/** Why there can be one thread only, or undefined where workers on shared memory are possible. */
export function singleThreadReason(): string | undefined {
  if (nodeModule("node:worker_threads") !== undefined) return undefined;
  if (globalNamed("Worker") === undefined) return "workers do not exist here";
  if (globalNamed("crossOriginIsolated") !== true) {
    return (
      "the page is not cross-origin isolated (its server must send Cross-Origin-Opener-Policy: same-origin " +
      "and Cross-Origin-Embedder-Policy: require-corp)"
    );
  }
  return undefined;
}

/** Whether this thread may sleep: browsers forbid it to a page's main thread. */
export function mayWait(): boolean {
  return nodeModule("node:worker_threads") !== undefined || globalNamed("document") === undefined;
}

/**
 * Starts a worker and resolves when it is in the pool. From then on it does not keep Node's process alive.
 *
 * @param lost called when it ends or fails later
 */
export function startWorker(start: WorkerStart, lost: (why: string) => void): Promise<AnyWorker> {
  return new Promise((resolve, reject) => {
    const worker = makeWorker(`nanoflux-${start.thread}`);
    const timer = setTimeout(
      () => fail(`it did not start within ${START_LIMIT / 1000} seconds`),
      START_LIMIT,
    );
    let running = false;
    const fail = (why: string): void => {
      clearTimeout(timer);
      if (running) {
        lost(why);
        return;
      }
      void worker.terminate();
      reject(new Error(why));
    };
    const ready = (): void => {
      clearTimeout(timer);
      running = true;
      worker.unref?.();
      resolve(worker);
    };
    if (worker.on !== undefined) {
      worker.on("message", ready);
      worker.on("error", (error) => fail(messageOf(error)));
      worker.on("exit", () => fail("it ended"));
    } else {
      worker.addEventListener?.("message", ready);
      worker.addEventListener?.("error", (event) => fail(messageOf(event)));
    }
    worker.postMessage(start);
  });
}

function messageOf(error: unknown): string {
  const { message } = error as { readonly message?: unknown };
  if (typeof message === "string" && message !== "") return message;
  // Browsers say no more than that when they did not get as far as the worker's first line.
  return "its script was not run (a Content-Security-Policy has to allow worker-src blob:)";
}

function makeWorker(name: string): AnyWorker {
  const threads = nodeModule("node:worker_threads");
  if (threads !== undefined) {
    return new threads.Worker(WORKER_SOURCE, { eval: true, name, stdout: false, stderr: false });
  }
  const api = globalNamed("URL") as {
    createObjectURL(blob: unknown): string;
    revokeObjectURL(url: string): void;
  };
  const Blob = globalNamed("Blob") as new (parts: readonly string[], options: { type: string }) => unknown;
  const Worker = globalNamed("Worker") as new (url: string, options: { name: string }) => AnyWorker;
  const url = api.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
  try {
    return new Worker(url, { name });
  } finally {
    // The worker has its own hold on the text by then.
    setTimeout(() => api.revokeObjectURL(url), START_LIMIT);
  }
}
