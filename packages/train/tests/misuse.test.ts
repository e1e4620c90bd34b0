import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBackend } from "@nf/backend-cpu";
import { OptionError, ones, use } from "@nf/core";
import { Adam, ReduceLROnPlateau, SGD } from "@nf/optim";
import { describe, expect, it, onTestFinished } from "vitest";
import { curves } from "../src/curves/index.ts";
import { fit } from "../src/index.ts";
import { csvLog, progress, tensorBoard } from "../src/node/index.ts";
import { loader, net, task } from "./support/toy.ts";

await use(createBackend());

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "nf-train-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** One epoch of four steps, with options that the types may not allow. */
function train(options: object) {
  const model = net();
  const optimizer = new Adam(model.parameters());
  const all = { ...task, data: loader(), optimizer, epochs: 1, ...options };
  return fit(
    model,
    all as typeof task & { data: ReturnType<typeof loader>; optimizer: Adam; epochs: number },
  );
}

async function refused(options: object, message: string): Promise<void> {
  const attempt = train(options);
  await expect(attempt).rejects.toThrow(message);
  await expect(attempt).rejects.toThrow(OptionError);
}

describe("options of the wrong kind", () => {
  const model = net();
  const schedule = new ReduceLROnPlateau(new Adam(model.parameters()));
  const wrong: readonly (readonly [options: object, message: string])[] = [
    [{ loss: () => {} }, "loss must give a scalar tensor, got undefined"],
    [{ loss: () => 3 }, "loss must give a scalar tensor, got 3"],
    [
      { loss: () => ones([2, 3]) },
      "loss must give a scalar tensor, got a tensor of shape [2, 3]. End it with",
    ],
    [{ loss: async () => 3 }, "got a promise. It must not be async"],
    [{ learningRate: 0.1 }, "learningRate must be a function, got 0.1"],
    [
      { learningRate: () => undefined },
      "learningRate must give a rate for step 0, a number from 0, got undefined",
    ],
    [{ items: 4 }, "items must be a function, got 4"],
    [{ validate: 3 }, "validate must be a function, got 3"],
    [{ metrics: { a: 5 } }, "metric a must be a function, or { update, finish }; got 5"],
    [{ metrics: { a: { update() {} } } }, "metric a must be a function"],
    [{ metrics: [] }, "metrics must be an object of functions by name, got an array"],
    [{ callbacks: {} }, "callbacks must be an array, got an object"],
    [{ callbacks: [undefined] }, "callback 0 must be an object"],
    [{ callbacks: [{ onStep: 3 }] }, "callback 0 has onStep, which must be a function"],
    [{ signal: {} }, "signal must be an AbortSignal"],
    [{ interrupt: "no" }, "interrupt must be true or false"],
    [{ data: () => 3 }, "data must give an iterable of batches for epoch 1, got 3"],
    [{ schedule: 3 }, "schedule must be one of @nf/optim"],
    [{ schedule: { schedule, per: "evaluation", metrik: "loss" } }, 'unknown option "metrik"'],
    [{ schedule: { schedule, per: "epoch", metric: "loss" } }, "there is no figure for each epoch"],
    [{ earlyStopping: { patience: 1, restoreBest: "no" } }, "restoreBest must be true or false"],
    [{ checkpoints: { folder: "x", every: 0 } }, "every"],
    [{ checkpoints: { folder: "x", every: "x" } }, "every"],
    [{ checkpoints: { folder: "x", resume: 1 } }, "resume must be true or false"],
    [{ checkpoints: { folder: "x", parts: 1 } }, "checkpoints.parts must be an object"],
  ];
  it.each(wrong.map(([options, message]) => [message, options] as const))("%s", (message, options) =>
    refused(options, message),
  );

  it("a metric that gives nothing", async () => {
    await expect(train({ metrics: { a: () => {} } })).rejects.toThrow("metric a must give a scalar tensor");
  });

  it("methods of a callback's class that are no events", async () => {
    class Base {
      onEpoch() {}
    }
    class Mine extends Base {
      onStep() {}
    }
    await refused({ callbacks: [new Mine()] }, "callback 0 has onEpoch, which is no event");
  });

  it("a figure for the best checkpoint that a validation of one's own does not give", async () => {
    await refused(
      {
        validate: async () => ({ error: 1 }),
        checkpoints: { folder: temporaryFolder(), best: { metric: "eror" } },
      },
      'checkpoints.best.metric is "eror", and there are error',
    );
  });

  it("of callbacks that come with the package", () => {
    const wrong: readonly (() => unknown)[] = [
      () => csvLog("" as string),
      () => csvLog("x", { rows: "log" as "logs" }),
      () => csvLog("x", { row: 1 } as object),
      () => progress({ units: "x" } as object),
      () => progress({ stream: {} as never }),
      () => tensorBoard(undefined as never),
      () => tensorBoard("x", { weight: 1 } as object),
      () => tensorBoard("x", { weights: {} as never }),
      () => curves(undefined as never),
      () => curves("x", { shares: "f1" } as object),
    ];
    for (const one of wrong) expect(one, String(one)).toThrow(OptionError);
  });
});

