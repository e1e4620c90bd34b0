import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBackend } from "@nf/backend-cpu";
import { Generator, generator, manualSeed, OptionError, tensor, use, zeros } from "@nf/core";
import { ArrayDataset, DataLoader } from "@nf/data";
import { Dropout, Linear, Module, sequential } from "@nf/nn";
import { Adam, InverseSqrtLR } from "@nf/optim";
import { build } from "esbuild";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CheckpointTree } from "../src/checkpoint/tree.ts";
import {
  CheckpointError,
  CheckpointFolder,
  encodeCheckpoint,
  loadCheckpoint,
  openCheckpoint,
  openSafetensors,
  saveCheckpoint,
} from "../src/index.ts";
import { temporaryFolder } from "./support/files.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";

await use(createBackend());

/** A part that holds a tree. */
function holder(tree: CheckpointTree) {
  let state = tree;
  return {
    stateDict: () => state as object,
    loadStateDict(next: CheckpointTree) {
      state = next;
    },
  };
}

class Normed extends Module {
  readonly layer: Linear = new Linear(3, 2);
  readonly drop: Dropout = new Dropout(0.5, { generator: new Generator(9) });
  readonly mean = this.registerBuffer("mean", tensor([1, 2]));
  override forward(): void {}
}

describe("a checkpoint", () => {
  it("brings model, optimiser, schedule, loader and generators back to the bit", async () => {
    const path = join(temporaryFolder(), "run.safetensors");
    const make = (seed: number) => {
      manualSeed(seed);
      const model = new Normed();
      const optimizer = new Adam(model.parameters(), { lr: 0.1 });
      const schedule = new InverseSqrtLR(optimizer, { warmupSteps: 5 });
      const dataset = new ArrayDataset({ x: Float32Array.from({ length: 10 }, (_, i) => i) });
      const loader = new DataLoader(dataset, { batchSize: 3, shuffle: true, seed: 4 });
      return { model, optimizer, schedule, loader, random: generator() };
    };
    const first = make(1);
    for await (const _ of first.loader) {
      const loss = first.model.layer.forward(tensor([[1, 2, 3]])).sum();
      loss.backward();
      first.optimizer.step();
      first.optimizer.zeroGrad();
      first.schedule.step();
      first.model.drop.generator?.next();
      if (first.loader.state().batch === 2) break;
    }
    generator().next();
    const facts = { step: 2, epoch: 0, metrics: { loss: 0.5 }, extra: { seed: 1, list: [1, "two", null] } };
    await saveCheckpoint(path, first, facts);

    const second = make(2);
    const contents = await loadCheckpoint(path, second);
    expect(contents).toEqual({ ...facts, parts: ["model", "optimizer", "schedule", "loader", "random"] });
    for (const [name, value] of Object.entries(first.model.stateDict()))
      expect(await second.model.stateDict()[name]?.data()).toEqual(await value.data());
    const slots = async ({ optimizer }: typeof first) =>
      Promise.all(
        Object.values(optimizer.stateDict().state).map(async ({ count, slots }) => [
          count,
          ...(await Promise.all(Object.values(slots).map((slot) => slot.data()))),
        ]),
      );
    expect(await slots(second)).toEqual(await slots(first));
    expect(second.optimizer.stateDict().paramGroups).toEqual(first.optimizer.stateDict().paramGroups);
    expect(second.schedule.stateDict()).toEqual(first.schedule.stateDict());
    expect(second.loader.state()).toEqual(first.loader.state());
    expect(second.random.state()).toEqual(first.random.state());
    expect(second.model.drop.generator?.state()).toEqual(first.model.drop.generator?.state());
  });

  it("finds generators in lists and objects of a module", async () => {
    class Several extends Module {
      readonly random = { list: [new Generator(1), new Generator(2)] };
      override forward(): void {}
    }
    const [first, second] = [new Several(), new Several()];
    for (const one of first.random.list) one.next();
    await loadCheckpoint(await encodeCheckpoint({ first }), { first: second });
    expect(second.random.list.map((one) => one.state())).toEqual(first.random.list.map((one) => one.state()));
  });

  it("is a safetensors file with tensors under the names of their parts", async () => {
    const path = join(temporaryFolder(), "run.safetensors");
    const shared = tensor([1, 2]);
    await saveCheckpoint(path, { model: holder({ a: shared, b: shared, "c.d": tensor([3]) }) });
    const file = await openSafetensors(path);
    expect([...file.tensors.keys()].sort()).toEqual(["model.a", "model.c.d"]);
    await file.close();
  });

  it("keeps any tree of plain values to the bit", async () => {
    const leaf = fc.oneof(
      fc.double(),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -0),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
    );
    const key = fc.oneof(fc.constantFrom("$tensor", "$number", "$$a", "__proto__", "a.b"), fc.string());
    const tree = fc.letrec((tie) => ({
      tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie("tree")), fc.dictionary(key, tie("tree"))),
    })).tree;
    await fc.assert(
      fc.asyncProperty(tree, async (extra) => {
        const checkpoint = await openCheckpoint(await encodeCheckpoint({}, { extra }));
        await checkpoint.close();
        expect(checkpoint.extra).toStrictEqual(plain(extra));
      }),
      { numRuns: nightly ? 2000 : 60 },
    );
  });

  it("keeps every dtype, and tensors in lists", async () => {
    const list = [
      tensor([1.5, Number.NaN, -0], { dtype: "f16" }),
      tensor([1, -2], { dtype: "i32" }),
      tensor([1, 0], { dtype: "bool" }),
      zeros([0, 3]),
      tensor(7),
    ];
    const part = holder({ list: list.map((one, i) => ({ one, i })) });
    const bytes = await encodeCheckpoint({ part });
    const seen: unknown[] = [];
    await loadCheckpoint(bytes, {
      part: {
        stateDict: () => ({}),
        loadStateDict(state: { list: { one: (typeof list)[0]; i: number }[] }) {
          for (const { one, i } of state.list) seen.push([i, one.dtype, one.shape, one.dataSync()]);
        },
      },
    });
    expect(seen).toEqual(list.map((one, i) => [i, one.dtype, one.shape, one.dataSync()]));
  });

  it("says what it cannot hold, and where", async () => {
    const refused = (part: object, facts = {}) => encodeCheckpoint({ part: part as never }, facts);
    await expect(refused(holder({ a: [1, new Map()] } as never))).rejects.toThrow(
      /part\.a\.1 is a Map, which a checkpoint does not hold/,
    );
    await expect(refused(holder({ f() {} } as never))).rejects.toThrow("part.f is a function");
    await expect(refused({})).rejects.toThrow("part must have stateDict() and loadStateDict()");
    await expect(refused(holder({}), { extra: tensor([1]) })).rejects.toThrow("Give it as a part");
    await expect(refused(holder({}), { stap: 1 })).rejects.toThrow(OptionError);
    await expect(refused(holder({}), { step: 1.5 })).rejects.toThrow("step");
    await expect(encodeCheckpoint({ "a.b": holder({}) })).rejects.toThrow("cannot name a part");
    const self: Record<string, unknown> = {};
    self["self"] = self;
    await expect(refused(holder(self as never))).rejects.toThrow("nested deeper");
    const bytes = await encodeCheckpoint({ model: holder({}) });
    await expect(loadCheckpoint(bytes, { optimizer: holder({}) })).rejects.toThrow(
      "holds no optimizer. It holds model.",
    );
    const sequence = sequential(new Linear(2, 2), new Dropout(0.5, { generator: new Generator(1) }));
    const without = await encodeCheckpoint({ model: sequential(new Linear(2, 2), new Dropout(0.5)) });
    await expect(loadCheckpoint(without, { model: sequence })).rejects.toThrow(
      "Missing in the file: 1.generator",
    );
    const path = join(temporaryFolder(), "nowhere", "run.safetensors");
    await expect(saveCheckpoint(path, {})).rejects.toThrow(CheckpointError);
  });
});

