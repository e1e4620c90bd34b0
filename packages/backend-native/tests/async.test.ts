import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { cpu } from "@nf/backend-cpu";
import { conformance } from "@nf/conformance";
import * as nf from "@nf/core";
import {
  type Backend,
  contiguousView,
  makeView,
  memory,
  noGrad,
  program,
  releaseMemory,
  Scope,
  scalar as s,
  scope,
  tensor,
  use,
} from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { failureOf } from "../src/async.ts";
import { type NativeOptions, native } from "../src/index.ts";
import { missing } from "./built.ts";
import { blank, run, runMap, upload } from "./helper.ts";

const opened: Backend[] = [];
async function open(options: NativeOptions = {}): Promise<Backend> {
  const backend = await native({ threads: 2, async: true, ...options });
  opened.push(backend);
  return backend;
}
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.dispose();
});

const inc = program("inc", ["f32"], [], ([x]) => s.add(x as s.Expr, 1));
/** Threads of this process, where the system tells. */
const threads = (): number => (existsSync("/proc/self/task") ? readdirSync("/proc/self/task").length : 0);
/** Under AddressSanitizer freed memory is kept back for a while, so that late uses of it are found. */
const sanitized = process.env["NF_SANITIZED"] === "1";
const known = { liveBytes: 5, program: () => undefined };

it("refuses what is no yes or no", async () => {
  await expect(native({ async: 1 } as never)).rejects.toThrow(
    expect.objectContaining({
      code: "NF_OPTION",
      message: expect.stringMatching(/async must be true or false/),
    }),
  );
});

it("makes typed errors of what Rust tells of failures", () => {
  const told: [string, string, RegExp][] = [
    ["late check 4 0 1", "NF_ARITHMETIC", /^gather: .*index/i],
    ["late memory 3 0 4096", "NF_OUT_OF_MEMORY", /matmul asked for 4096 bytes/],
    ["late other 12 0 0 two\nlines", "NF_BACKEND", /conv failed: two\nlines/],
    ["late read 0 0 77", "NF_OUT_OF_MEMORY", /77 bytes/],
    ["late closed 0 0 0", "NF_BACKEND", /dispose\(\)/],
    ["there is no buffer 3", "NF_BACKEND", /no buffer 3/],
  ];
  for (const [text, code, message] of told)
    expect(failureOf(new Error(text), known)).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
});

