import { lose } from "./lost.ts";
import { type Report, work } from "./work.ts";

declare class Worker {
  constructor(url: URL, options: { type: "module" });
  onmessage: (event: { readonly data: Report }) => void;
  onerror: (event: { readonly message: string }) => void;
  terminate(): void;
}

function workInWorker(): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = ({ message }) => reject(new Error(message));
  });
}

Reflect.set(globalThis, "run", { page: work, worker: workInWorker, lose });
