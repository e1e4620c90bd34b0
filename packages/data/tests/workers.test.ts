import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cpu } from "@nf/backend-cpu";
import { use } from "@nf/core";
import { build } from "esbuild";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  type AnyDataset,
  ArrayDataset,
  DataLoader,
  type Dataset,
  type DecodedDataset,
  decodeInWorkers,
  mapDataset,
  NdArray,
  WorkerError,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const module = new URL("./fixtures/decode.mjs", import.meta.url);
const numbers = (length: number): Dataset<number> => ({ length, get: (index) => index });

async function using<Out, T>(
  dataset: AnyDataset,
  name: string,
  workers: number,
  run: (decoded: DecodedDataset<Out>) => Promise<T>,
): Promise<T> {
  const decoded = decodeInWorkers<Out>(dataset, { module, function: name, workers });
  try {
    return await run(decoded);
  } finally {
    await decoded.close();
  }
}

describe("decodeInWorkers", () => {
  it("gives the same batches on any number of workers, and resumes in the middle of an epoch", async () => {
    const options = { batchSize: 3, shuffle: true, seed: 5, prefetch: 3 };
    const epochs = async (dataset: Dataset<NdArray>): Promise<{ batches: string[]; states: string[] }> => {
      const loader = new DataLoader(dataset, options);
      const batches: string[] = [];
      const states: string[] = [];
      while (loader.epoch < 2) {
        for await (const batch of loader) {
          batches.push(String(await batch.data()));
          states.push(JSON.stringify(loader.state()));
        }
      }
      return { batches, states };
    };
    const alone = await epochs(
      mapDataset(numbers(14), (item) => new NdArray(Int32Array.of(item, item + 1), [2])),
    );
    expect(alone.batches).toHaveLength(10);
    for (const workers of [1, 2, 3]) {
      await using<NdArray, void>(numbers(14), "slow", workers, async (decoded) => {
        expect(await epochs(decoded)).toEqual(alone);
        const resumed = new DataLoader(decoded, options);
        resumed.setState(JSON.parse(alone.states[3] as string));
        const rest: string[] = [];
        while (resumed.epoch < 2) for await (const batch of resumed) rest.push(String(await batch.data()));
        expect(rest).toEqual(alone.batches.slice(4));
      });
    }
  });

  it("tells index and epoch, and takes arrays there and back without the memory around them", async () => {
    const rows = new ArrayDataset({ x: Float32Array.of(1, 2, 3) });
    await using<{ y: Float32Array; at: number[] }, void>(rows, "square", 1, async (decoded) => {
      expect(await decoded.get(2, 4)).toEqual({ y: Float32Array.of(9), at: [2, 4] });
      expect(rows.columns.x.data).toEqual(Float32Array.of(1, 2, 3));
    });
    await using<Float32Array, void>(numbers(3), "view", 1, async (decoded) => {
      const [a, b] = await Promise.all([decoded.get(1), decoded.get(2)]);
      expect([a, b]).toEqual([Float32Array.of(1, 1), Float32Array.of(2, 2)]);
      expect(a.buffer.byteLength).toBe(8);
    });
  });

  it("names worker and item when the function fails, and goes on", async () => {
    await using<number, void>(numbers(6), "fails", 1, async (decoded) => {
      const error: unknown = await Promise.resolve(decoded.get(3)).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(WorkerError);
      expect(error).toMatchObject({ code: "NF_DATA", worker: 0, item: 3 });
      expect(String(error)).toMatch(
        /worker 0, running fails of file:.*decode\.mjs, failed at item 3: no picture/,
      );
      expect(await decoded.get(4)).toBe(4);
      const loop = async (): Promise<void> => {
        for await (const _ of new DataLoader(decoded, { batchSize: 2 }));
      };
      await expect(loop()).rejects.toMatchObject({ item: 3 });
    });
  });

  it("names a worker that ended, and starts another", async () => {
    await using<number, void>(numbers(6), "ends", 2, async (decoded) => {
      await expect(decoded.get(2)).rejects.toMatchObject({
        code: "NF_DATA",
        worker: 0,
        message: expect.stringMatching(/worker 0.* is gone: it ended with code 7/),
      });
      expect(await Promise.all([0, 1, 3].map((index) => decoded.get(index)))).toEqual([0, 1, 3]);
    });
  });

  it("says what is wrong with the module, the function or the data", async () => {
    const reason = (name: string, dataset: AnyDataset = numbers(1)): Promise<string> =>
      using(dataset, name, 1, (decoded) => Promise.resolve(decoded.get(0)).then(String, String));
    expect(await reason("missing")).toContain("the module has no function missing; it exports ends, fails");
    expect(await reason("notAFunction")).toContain("no function notAFunction");
    expect(await reason("unsendable")).toContain("could not be cloned");
    expect(await reason("fails", { length: 1, get: () => ({ f: () => 1 }) })).toContain(
      "cannot go to another",
    );
    const gone = decodeInWorkers(numbers(1), { module: new URL("./none.mjs", module), function: "x" });
    await expect(gone.get(0)).rejects.toThrow(/worker 0.*failed before its first item: .*none\.mjs/);
    await gone.close();
  });

  it("ends what is under way when it is closed, and serves no more", async () => {
    const decoded = decodeInWorkers(numbers(2), { module, function: "hangs", workers: 2 });
    const pending = expect(decoded.get(0)).rejects.toThrow(/was at work when the dataset was closed/);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await decoded.close();
    await pending;
    await expect(decoded.get(1)).rejects.toMatchObject({ code: "NF_DATA" });
  });

  it("lets a process end that has not closed it, and not before its work is done", async () => {
    const folder = await mkdtemp(join(tmpdir(), "nf-workers-"));
    try {
      await build({
        entryPoints: [fileURLToPath(new URL("../src/workers/decode.ts", import.meta.url))],
        outfile: join(folder, "decode.mjs"),
        bundle: true,
        format: "esm",
        platform: "node",
        conditions: ["nf-source"],
        logLevel: "silent",
      });
      const script = join(folder, "main.mjs");
      await writeFile(
        script,
        `import { decodeInWorkers } from "./decode.mjs";
         const numbers = { length: 4, get: (index) => index };
         const options = { module: ${JSON.stringify(module.href)}, function: "slow", workers: 2 };
         const decoded = decodeInWorkers(numbers, options);
         Promise.all([0, 1, 2, 3].map((index) => decoded.get(index))).then((items) => {
           console.log(items.map(({ data }) => data[1]).join());
         });`,
      );
      const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 20_000 });
      expect(stdout.trim()).toBe("1,2,3,4");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("is refused where there are no threads of Node", () => {
    vi.stubGlobal("process", { ...process, getBuiltinModule: undefined });
    try {
      expect(() => decodeInWorkers(numbers(1), { module, function: "slow" })).toThrow(
        expect.objectContaining({ code: "NF_DATA", message: expect.stringContaining("browsers") }),
      );
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it.each<[string, object]>([
    ["no name", { module, function: "" }],
    ["a path", { module: "./decode.mjs", function: "slow" }],
    ["no workers", { module, function: "slow", workers: 0 }],
    ["unknown options", { module, function: "slow", threads: 2 }],
    ["a function itself", { module, function: () => 1 }],
  ])("refuses %s", (_, options) => {
    const wrong = options as { module: URL; function: string };
    expect(() => decodeInWorkers(numbers(1), wrong)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
  });
});
