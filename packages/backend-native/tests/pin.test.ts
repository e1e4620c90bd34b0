import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as nf from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { type NativeOptions, native, type Pinned, pin } from "../src/index.ts";
import { missing } from "./built.ts";

const opened: nf.Backend[] = [];
async function open(options: NativeOptions = {}): Promise<nf.Backend> {
  const backend = await native({ threads: 2, ...options });
  opened.push(backend);
  return await nf.use(backend);
}
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.dispose();
});

/** Under AddressSanitizer freed memory is kept back for a while. */
const sanitized = process.env["NF_SANITIZED"] === "1";
const listOf = ({ values }: Pinned): number[] => Array.from(values as Float32Array);

describe.skipIf(missing !== undefined)("pin", () => {
  it("shows values without a copy", async () => {
    await open();
    const x = nf.parameter(nf.tensor([1, 2, 3]));
    const seen = pin(x);
    expect(seen.values).toEqual(new Float32Array([1, 2, 3]));
    nf.noGrad(() => nf.scope(() => nf.assign(x, nf.tensor([4, 5, 6]))));
    expect(listOf(seen)).toEqual([4, 5, 6]);
    // A second look at part of the same memory ends alone.
    const part = pin(nf.slice(x.detach(), [1, 3]));
    expect(listOf(part)).toEqual([5, 6]);
    part.release();
    expect([part.values.length, listOf(seen)]).toEqual([0, [4, 5, 6]]);
    for (const [dtype, Kind] of [
      ["f64", Float64Array],
      ["i32", Int32Array],
      ["u8", Uint8Array],
      ["bool", Uint8Array],
    ] as const)
      expect(pin(nf.tensor([1, 0, 1], { dtype })).values).toEqual(new Kind([1, 0, 1]));
    expect(pin(nf.zeros([0, 4])).values.length).toBe(0);
  });

  it("keeps the memory of a tensor that ended, until it is released", async () => {
    const backend = await open();
    const before = nf.memory(backend).liveBytes;
    const seen = nf.scope(() => pin(nf.full([5000], 3)));
    expect(nf.memory(backend).liveBytes).toBeGreaterThan(before);
    // Whatever would take the place of what was given back.
    nf.scope(() => void Array.from({ length: 20 }, () => nf.full([5000], 7).add(1)));
    nf.releaseMemory(backend);
    nf.scope(() => void Array.from({ length: 20 }, () => nf.full([5000], 7).add(1)));
    expect(new Set(seen.values)).toEqual(new Set([3]));
    seen.release();
    seen.release();
    expect(seen.values.length).toBe(0);
    expect(seen.values.buffer.byteLength).toBe(0);
    expect(nf.memory(backend).liveBytes).toBe(before);
  });

  it("lets memory go that nothing of was seen", async () => {
    const backend = await open();
    const before = nf.memory(backend).liveBytes;
    const seen = nf.scope(() => pin(nf.slice(nf.full([5000], 3), [0, 0])));
    expect(seen.values.length).toBe(0);
    seen.release();
    expect(nf.memory(backend).liveBytes).toBe(before);
  });

  it("holds many at once", { timeout: 10_000 }, async () => {
    const backend = await open();
    const before = nf.memory(backend).liveBytes;
    const all = nf.scope(() => Array.from({ length: 20_000 }, (_, i) => pin(nf.full([4], i))));
    expect(all.every(({ values }, i) => values[3] === i)).toBe(true);
    for (const seen of all) seen.release();
    expect(nf.memory(backend).liveBytes).toBe(before);
  });

  it("outlives the backend", async () => {
    for (const later of [false, true]) {
      const backend = await open({ async: later });
      const x = nf.full([100_000], 2).mul(4);
      await backend.synchronize();
      const [seen, other] = [pin(x), pin(x)];
      await backend.dispose();
      const next = await open();
      nf.scope(() => void Array.from({ length: 20 }, () => nf.full([100_000], 7).add(1)));
      expect(new Set(seen.values)).toEqual(new Set([8]));
      seen.release();
      expect([seen.values.length, new Set(other.values)]).toEqual([0, new Set([8])]);
      other.release();
      await next.dispose();
    }
  });

  it("says what it does not take", async () => {
    await open();
    const x = nf.tensor([
      [1, 2],
      [3, 4],
    ]);
    const [turned, short, gone] = [x.transpose(), nf.cast(x, "bf16"), x.add(1)];
    gone.dispose();
    const before = nf.memory(x.backend).liveTensors;
    expect(() => pin(turned)).toThrow(
      expect.objectContaining({ code: "NF_UNSUPPORTED", message: expect.stringMatching(/row-major/) }),
    );
    expect(() => pin(short)).toThrow(expect.objectContaining({ code: "NF_UNSUPPORTED" }));
    expect(() => pin(gone)).toThrow(nf.LifetimeError);
    expect(x.dataSync().buffer.byteLength).toBe(16);
    expect(nf.memory(x.backend).liveTensors).toBe(before);
    expect(listOf(pin(nf.clone(turned)))).toEqual([1, 3, 2, 4]);
    await nf.use(nf.nullBackend());
    expect(() => pin(nf.zeros([2]))).toThrow(/lives on null; pin works on native alone/);
  });

  it("looks through decorators", async () => {
    const backend = await native({ threads: 2 });
    await nf.use(nf.validate(nf.profile(backend)));
    const seen = pin(nf.tensor([1, 2]).add(1));
    expect(listOf(seen)).toEqual([2, 3]);
    seen.release();
    await backend.dispose();
  });

  it("waits for nobody where work is asynchronous, and refuses instead", async () => {
    const backend = await open({ async: true });
    const x = nf.ones([600, 600]);
    const product = x.matmul(x).matmul(x);
    expect(() => pin(product)).toThrow(/synchronize/);
    await backend.synchronize();
    expect(pin(product).values[7]).toBe(360_000);
    const bad = nf.take(nf.tensor([1, 2]), nf.add(nf.tensor([5], { dtype: "i32" }), 0));
    await backend.synchronize().catch(() => undefined);
    expect(() => pin(bad)).toThrow(expect.objectContaining({ message: expect.stringMatching(/index/) }));
  });

  it("leaves its memory where it is, whatever is sent to another thread", async () => {
    await open();
    const { values } = pin(nf.tensor([1, 2, 3]));
    try {
      // Node copies it all the same, or refuses: by its version.
      const sent = structuredClone(values, { transfer: [values.buffer as ArrayBuffer] });
      expect(sent).toEqual(new Float32Array([1, 2, 3]));
    } catch (error) {
      expect(error).toMatchObject({ name: "DataCloneError" });
    }
    expect(structuredClone(values)).toEqual(new Float32Array([1, 2, 3]));
    expect(values[2]).toBe(3);
  });
});

