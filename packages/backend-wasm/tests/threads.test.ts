import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { type Backend, type Call, makeView, program, scalar as s } from "@nf/core";
import { describe, expect, it } from "vitest";
import { WasmBackend } from "../src/backend.ts";
import { Engine } from "../src/engine.ts";
import { wasm } from "../src/index.ts";
import type { AnyWorker } from "../src/platform.ts";
import { blank, callOf, download, run, runMap, upload } from "./helper.ts";

const swish = program("swish", ["f32"], ["f32"], ([x], [k]) =>
  s.div(s.mul(x as s.Expr, k as s.Expr), s.add(s.exp(s.neg(x as s.Expr)), 1)),
);
const square = program("square", ["f32"], [], ([x]) => s.mul(x as s.Expr, x as s.Expr));

/** Results of kernels large enough to be shared, as bits. */
function results(backend: Backend): Uint8Array[] {
  const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 3);
  const collected: Uint8Array[] = [];
  const keep = (view: ReturnType<typeof blank>): void =>
    void collected.push(backend.readSync?.(view.buffer, 0, view.buffer.byteLength) as Uint8Array);
  const x = upload(backend, "f32", [613, 509], numbers(613 * 509));
  const map = blank(backend, "f32", [613, 509]);
  runMap(backend, swish, [x], [map], [1.5]);
  keep(map);
  for (const axes of [[0], [1], [0, 1]]) {
    const shape = [613, 509].map((size, axis) => (axes.includes(axis) ? 1 : size));
    const sum = blank(backend, "f32", shape);
    run(backend, {
      kernel: "reduce",
      program: square,
      inputs: [x],
      outputs: [sum],
      attributes: { kinds: ["sum"], axes },
    });
    keep(sum);
  }
  const product = blank(backend, "f32", [613, 613]);
  const transposed = makeView(x.buffer, "f32", [509, 613], [1, 509], 0);
  run(backend, { kernel: "matmul", inputs: [x, transposed], outputs: [product] });
  keep(product);
  const scanned = blank(backend, "f32", [613, 509]);
  const attributes = { kind: "sum", axis: 0, reverse: false } as const;
  run(backend, { kernel: "scan", inputs: [x], outputs: [scanned], attributes });
  keep(scanned);
  return collected;
}

const lost = expect.objectContaining({
  code: "NF_BACKEND",
  message: expect.stringMatching(/a worker was lost.*Create a new backend/),
});

async function engineOf(threads: number): Promise<Engine> {
  return Engine.create({ threads, relaxed: "auto" });
}

describe("threads", () => {
  it("give the same bits for 1, 2, 4 and 8", async () => {
    const one = await wasm({ threads: 1 });
    const wanted = results(one);
    await one.dispose();
    for (const threads of [2, 4, 8]) {
      const backend = await wasm({ threads });
      expect(backend.capabilities.threads).toBe(threads);
      const got = results(backend);
      for (const [i, bytes] of got.entries())
        expect(Buffer.compare(bytes, wanted[i] as Uint8Array), `${i}`).toBe(0);
      await backend.dispose();
    }
  });

  it("survive ten thousand jobs that hand over and sleep in between", async () => {
    const backend = await wasm({ threads: 3 });
    const n = 40_000;
    const x = upload(backend, "f32", [n], new Array<number>(n).fill(0));
    const inc = program("inc", ["f32"], [], ([v]) => s.add(v as s.Expr, 1));
    for (let i = 0; i < 10_000; i++) {
      runMap(backend, inc, [x], [x]);
      if (i % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
    }
    expect(new Set(download(backend, x))).toEqual(new Set([10_000]));
    await backend.dispose();
  });

  it("report a worker that ended", async () => {
    const engine = await engineOf(2);
    const backend = new WasmBackend(engine, Infinity);
    const x = blank(backend, "f32", [8]);
    await engine.workers[0]?.terminate();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(() => runMap(backend, square, [x], [x])).toThrow(lost);
    await backend.dispose();
  });

  it("report a worker that dies within a job in two seconds, and a new backend works", async () => {
    const engine = await engineOf(2);
    const backend = new WasmBackend(engine, Infinity);
    const n = 4_000_000;
    const x = blank(backend, "f32", [n]);
    // Its end goes unheard; in its place another claims a part of the next job, and is gone.
    const [worker] = engine.workers as (AnyWorker | Worker)[] as Worker[];
    worker?.removeAllListeners("exit");
    await worker?.terminate();
    const word = engine.kernel("pool_address")(0) >>> 2;
    const claims = new Worker(
      `const { parentPort, workerData: [memory, at] } = require("node:worker_threads");
       const words = new Int32Array(memory);
       parentPort.postMessage("ready");
       for (let seen; ; ) {
         seen = Atomics.load(words, at);
         if ((seen & 0xffff) !== 0 && Atomics.compareExchange(words, at, seen, seen - 1) === seen) break;
       }`,
      { eval: true, workerData: [engine.i32.buffer, word] },
    );
    await new Promise((resolve) => claims.once("message", resolve));
    // The claim may come while this thread has a job, or a moment after its last part.
    const began = performance.now();
    const repeat = (): void => {
      while (performance.now() - began < 5000) runMap(backend, square, [x], [x]);
    };
    expect(repeat).toThrow(/lost while it computed/);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(() => runMap(backend, square, [x], [x])).toThrow(lost);
    await backend.dispose();
    const next = await wasm({ threads: 2 });
    const y = blank(next, "f32", [n]);
    runMap(next, square, [upload(next, "f32", [n], new Array<number>(n).fill(3))], [y]);
    expect(download(next, y)[n - 1]).toBe(9);
    await next.dispose();
  }, 30_000);

  it("say why a trap ended the backend", async () => {
    const engine = await engineOf(2);
    const backend = new WasmBackend(engine, Infinity);
    const x = blank(backend, "f32", [8]);
    // An address that no memory has.
    Object.defineProperty(x.buffer, "address", { value: 2 ** 32 - 65_536 });
    const call: Call = callOf({ kernel: "map", program: square, inputs: [x], outputs: [x] });
    expect(() => backend.execute(call)).toThrow(
      expect.objectContaining({
        code: "NF_BACKEND",
        message: expect.stringMatching(/kernel "map" failed.*Create a new backend/),
      }),
    );
    await backend.dispose();
  });
});

const dist = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const built = existsSync(dist);
if (!built) console.warn("skipped: packages/backend-wasm/dist is not built; npm test builds it first");

describe.skipIf(!built)("a process with the built package", () => {
  const inNode = (script: string): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8",
      timeout: 20_000,
    });

  it("ends by itself when nothing else runs, its backend still open", () => {
    const { status, stdout } = inNode(`
      import { wasm } from ${JSON.stringify(dist)};
      import { tensor, use } from "@nf/core";
      await use(wasm({ threads: 4 }));
      const x = tensor(Array.from({ length: 100000 }, () => 2));
      console.log(await x.mul(x).sum().item());
    `);
    expect(stdout.trim()).toBe("400000");
    expect(status).toBe(0);
  });

  it("runs on one thread without workers, and says why in one line", () => {
    const { status, stdout, stderr } = inNode(`
      process.getBuiltinModule = undefined;
      const { readFileSync } = await import("node:fs");
      globalThis.fetch = async (url) => new Response(readFileSync(url));
      const { wasm } = await import(${JSON.stringify(dist)});
      const backend = await wasm({ threads: 4 });
      console.log(backend.capabilities.threads);
    `);
    expect(stderr.trim()).toBe("wasm: one thread, because workers do not exist here.");
    expect(stdout.trim()).toBe("1");
    expect(status).toBe(0);
  });
});
