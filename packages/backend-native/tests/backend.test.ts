import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { type Backend, type BackendBuffer, makeView, NanoFluxError, program, scalar as s } from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { loadBinding } from "../src/binding.ts";
import { createBackend, native } from "../src/index.ts";
import { defaultMaxBytes } from "../src/options.ts";
import { missing } from "./built.ts";
import { blank, download, run, runMap, upload } from "./helper.ts";

const opened: Backend[] = [];
async function open(options: Parameters<typeof native>[0] = { threads: 2 }): Promise<Backend> {
  const backend = await native(options);
  opened.push(backend);
  return backend;
}
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.dispose();
});

const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);
const inc = program("inc", ["f32"], [], ([x]) => s.add(x as s.Expr, 1));
const swish = program("swish", ["f32"], ["f32"], ([x], [k]) =>
  s.div(s.mul(x as s.Expr, k as s.Expr), s.add(s.exp(s.neg(x as s.Expr)), 1)),
);

it("refuses unknown options and values out of their domain, with or without a binary", async () => {
  const wrong: [object, RegExp][] = [
    [{ relaxed: true }, /unknown option "relaxed".*threads, maxBytes/],
    [{ threads: 0 }, /threads must be/],
    [{ threads: 1.5 }, /threads must be/],
    [{ threads: 1000 }, /threads must be/],
    [{ maxBytes: -1 }, /maxBytes must be/],
    [{ matmulPrecision: "f16" }, /matmulPrecision must be "f32" or "bf16", got "f16"/],
    [{ matmulPrecision: null }, /matmulPrecision must be/],
  ];
  for (const [options, message] of wrong) {
    await expect(native(options)).rejects.toThrow(
      expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(message) }),
    );
  }
});

it("limits itself to what the process may have, and to what the machine has", () => {
  expect(defaultMaxBytes(0, 100)).toBe(100);
  expect(defaultMaxBytes(40, 100)).toBe(40);
  expect(defaultMaxBytes(2 ** 63, 100)).toBe(100);
  expect(defaultMaxBytes(undefined, 100)).toBeLessThanOrEqual(100);
});