describe("a validation of one's own", () => {
  it.each([
    [undefined, "validate gave no figures"],
    [3, "validate must give an object of numbers, as in { loss: 0.3 }, got 3"],
    [{ loss: "low" }, 'got "low" for loss'],
  ])("that gives %o is refused", (given, message) => refused({ validate: async () => given }, message));

  it("may be given up when the training was aborted", async () => {
    const controller = new AbortController();
    const result = await train({
      signal: controller.signal,
      validate: async ({ breathe }: { breathe(): Promise<boolean> }) => {
        controller.abort();
        return (await breathe()) ? { loss: 1 } : undefined;
      },
    });
    expect(result).toMatchObject({ ending: "aborted", step: 4, history: [] });
  });
});

it("every callback is told of the end, whatever another throws", async () => {
  const told: string[] = [];
  const end = (name: string) => ({
    onTrainEnd() {
      told.push(name);
      throw new Error(name);
    },
  });
  await expect(train({ callbacks: [end("first"), end("second")] })).rejects.toThrow("first");
  expect(told).toEqual(["first", "second"]);
});

describe("resuming", () => {
  const train2 = (folder: string, options: object = {}) => {
    const model = net();
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    return train({ optimizer, checkpoints: { folder, resume: true }, ...options });
  };

  it("with more options than before names those that are in the way", async () => {
    const folder = temporaryFolder();
    await train2(folder);
    const attempt = train2(folder, { epochs: 2, earlyStopping: { patience: 2 } });
    await expect(attempt).rejects.toThrow(
      "was saved without best (for the option earlyStopping). Go on with",
    );
    await expect(attempt).rejects.toThrow(OptionError);
  });

  it("does not take a folder of damaged checkpoints for an empty one", async () => {
    const folder = temporaryFolder();
    await train2(folder);
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), "");
    await expect(train2(folder, { checkpoints: folder })).rejects.toThrow("are damaged");
    expect(readdirSync(folder)).toHaveLength(1);
  });
});

describe("a CSV log", () => {
  it("refuses a metric with the name of another column", async () => {
    const path = join(temporaryFolder(), "log.csv");
    const { accuracy } = task.metrics;
    await refused({ metrics: { step: accuracy }, callbacks: [csvLog(path)] }, "a metric is called step");
    expect(existsSync(path)).toBe(false);
  });

  it("is not replaced when it cannot be read", async () => {
    // A link to itself: it cannot be read, and can be replaced.
    const path = join(temporaryFolder(), "log.csv");
    symlinkSync(path, path);
    const begin = csvLog(path).onTrainBegin?.({ resumed: true, step: 1, names: ["loss"] } as never);
    await expect(begin).rejects.toThrow("ELOOP");
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
  });
});

describe("curves", () => {
  it("of a training without accuracy show the loss alone", async () => {
    const path = join(temporaryFolder(), "curves");
    const { history } = await train({ metrics: {}, validation: loader(), callbacks: [curves(path)] });
    expect(history).toHaveLength(1);
    const svg = readFileSync(`${path}.svg`, "utf8");
    expect(svg).toContain("Loss (log scale)");
    expect(svg).not.toContain("Accuracy");
  });

  it("refuse a share that is no figure before the first step", async () => {
    let steps = 0;
    const callbacks = [curves("x", { share: "f1" }), { onStep: () => void steps++ }];
    await refused({ callbacks }, 'no figure "f1", only loss, accuracy');
    expect(steps).toBe(0);
  });
});
