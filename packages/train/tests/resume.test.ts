import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createBackend } from "@nf/backend-cpu";
import { fromData, parameter, use } from "@nf/core";
import { CheckpointFolder, loadCheckpoint } from "@nf/io";
import { Linear } from "@nf/nn";
import { Adam, SGD } from "@nf/optim";
import { build } from "esbuild";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Callback, fit } from "../src/index.ts";
import { batchOf, loader, net, task } from "./support/toy.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";
const here = dirname(fileURLToPath(import.meta.url));
await use(createBackend());

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "nf-train-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe("another process", () => {
  let home: string;
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "nf-train-"));
    const wasm = join(here, "..", "..", "backend-wasm", "src", "index.ts");
    await build({
      entryPoints: [join(here, "support", "resume-child.ts")],
      outfile: join(home, "child.mjs"),
      bundle: true,
      format: "esm",
      platform: "node",
      conditions: ["nf-source"],
      // Where the binaries are found from.
      define: { "import.meta.url": JSON.stringify(pathToFileURL(wasm).href) },
      logLevel: "silent",
    });
    return () => rmSync(home, { recursive: true, force: true });
  });

  const run = async (...argv: readonly string[]) => {
    const { stdout } = await promisify(execFile)(process.execPath, [join(home, "child.mjs"), ...argv]);
    return JSON.parse(stdout) as [step: number, ending: string, digest: string, history: unknown[]];
  };

  it.each(["cpu", "wasm"])("goes on bit for bit on %s", { timeout: 60_000 }, async (backend) => {
    const [straight, halves, five] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
    const whole = await run(backend, straight);
    expect(whole.slice(0, 2)).toEqual([6, "done"]);
    // In the middle of the first epoch.
    const stopped = await run(backend, halves, "3");
    expect(stopped.slice(0, 2)).toEqual([3, "aborted"]);
    expect(stopped[2]).not.toBe(whole[2]);
    expect(await run(backend, halves)).toEqual(whole);
    if (!nightly) return;
    expect((await run(backend, five, "5")).slice(0, 2)).toEqual([5, "aborted"]);
    expect(await run(backend, five)).toEqual(whole);
    // There is nothing left to do.
    expect(await run(backend, halves)).toEqual(whole);
  });
});

/** A training whose checkpoints go into a folder. */
function train(folder: string, options: object = {}, seed = 1) {
  const model = net(0.1, seed);
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  return fit(model, {
    ...task,
    data: loader(16),
    optimizer,
    epochs: 3,
    checkpoints: { folder, resume: true },
    ...options,
  });
}

const stopAt = (step: number): Callback => ({
  onStep: (event) => (event.step === step ? event.stop("enough") : undefined),
});

