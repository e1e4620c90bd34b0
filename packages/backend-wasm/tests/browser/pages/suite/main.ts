import type { Scorecard } from "@nf/conformance";
import { type Run, score } from "./score.ts";

declare class Worker {
  constructor(url: URL, options: { type: "module" });
  postMessage(run: Run): void;
  onmessage: (event: { readonly data: Scorecard }) => void;
  onerror: (event: { readonly message: string }) => void;
  terminate(): void;
}

function scoreInWorker(run: Run): Promise<Scorecard> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(run);
  });
}

Reflect.set(globalThis, "run", { page: score, worker: scoreInWorker });