describe.skipIf(missing !== undefined)("asynchronous work", () => {
  it("leaves the event loop alone while a large product runs", async () => {
    await use(await open());
    const batch = new Scope();
    try {
      const x = batch.run(() => nf.ones([2048, 2048]));
      await x.data();
      const delay = monitorEventLoopDelay({ resolution: 1 });
      let ticks = 0;
      const ticking = setInterval(() => ticks++, 1);
      delay.enable();
      const began = performance.now();
      const results = batch.run(() => Array.from({ length: 4 }, () => x.matmul(x)));
      const dispatched = performance.now() - began;
      const sum = await batch.run(() => (results[3] as nf.Tensor).sum()).item();
      const whole = performance.now() - began;
      delay.disable();
      clearInterval(ticking);
      expect(sum).toBe(2 ** 33);
      expect(dispatched).toBeLessThan(whole / 4);
      expect(ticks).toBeGreaterThan(2);
      // Far less than one of the products takes; loose, because other processes share the machine.
      expect(delay.max / 1e6).toBeLessThan(Math.max(whole / 3, 40));
    } finally {
      batch.dispose();
    }
  });

  it("keeps the order of calls, writes, reads and frees", async () => {
    const backend = await open();
    const x = upload(backend, "f32", [100_000], Array(100_000).fill(0));
    const reads: Promise<Uint8Array>[] = [];
    for (let round = 0; round < 50; round++) {
      const y = blank(backend, "f32", [100_000]);
      runMap(backend, inc, [x], [y]);
      runMap(backend, inc, [y], [x]);
      reads.push(backend.read(y.buffer, 0, 8));
      backend.write(y.buffer, 0, new Uint8Array(8).fill(7));
      backend.free(y.buffer);
    }
    const firsts = (await Promise.all(reads)).map(
      (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset)[1],
    );
    expect(firsts).toEqual(Array.from({ length: 50 }, (_, round) => 2 * round + 1));
    runMap(backend, inc, [x], [x]);
    const now = backend.readSync?.(x.buffer, 0, 400_000) as Uint8Array;
    expect(new Set(new Float32Array(now.buffer))).toEqual(new Set([101]));
  });

  it("rejects what was computed from a call that failed, and nothing else", async () => {
    const backend = await open();
    await use(backend);
    const batch = new Scope();
    const [good, bad, after] = batch.run(() => {
      const table = tensor([1, 2, 3]);
      const index = tensor([0, 2], { dtype: "i32" });
      return [
        nf.take(table, nf.add(index, 0)).mul(2),
        nf.take(table, nf.add(index, 1)).mul(2),
        table.add(1),
      ] as const;
    });
    const reads = await Promise.allSettled([bad.data(), good.data(), bad.data(), after.data()]);
    const code = ["NF_ARITHMETIC", "NF_INDEX"];
    expect(reads.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled"]);
    expect(code).toContain((reads[0] as PromiseRejectedResult).reason.code);
    expect((reads[0] as PromiseRejectedResult).reason.message).toMatch(/index/);
    expect(reads.flatMap((one) => (one.status === "fulfilled" ? [[...one.value]] : []))).toEqual([
      [2, 6],
      [2, 3, 4],
    ]);
    expect(() => bad.dataSync()).toThrow(/index/);
    expect(good.dataSync()[1]).toBe(6);
    // It was told of.
    await backend.synchronize();
    batch.run(
      () => void nf.floorDivide(tensor([1], { dtype: "i32" }), nf.sub(tensor([1], { dtype: "i32" }), 1)),
    );
    await expect(backend.synchronize()).rejects.toThrow(expect.objectContaining({ code: "NF_ARITHMETIC" }));
    await backend.synchronize();
    batch.dispose();
    // The blocks of what failed serve again.
    const once = scope(() => nf.concat([tensor([[1], [2]]), tensor([[3], [4]])], 1));
    expect([...(await once.data())]).toEqual([1, 3, 2, 4]);
    once.dispose();
  });

  it("leaves parameters whose step failed without a value, until one is assigned", async () => {
    const backend = await open();
    await use(backend);
    const weight = nf.parameter(tensor([1, 2]));
    noGrad(() =>
      scope(() => {
        const zero = nf.sub(tensor([1, 1], { dtype: "i32" }), 1);
        nf.assign(weight, nf.cast(nf.floorDivide(tensor([4, 4], { dtype: "i32" }), zero), "f32"));
      }),
    );
    await expect(weight.data()).rejects.toThrow(expect.objectContaining({ code: "NF_ARITHMETIC" }));
    noGrad(() => scope(() => nf.assign(weight, tensor([3, 4]))));
    expect([...(await weight.data())]).toEqual([3, 4]);
    weight.dispose();
  });

  it("refuses misuse at once", async () => {
    const backend = await open();
    const x = upload(backend, "f32", [4], [1, 2, 3, 4]);
    const far = makeView(x.buffer, "f32", [4], [1000], 0);
    expect(() => runMap(backend, inc, [far], [blank(backend, "f32", [4])])).toThrow(/leaves buffer/);
    expect(() => runMap(backend, inc, [x], [blank(backend, "f32", [3])])).toThrow(
      expect.objectContaining({ code: "NF_BACKEND", message: expect.stringMatching(/shape/) }),
    );
    expect(() => backend.readSync?.(x.buffer, 0, 17)).toThrow(/leaves the buffer/);
    await expect(backend.read(x.buffer, 0, 17)).rejects.toThrow(/leaves the buffer/);
    await backend.synchronize();
  });

  it("rejects what waits when it is disposed of, and takes no longer than the call under way", async () => {
    const backend = await open();
    const [x, y] = [blank(backend, "f32", [1024, 1024]), blank(backend, "f32", [1024, 1024])];
    backend.write(x.buffer, 0, new Uint8Array(4 << 20));
    for (let i = 0; i < 200; i++) run(backend, { kernel: "matmul", inputs: [x, x], outputs: [y] });
    const pending = [backend.read(y.buffer, 0, 4 << 20), backend.synchronize()];
    const settled = Promise.allSettled(pending);
    const began = performance.now();
    const first = backend.dispose();
    await Promise.all([first, backend.dispose()]);
    expect(performance.now() - began).toBeLessThan(2_000);
    for (const one of await settled)
      expect(one).toMatchObject({
        status: "rejected",
        reason: { code: "NF_BACKEND", message: expect.stringMatching(/dispose/) },
      });
    expect(() => backend.allocate(1)).toThrow(/after dispose/);
    await expect(backend.synchronize()).rejects.toThrow(/after dispose/);
  });

  it("keeps to maxBytes while blocks that were given back are still in use", async () => {
    const megabyte = 1 << 20;
    const backend = await open({ maxBytes: 10 * megabyte });
    await use(backend);
    for (let round = 0; round < 100; round++) {
      const [x, y] = [backend.allocate(4 * megabyte), backend.allocate(4 * megabyte)];
      const [from, to] = [contiguousView(x, "f32", [megabyte]), contiguousView(y, "f32", [megabyte])];
      runMap(backend, inc, [from], [to]);
      expect(() => backend.allocate(4 * megabyte)).toThrow(
        expect.objectContaining({ code: "NF_OUT_OF_MEMORY", limitBytes: 10 * megabyte }),
      );
      backend.free(x);
      // Waits for the call that still reads x.
      const again = backend.allocate(4 * megabyte);
      backend.free(again);
      backend.free(y);
    }
    expect(memory(backend).liveBuffers).toBe(0);
    releaseMemory(backend);
  });

  it.skipIf(sanitized)(
    "runs a long synchronous loop in constant memory, further ahead than may wait",
    async () => {
      const backend = await open();
      await use(backend);
      const x = nf.zeros([64]);
      const rss: number[] = [];
      for (let step = 0; step < 40_000; step++) {
        scope(() => nf.assign(x, x.add(1)));
        if (step % 10_000 === 9_999) rss.push(process.memoryUsage().rss);
      }
      expect(x.dataSync()[63]).toBe(40_000);
      expect((rss[3] as number) - (rss[1] as number)).toBeLessThan(8 << 20);
      x.dispose();
    },
  );

  it("works with many engines at once, synchronous ones among them", async () => {
    const backends = await Promise.all(Array.from({ length: 6 }, (_, i) => open({ async: i % 3 !== 2 })));
    const results: Promise<nf.HostArray>[] = [];
    const batch = new Scope();
    for (let round = 0; round < 5; round++) {
      for (const backend of backends) {
        await use(backend);
        const product = batch.run(() => nf.full([300, 300], round).matmul(nf.ones([300, 300])));
        results.push(product.data());
      }
    }
    for (const [i, values] of (await Promise.all(results)).entries())
      expect(values[89_999]).toBe(300 * Math.floor(i / backends.length));
    batch.dispose();
  });

  it.skipIf(sanitized)("comes and goes without leaving threads or memory", async () => {
    const count = async (): Promise<void> => {
      const backend = await native({ threads: 2, async: true });
      const x = blank(backend, "f32", [1 << 20]);
      runMap(backend, inc, [x], [x]);
      await backend.dispose();
    };
    for (let i = 0; i < 20; i++) await count();
    const before = process.memoryUsage().rss;
    const threadsBefore = threads();
    for (let i = 0; i < 100; i++) await count();
    expect(process.memoryUsage().rss - before).toBeLessThan(32 << 20);
    // A thread answers before it ends.
    for (let i = 0; i < 100 && threads() > threadsBefore; i++) await sleep(10);
    expect(threads()).toBeLessThanOrEqual(threadsBefore);
  });
});

const dist = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const built = existsSync(dist) && missing === undefined;
if (!built) console.warn("skipped: packages/backend-native/dist is not built; npm test builds it first");

describe.skipIf(!built)("a process with asynchronous work", () => {
  const inNode = (script: string): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8",
      timeout: 25_000,
    });
  const start = `
    import { native } from ${JSON.stringify(dist)};
    import { ones, use } from "@nf/core";
    const backend = await use(native({ threads: 2, async: true }));
    const x = ones([1024, 1024]);`;

  it("does what the README shows", () => {
    const text = readFileSync(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
    const snippet = /```ts[^\n]*\n((?:(?!```)[\s\S])*async: true[\s\S]*?)```/.exec(text)?.[1] as string;
    const { stdout, stderr } = inNode(snippet.replace("@nf/backend-native", dist));
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual(["1099511627776", "true"]);
  });

  it("waits for reads under way, and for nothing else", () => {
    const reading = inNode(`${start} x.matmul(x).sum().item().then((sum) => console.log(sum === 2 ** 30));`);
    expect(reading).toMatchObject({ status: 0, stdout: "true\n", stderr: "" });
    const working = inNode(`${start} for (let i = 0; i < 50; i++) x.matmul(x); console.log("end");`);
    expect(working).toMatchObject({ status: 0, stdout: "end\n", stderr: "" });
  });

  it("may exit in the middle of it", () => {
    const script = `${start} x.matmul(x).data(); for (let i = 0; i < 50; i++) x.matmul(x); process.exit(3);`;
    expect(inNode(script)).toMatchObject({ status: 3, stderr: "" });
  });

  it("does it on worker threads, which may be ended in the middle", () => {
    const worker = `
      import { parentPort } from "node:worker_threads";
      const { native } = await import(${JSON.stringify(dist)});
      const { ones, use } = await import("@nf/core");
      await use(native({ threads: 2, async: true }));
      const x = ones([700, 700]);
      parentPort.postMessage(await x.matmul(x).sum().item());
      for (;;) await x.matmul(x).data();`;
    const { status, stdout, stderr } = inNode(`
      import { Worker } from "node:worker_threads";
      const ended = [];
      for (let round = 0; round < 3; round++) {
        const workers = [0, 1].map(() => new Worker(${JSON.stringify(worker)}, { eval: true }));
        const answer = (worker) => new Promise((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        });
        ended.push(...(await Promise.all(workers.map(answer))));
        await Promise.all(workers.map((worker) => worker.terminate()));
      }
      console.log(new Set(ended));
    `);
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe("Set(1) { 343000000 }");
    expect(status).toBe(0);
  });
});

/** What differs where calls run later; the kernels are those of the other suites. */
const FAMILIES = [
  "transfer",
  "kernels",
  "reduce",
  "fused",
  "transforms",
  "graphs",
  "errors",
  "faults",
  "determinism",
];

describe.skipIf(missing !== undefined)("the suite over asynchronous work", () => {
  conformance(() => native({ threads: 2, async: true }), {
    describe,
    it,
    reference: () => cpu(),
    limited: (maxBytes) => native({ threads: 2, async: true, maxBytes }),
    ...(process.env["NF_NIGHTLY"] === "1" ? { examples: 200 } : { examples: 3, families: FAMILIES }),
  });
});