const dist = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const built = existsSync(dist) && missing === undefined;
if (!built) console.warn("skipped: packages/backend-native/dist is not built; npm test builds it first");

describe.skipIf(!built)("pin in a process of its own", () => {
  const inNode = (script: string): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", script], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8",
      timeout: 25_000,
    });
  const start = `
    import { native, pin } from ${JSON.stringify(dist)};
    import { full, memory, scope, use } from "@nf/core";
    import { setTimeout as sleep } from "node:timers/promises";
    const backend = await use(native({ threads: 2 }));`;

  it("does what the README shows", () => {
    const text = readFileSync(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
    const snippet = /```ts[^\n]*\n((?:(?!```)[\s\S])*pin\([\s\S]*?)```/.exec(text)?.[1] as string;
    const { stdout, stderr } = inNode(snippet.replace("@nf/backend-native", dist));
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual(["4", "0"]);
  });

  it.skipIf(sanitized)("gives memory back when nobody has the values any more", () => {
    const { stdout, stderr, status } = inNode(`${start}
      const before = memory(backend).liveBytes;
      let [one, two] = [scope(() => pin(full([1 << 20], 3)).values), scope(() => pin(full([1 << 20], 4)).values)];
      one = undefined;
      for (let i = 0; i < 100 && memory(backend).liveBytes - before > 5 << 20; i++) { gc(); await sleep(5); }
      console.log(memory(backend).liveBytes - before < 5 << 20, two[9]);
      const first = process.memoryUsage().rss;
      for (let i = 0; i < 300; i++) { scope(() => pin(full([1 << 20], i)).values); if (i % 10 === 0) { gc(); await sleep(1); } }
      console.log(process.memoryUsage().rss - first < 400 << 20, two[1 << 19]);
    `);
    expect({ stderr, status, stdout }).toEqual({ stderr: "", status: 0, stdout: "true 4\ntrue 4\n" });
  });

  it("works on worker threads, which may end while somebody looks", () => {
    const worker = `
      import { parentPort } from "node:worker_threads";
      const { native, pin } = await import(${JSON.stringify(dist)});
      const { ones, use } = await import("@nf/core");
      await use(native({ threads: 2 }));
      const kept = Array.from({ length: 50 }, (_, i) => pin(ones([1000]).mul(i)));
      kept[0].release();
      parentPort.postMessage(kept[49].values);
      setInterval(() => kept, 1000);`;
    const { status, stdout, stderr } = inNode(`
      import { Worker } from "node:worker_threads";
      for (let round = 0; round < 3; round++) {
        const workers = [0, 1].map(() => new Worker(${JSON.stringify(worker)}, { eval: true }));
        const answers = await Promise.all(workers.map((one) => new Promise((resolve, reject) => {
          one.once("message", resolve);
          one.once("error", reject);
        })));
        await Promise.all(workers.map((one) => one.terminate()));
        console.log(answers.map((values) => values[999] + values.length).join());
      }`);
    expect({ stderr, status, stdout }).toEqual({ stderr: "", status: 0, stdout: "1049,1049\n".repeat(3) });
  });
});