/** What comes back: keys without a prototype's meaning, plain objects. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

describe("damage", () => {
  it("is noticed wherever a bit is flipped, and wherever the file is cut", async () => {
    const model = holder({ weight: tensor([[1, 2, 3]]), bias: tensor([0]) });
    const sound = await encodeCheckpoint({ model }, { step: 3, extra: "abc" });
    await (await openCheckpoint(sound)).close();
    // Every bit of all: the file is small.
    for (let bit = 0; bit < sound.length * 8; bit++) {
      const bytes = sound.slice();
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      await expect(openCheckpoint(bytes), `bit ${bit}`).rejects.toThrow(CheckpointError);
    }
    for (let length = 0; length < sound.length; length += 7)
      await expect(openCheckpoint(sound.slice(0, length))).rejects.toThrow(CheckpointError);
    const longer = new Uint8Array(sound.length + 1);
    longer.set(sound);
    await expect(openCheckpoint(longer)).rejects.toThrow("is damaged");
  });
});

describe("a folder of checkpoints", () => {
  const model = holder({ weight: tensor([1]) });

  it("keeps the newest and the best, and finds the newest that is whole", async () => {
    const path = join(temporaryFolder(), "a", "b");
    const folder = new CheckpointFolder(path, { keep: 2, best: { metric: "accuracy", mode: "max" } });
    expect(await folder.latest()).toBeUndefined();
    expect(await folder.best()).toBeUndefined();
    for (const [step, accuracy] of [0.1, 0.9, 0.5, 0.9, Number.NaN, 0.2, 0.3].entries())
      await folder.save({ model }, { step, metrics: { accuracy } });
    expect(readdirSync(path).sort()).toEqual([3, 5, 6].map((step) => `step-00000000${step}.safetensors`));
    expect(await folder.latest()).toMatchObject({ step: 6, metrics: { accuracy: 0.3 } });
    expect(await folder.best()).toMatchObject({ step: 3, metrics: { accuracy: 0.9 } });

    const newest = (await folder.list())[0]?.path as string;
    const bytes = readFileSync(newest);
    bytes[bytes.length - 1] = 1 ^ (bytes[bytes.length - 1] as number);
    writeFileSync(newest, bytes);
    const damaged: string[] = [];
    expect(await folder.latest((one) => damaged.push(one))).toMatchObject({ step: 5 });
    expect(damaged).toEqual([newest]);
    for (const { path: one } of await folder.list()) writeFileSync(one, "");
    await expect(folder.latest()).rejects.toThrow("all 3 checkpoints are damaged");
  });

  /** Flips a bit behind the header. */
  const damage = (path: string, step: number): void => {
    const file = join(path, `step-${String(step).padStart(9, "0")}.safetensors`);
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] = 1 ^ (bytes[bytes.length - 1] as number);
    writeFileSync(file, bytes);
  };
  const stepsIn = (path: string) => readdirSync(path).map((name) => Number(/\d+/.exec(name)));

  it("keeps what was just written, though newer ones are there", async () => {
    const path = temporaryFolder();
    const folder = new CheckpointFolder(path, { keep: 3 });
    for (const step of [100, 200, 300]) await folder.save({ model }, { step });
    expect(existsSync(await folder.save({ model }, { step: 10 }))).toBe(true);
    await folder.save({ model }, { step: 20 });
    expect(stepsIn(path)).toEqual([20, 100, 200, 300]);
  });

  it("counts and removes only what is whole", async () => {
    const best = { metric: "loss" };
    const path = temporaryFolder();
    const folder = new CheckpointFolder(path, { keep: 1, best });
    await folder.save({ model }, { step: 100, metrics: { loss: 0.1 } });
    damage(path, 100);
    await folder.save({ model }, { step: 200, metrics: { loss: 0.2 } });
    await folder.save({ model }, { step: 300, metrics: { loss: 0.9 } });
    expect(stepsIn(path)).toEqual([100, 200, 300]);
    expect((await folder.best())?.step).toBe(200);

    // A damaged one takes no slot: going on from an older one is not in vain.
    const other = temporaryFolder();
    const kept = new CheckpointFolder(other, { keep: 2 });
    for (const step of [50, 100]) await kept.save({ model }, { step });
    damage(other, 100);
    const again = new CheckpointFolder(other, { keep: 1 });
    for (const step of [60, 70]) await again.save({ model }, { step });
    expect(stepsIn(other)).toEqual([70, 100]);
    expect((await again.latest())?.step).toBe(70);
  });

  it("refuses what makes no sense", async () => {
    await expect(saveCheckpoint(undefined as never, { model })).rejects.toThrow(
      "expected the path of a file, got undefined",
    );
    expect(() => new CheckpointFolder("")).toThrow(OptionError);
    expect(() => new CheckpointFolder("x", { keep: 0 })).toThrow("keep");
    expect(() => new CheckpointFolder("x", { best: { metric: "a", mode: "least" as "min" } })).toThrow(
      "mode",
    );
    await expect(new CheckpointFolder("x").best()).rejects.toThrow("say what is best");
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    await expect(new CheckpointFolder(file).save({ model }, { step: 1 })).rejects.toThrow(
      "Choose another folder",
    );
  });

  it("holds a whole one whenever the process that writes is killed", { timeout: 900_000 }, async () => {
    const folder = temporaryFolder();
    const child = join(folder, "child.mjs");
    await build({
      entryPoints: [join(dirname(fileURLToPath(import.meta.url)), "support", "checkpoint-child.ts")],
      outfile: child,
      bundle: true,
      format: "esm",
      platform: "node",
      conditions: ["nf-source"],
      logLevel: "silent",
    });
    let last = 0;
    for (let round = 0; round < (nightly ? 100 : 4); round++) {
      const running = spawn(process.execPath, [child, folder, String(last)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = new Promise((resolve) => running.once("exit", resolve));
      const wait = Math.random() * 40;
      await new Promise<void>((resolve) => {
        running.stdout.on("data", (text: Buffer) => {
          last = Number(text.toString().trim().split("\n").at(-1));
          setTimeout(resolve, wait);
        });
      });
      running.kill("SIGKILL");
      await ended;
      const one = await contentsOf(join(folder, "one.safetensors"));
      expect(one, `killed after ${wait} ms`).toBeGreaterThanOrEqual(last);
      const latest = await new CheckpointFolder(join(folder, "kept")).latest();
      expect(await contentsOf(latest?.path ?? "")).toBe(latest?.step);
      expect(latest?.step).toBeGreaterThanOrEqual(last);
      expect(latest?.extra).toEqual({ step: latest?.step });
    }
    // A next writer removes what was left in the folder.
    const kept = join(folder, "kept");
    writeFileSync(join(kept, "step-000000001.safetensors.77.0.part"), "half");
    await new CheckpointFolder(kept, { keep: 2 }).save({ model }, { step: last + 1000 });
    expect(readdirSync(kept).filter((name) => name.endsWith(".part"))).toEqual([]);
    expect(readdirSync(kept)).toHaveLength(2);
  });
});

/** The one value that all tensors of a checkpoint of the child hold, which is its step. */
async function contentsOf(path: string): Promise<number> {
  const values = new Set<number>();
  const model = {
    stateDict: () => ({}),
    loadStateDict(state: Readonly<Record<string, ReturnType<typeof tensor>>>) {
      for (const one of Object.values(state)) for (const value of one.dataSync()) values.add(Number(value));
    },
  };
  const { step } = await loadCheckpoint(path, { model });
  expect([...values]).toEqual([step]);
  return step as number;
}