describe.skipIf(missing !== undefined)("native backend", () => {
  it("is one function under two names", () => {
    expect(native).toBe(createBackend);
  });

  it("reads what was written, as a copy", async () => {
    const backend = await open();
    const buffer = backend.allocate(10);
    backend.write(buffer, 0, Uint8Array.from([...Array(10).keys()]));
    backend.write(buffer, 3, Uint8Array.from([77, 78]));
    const part = await backend.read(buffer, 2, 4);
    expect([...part]).toEqual([2, 77, 78, 5]);
    part[0] = 99;
    expect([...(await backend.read(buffer, 0, 3))]).toEqual([0, 1, 2]);
    await backend.synchronize();
  });

  it("throws by name after free, double free, for foreign buffers, out of range and after its end", async () => {
    const [backend, other] = [await open(), await open()];
    const x = upload(backend, "f32", [2], [1, 2]);
    const y = blank(backend, "f32", [2]);
    const foreign = blank(other, "f32", [2]);
    backend.free(x.buffer);
    const cases: [() => unknown, RegExp][] = [
      [() => backend.free(x.buffer), /already freed/],
      [() => backend.write(x.buffer, 0, new Uint8Array(1)), /already freed/],
      [() => runMap(backend, copy, [x], [y]), /map .*already freed/],
      [() => runMap(backend, copy, [foreign], [y]), /another backend/],
      [() => backend.free({ byteLength: 8 }), /another backend/],
      [() => backend.write(y.buffer, 5, new Uint8Array(4)), /bytes 5 to 9 leaves the buffer of 8/],
      [() => backend.readSync?.(y.buffer, -1, 2), /leaves the buffer/],
      [() => backend.readSync?.(y.buffer, Number.NaN, 2), /leaves the buffer/],
    ];
    for (const [act, message] of cases) {
      expect(act).toThrow(
        expect.objectContaining({ code: "NF_BACKEND", message: expect.stringMatching(message) }),
      );
      expect(act).toThrow(NanoFluxError);
    }
    expect(download(backend, y)).toEqual([99, 99]);
    await backend.dispose();
    await backend.dispose();
    expect(() => backend.allocate(1)).toThrow(/after dispose/);
  });

  it("finds views that leave their buffer, and goes on", async () => {
    const backend = await open();
    const x = upload(backend, "f32", [4], [1, 2, 3, 4]);
    const far = makeView(x.buffer, "f32", [2, 2], [1000, 1], 0);
    const before = makeView(x.buffer, "f32", [4], [-1], 0);
    for (const view of [far, before]) {
      expect(() => runMap(backend, copy, [view], [blank(backend, "f32", view.shape)])).toThrow(
        expect.objectContaining({ code: "NF_BACKEND", message: expect.stringMatching(/leaves buffer/) }),
      );
    }
    runMap(backend, inc, [x], [x]);
    expect(download(backend, x)).toEqual([2, 3, 4, 5]);
  });

  it("keeps to maxBytes, 100 times of 100", async () => {
    const backend = await open({ threads: 1, maxBytes: 256 });
    for (let round = 0; round < 100; round++) {
      const kept = backend.allocate(150);
      expect(() => backend.allocate(100)).toThrow(
        expect.objectContaining({
          code: "NF_OUT_OF_MEMORY",
          requestedBytes: 100,
          limitBytes: 256,
          message: expect.stringMatching(/100 bytes.*192 are in use.*256/),
        }),
      );
      const small = backend.allocate(64);
      backend.free(kept);
      backend.free(small);
    }
  });

  it("keeps to the machine's memory where no limit is given, 100 times of 100", async () => {
    const limit = defaultMaxBytes();
    expect(limit).toBeLessThanOrEqual(totalmem());
    const backend = await open();
    const most = backend.capabilities.maxBufferBytes;
    expect(most).toBe(Math.min(limit, 2 ** 32));
    // Untouched memory is promised, not used. Where a system promises no more than it has, it refuses earlier.
    const kept: BackendBuffer[] = [];
    const fill = (): void => {
      for (;;) kept.push(backend.allocate(most));
    };
    expect(fill).toThrow(expect.objectContaining({ code: "NF_OUT_OF_MEMORY" }));
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.length * most).toBeLessThanOrEqual(limit);
    for (let round = 0; round < 100; round++) {
      expect(() => backend.allocate(most)).toThrow(
        expect.objectContaining({ code: "NF_OUT_OF_MEMORY", requestedBytes: most }),
      );
    }
    backend.free(kept.pop() as BackendBuffer);
    const x = upload(backend, "f32", [2], [1, 2]);
    runMap(backend, inc, [x], [x]);
    expect(download(backend, x)).toEqual([2, 3]);
    for (const buffer of kept) backend.free(buffer);
  });

  it("turns panics into errors, on this thread and on others of the pool, and goes on", async () => {
    const backend = await open({ threads: 2 });
    const binding = loadBinding();
    for (const inPool of [false, true]) {
      expect(() => binding.panicOnPurpose(inPool)).toThrow(/a planted panic/);
      const x = upload(backend, "f32", [2], [1, 2]);
      runMap(backend, inc, [x], [x]);
      expect(download(backend, x)).toEqual([2, 3]);
    }
  });

  it("passes a great many views at once", async () => {
    const backend = await open();
    const groups = 400;
    const views = Array.from({ length: groups }, (_, i) => upload(backend, "f32", [3], [i, i + 1, i + 2]));
    run(backend, {
      kernel: "mapMany",
      program: inc,
      inputs: views,
      outputs: views,
      attributes: { groups },
    });
    expect(views.map((view) => download(backend, view)[0])).toEqual(views.map((_, i) => i + 1));
  });

  it("gives the same bits for 1, 2, 4 and 8 threads", async () => {
    const wanted = results(await open({ threads: 1 }));
    for (const threads of [2, 4, 8]) {
      const backend = await open({ threads });
      expect(backend.capabilities.threads).toBe(threads);
      for (const [i, bytes] of results(backend).entries())
        expect(Buffer.compare(bytes, wanted[i] as Uint8Array), `${threads} threads, result ${i}`).toBe(0);
    }
  });

  it("says so where more threads are asked for than the process began with", async () => {
    await open();
    await expect(native({ threads: 200 })).rejects.toThrow(
      expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(/a pool of \d+/) }),
    );
  });
});

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
    const attributes = { kinds: ["sum"], axes } as const;
    run(backend, { kernel: "reduce", program: copy, inputs: [x], outputs: [sum], attributes });
    keep(sum);
  }
  const transposed = makeView(x.buffer, "f32", [509, 613], [1, 509], 0);
  for (const [a, b] of [
    [x, transposed],
    [transposed, x],
  ] as const) {
    const product = blank(backend, "f32", [a.shape[0] as number, b.shape[1] as number]);
    run(backend, { kernel: "matmul", inputs: [a, b], outputs: [product] });
    keep(product);
  }
  const scanned = blank(backend, "f32", [613, 509]);
  const attributes = { kind: "sum", axis: 0, reverse: false } as const;
  run(backend, { kernel: "scan", inputs: [x], outputs: [scanned], attributes });
  keep(scanned);
  return collected;
}

