import { wasm } from "@nf/backend-wasm";
import { rand, use } from "@nf/core";

/** How calls went after a thread's worker was gone. */
export interface Loss {
  readonly calls: number;
  /** Longest call, in milliseconds. */
  readonly slowest: number;
  /** Different results of the same computation, with those from before. */
  readonly results: readonly number[];
}

interface AnyWorker {
  terminate(): void;
}
type AnyWorkerClass = new (...options: unknown[]) => AnyWorker;

/** Makes a backend of two threads, ends the second's worker behind its back, and computes for some seconds. */
export async function lose(): Promise<Loss> {
  const Worker = Reflect.get(globalThis, "Worker") as AnyWorkerClass;
  const workers: AnyWorker[] = [];
  const Noted = class extends Worker {
    constructor(...options: unknown[]) {
      super(...options);
      workers.push(this);
    }
  };
  Reflect.set(globalThis, "Worker", Noted);
  await use(wasm({ threads: 2 }));
  Reflect.set(globalThis, "Worker", Worker);
  const large = rand([512, 512]);
  const results = new Set([await large.matmul(large).sum().item()]);
  for (const worker of workers) worker.terminate();
  // Chromium gives a worker that does not listen two seconds.
  const end = performance.now() + 3500;
  let [calls, slowest] = [0, 0];
  while (performance.now() < end) {
    const started = performance.now();
    results.add(await large.matmul(large).sum().item());
    slowest = Math.max(slowest, performance.now() - started);
    calls++;
    await new Promise<void>((resolve) => {
      setTimeout(resolve);
    });
  }
  return { calls, slowest, results: [...results] };
}