describe("checkpoints of a training", () => {
  it("come after each evaluation, the newest and the best are kept, and callbacks hear of them", async () => {
    const folder = temporaryFolder();
    const paths: string[] = [];
    const losses = [3, 1, 2, 4, 5];
    const result = await train(folder, {
      epochs: 5,
      validate: async ({ epoch }: { epoch: number }) => ({ error: losses[epoch - 1] }),
      checkpoints: { folder, keep: 2, best: { metric: "error" } },
      callbacks: [{ onCheckpoint: ({ path }: { path: string }) => void paths.push(path) }],
    });
    expect(paths.map((path) => Number(/(\d+)\.safetensors/.exec(path)?.[1]))).toEqual([4, 8, 12, 16, 20]);
    expect(result.checkpoint).toBe(paths.at(-1));
    const kept = new CheckpointFolder(folder, { best: { metric: "error" } });
    expect((await kept.list()).map(({ step }) => step)).toEqual([20, 16, 8]);
    expect(await kept.best()).toMatchObject({ step: 8, epoch: 2, metrics: { error: 1 } });
    // Another model takes the weights alone.
    const other = net(0.1, 7);
    await loadCheckpoint(paths.at(-1) as string, { model: other });
  });

  it("come every so many steps, and when a training is stopped", async () => {
    const folder = temporaryFolder();
    const checkpoints = { folder, every: 3, keep: 9 };
    await train(folder, { checkpoints, callbacks: [stopAt(7)] });
    expect((await new CheckpointFolder(folder).list()).map(({ step }) => step)).toEqual([7, 6, 3]);
  });

  it("are not mixed with those of another training", async () => {
    const folder = temporaryFolder();
    await train(folder, { epochs: 1 });
    await expect(train(folder, { checkpoints: folder })).rejects.toThrow(
      "holds checkpoints of another training (the newest of step 4)",
    );
    const parts = { model: { stateDict: () => ({}), loadStateDict() {} } };
    await expect(train(folder, { checkpoints: { folder, parts } })).rejects.toThrow("fit has its own");
    const odd = temporaryFolder();
    const all = ["model", "optimizer", "data", "random"].map((name) => [name, parts.model] as const);
    await new CheckpointFolder(odd).save(Object.fromEntries(all), { step: 1 });
    await expect(train(odd)).rejects.toThrow();
  });

  it("hold what else was asked for, and data without a place are passed over", async () => {
    const own = {
      count: 0,
      state: () => ({ count: own.count }),
      setState({ count }: { count: number }) {
        own.count = count;
      },
    };
    const folder = temporaryFolder();
    const seen: number[][] = [];
    const data = (epoch: number) => {
      const batches = [1, 2, 3].map((size) => {
        const batch = batchOf(size);
        return { ...batch, note: 10 * epoch + size };
      });
      return batches;
    };
    const forward = (model: ReturnType<typeof net>, batch: ReturnType<typeof data>[0]) => {
      seen.push([batch.note]);
      return model.forward(batch.x);
    };
    const options = { data, forward, epochs: 2, checkpoints: { folder, resume: true, parts: { own } } };
    own.count = 5;
    await train(folder, { ...options, callbacks: [stopAt(2)] });
    own.count = 0;
    await train(folder, options);
    expect(own.count).toBe(5);
    expect(seen.flat()).toEqual([11, 12, 13, 21, 22, 23]);
  });

  it("are kept when the training diverges, and never hold weights that are no numbers", async () => {
    const folder = temporaryFolder();
    const wild = train(folder, { learningRate: (step: number) => (step < 6 ? 0.1 : 1e38), logEvery: 100 });
    await expect(wild).rejects.toThrow(
      /step 8: the training has diverged.*The last checkpoint is kept: .*000000004/,
    );
    expect((await new CheckpointFolder(folder).latest())?.step).toBe(4);
    // The loss is a number, its gradient is not.
    const other = temporaryFolder();
    const model = new Linear(1, 1, { bias: false });
    model.loadStateDict({ weight: parameter(fromData(Float32Array.of(0), [1, 1])) });
    const rooted = fit(model, {
      data: [fromData(Float32Array.of(1), [1, 1])],
      forward: (net, x) => net.forward(x).sqrt(),
      loss: (output) => output.sum().mul(0),
      optimizer: new Adam(model.parameters()),
      epochs: 1,
      checkpoints: other,
    });
    await expect(rooted).rejects.toThrow("weight holds a value that is no finite number at step 1");
    expect(await new CheckpointFolder(other).latest()).toBeUndefined();
  });

  it("bring the best weights of early stopping back", async () => {
    const scores = [3, 1, 2, 4, 5];
    const folder = temporaryFolder();
    const options = {
      epochs: 5,
      validate: async ({ epoch }: { epoch: number }) => ({ error: scores[epoch - 1] }),
      earlyStopping: { metric: "error", patience: 3 },
    };
    const straight = await train(temporaryFolder(), options);
    await train(folder, { ...options, callbacks: [stopAt(14)] });
    const resumed = await train(folder, options, 9);
    expect(resumed.best).toEqual({ step: 8, value: 1 });
    const plain = ({ history, best, ending }: typeof straight) => [
      history.map(({ seconds, ...row }) => row),
      best,
      ending,
    ];
    expect(plain(resumed)).toEqual(plain(straight));
    // It has stopped already.
    expect(await train(folder, options)).toMatchObject({ ending: "early", step: 20 });
  });
});