const dist = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const built = existsSync(dist) && missing === undefined;
if (!built) console.warn("skipped: packages/backend-native/dist is not built; npm test builds it first");

describe.skipIf(!built)("a process with the built package", () => {
  const inNode = (script: string): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8",
      timeout: 25_000,
    });

  it("ends by itself when nothing else runs, its backend still open", () => {
    const { status, stdout } = inNode(`
      import { native } from ${JSON.stringify(dist)};
      import { tensor, use } from "@nf/core";
      await use(native({ threads: 4 }));
      const x = tensor(Array.from({ length: 100000 }, () => 2));
      console.log(await x.mul(x).sum().item());
    `);
    expect(stdout.trim()).toBe("400000");
    expect(status).toBe(0);
  });

  const hasPrlimit = process.platform === "linux" && spawnSync("prlimit", ["--version"]).status === 0;
  if (!hasPrlimit) console.warn("skipped: little address space; prlimit is not there");
  it.skipIf(!hasPrlimit)("goes on where an allocation fails in the middle of a kernel", () => {
    const { status, stdout, stderr } = inNode(`
      import { spawnSync } from "node:child_process";
      import { readFileSync } from "node:fs";
      import { native } from ${JSON.stringify(dist)};
      import { contiguousView, makeView } from "@nf/core";
      const backend = await native({ threads: 2 });
      const shape = [1, 1, 12000, 12000];
      const one = backend.allocate(4);
      backend.write(one, 0, new Uint8Array(4));
      const out = backend.allocate(12000 * 12000 * 4);
      const pads = [[0, 0], [0, 0]];
      const pool = (size, result) => backend.execute({
        kernel: "pool", params: [], buffers: [one, result],
        inputs: [makeView(one, "f32", size, [0, 0, 0, 0], 0)], outputs: [contiguousView(result, "f32", size)],
        attributes: {
          pass: "forward", kind: "mean", kernelSize: [1, 1], stride: [1, 1], dilation: [1, 1], padding: pads,
          countedPadding: pads, countIncludePad: true,
        },
      });
      const used = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
      const limit = used + (400 << 20);
      const { status } = spawnSync("prlimit", ["--pid", String(process.pid), "--as=" + limit + ":" + limit]);
      const codes = new Set();
      for (let i = 0; i < 20; i++) {
        try { pool(shape, out); codes.add("none"); } catch (error) { codes.add(error.code); }
        pool([1, 1, 20, 20], out);
      }
      console.log(status, [...codes].join());
    `);
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe("0 NF_OUT_OF_MEMORY");
    expect(status).toBe(0);
  });

  it("works on worker threads beside the main one, whoever comes first and ends", () => {
    const work = `
      const { native } = await import(${JSON.stringify(dist)});
      const { tensor, use } = await import("@nf/core");
      await use(native({ threads: 2 }));
      const x = tensor(Array.from({ length: 200000 }, (_, i) => i % 7));
      let total = 0;
      for (let i = 0; i < 20; i++) total += x.mul(x).sum().dataSync()[0];`;
    const { status, stdout, stderr } = inNode(`
      import { Worker } from "node:worker_threads";
      const source = ${JSON.stringify(`import { parentPort } from "node:worker_threads";${work} parentPort.postMessage(total);`)};
      const inWorker = () => new Promise((resolve, reject) => {
        const worker = new Worker(source, { eval: true });
        worker.once("message", resolve);
        worker.once("error", reject);
      });
      const first = await inWorker();
      const both = await Promise.all([inWorker(), inWorker()]);
      ${work}
      console.log(new Set([first, ...both, total]).size, total > 0);
    `);
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe("1 true");
    expect(status).toBe(0);
  });
});
