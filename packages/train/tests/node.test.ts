import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { createBackend } from "@nf/backend-cpu";
import { use } from "@nf/core";
import { SGD } from "@nf/optim";
import { PbfReader } from "pbf";
import { describe, expect, it, onTestFinished } from "vitest";
import { curves, toPng } from "../src/curves/index.ts";
import { type Callback, fit } from "../src/index.ts";
import { crc32c } from "../src/node/crc32c.ts";
import { csvLog, EventWriter, lineProgress, progress, tensorBoard } from "../src/node/index.ts";
import { loader, net, task } from "./support/toy.ts";

await use(createBackend());

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "nf-train-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Two epochs of two steps. */
function train(callbacks: readonly Callback[], options = {}) {
  const model = net();
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  return fit(model, {
    ...task,
    data: loader(32),
    optimizer,
    epochs: 2,
    validation: loader(64),
    logEvery: 1,
    callbacks,
    ...options,
  });
}

describe("a CSV log", () => {
  it("has a row an evaluation, or a read", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "deep", "log.csv");
    const { history } = await train([csvLog(path), csvLog(join(folder, "steps.csv"), { rows: "logs" })]);
    const [header, ...rows] = readFileSync(path, "utf8").split("\r\n");
    expect(header).toBe("epoch,step,learningRate,seconds,loss,accuracy,validation loss,validation accuracy");
    expect(rows.map((row) => row.split(",").slice(0, 3))).toEqual([
      ["1", "2", "0.1"],
      ["2", "4", "0.1"],
      [""],
    ]);
    expect(Number(rows[1]?.split(",")[6])).toBe(history[1]?.validation?.loss);
    expect(readFileSync(join(folder, "steps.csv"), "utf8").trimEnd().split("\r\n")).toHaveLength(5);
  });

  it("goes on where a resumed training does", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "log.csv");
    const checkpoints = { folder: join(folder, "checkpoints"), resume: true, every: 2 };
    const steps = () =>
      readFileSync(path, "utf8")
        .trimEnd()
        .split("\r\n")
        .map((row) => row.split(",")[1]);
    // Ended after its third step, whose checkpoint is then removed: what was logged after the second is done again.
    const stop: Callback = { onStep: (event) => (event.step === 3 ? event.stop("enough") : undefined) };
    await train([csvLog(path, { rows: "logs" }), stop], { checkpoints });
    expect(steps()).toEqual(["step", "1", "2", "3"]);
    rmSync(join(folder, "checkpoints", "step-000000003.safetensors"));
    await train([csvLog(path, { rows: "logs" })], { checkpoints });
    expect(steps()).toEqual(["step", "1", "2", "3", "4"]);
  });
});

/** Events of a file: step, and the fields of each value by number. */
function eventsIn(path: string) {
  const bytes = readFileSync(path);
  const events: { step: number; version?: string; restart?: boolean; values: Record<number, unknown>[] }[] =
    [];
  const mask = (crc: number) => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 8)).toBe(mask(crc32c(bytes.subarray(at, at + 8))));
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(mask(crc32c(data)));
    const event: (typeof events)[0] = { step: 0, values: [] };
    new PbfReader(data).readFields((tag, result: typeof event, pbf) => {
      if (tag === 2) result.step = pbf.readVarint();
      if (tag === 3) result.version = pbf.readString();
      if (tag === 7) result.restart = pbf.readMessage((_, __, inner) => void inner.readVarint(), true);
      if (tag === 5)
        pbf.readMessage((_, list: Record<number, unknown>[], inner) => {
          const read = (field: number, value: Record<number, unknown>, deep: PbfReader): void => {
            value[field] =
              field === 1
                ? deep.readString()
                : field === 2
                  ? deep.readFloat()
                  : Buffer.from(deep.readBytes());
          };
          list.push(inner.readMessage(read, {}));
        }, result.values);
    }, event);
    events.push(event);
    at += length + 16;
  }
  return events;
}

describe("event files", () => {
  it("have checksums of the other kind", () => {
    // Of RFC 3720, B.4.
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  });

  it("hold what was written", async () => {
    const folder = temporaryFolder();
    const writer = new EventWriter(folder);
    await writer.scalar("loss", 0.5, 1);
    await writer.scalar("loss", Number.NaN, 2 ** 40);
    await writer.histogram("weights", Float32Array.of(-1, 0, 1, Number.NaN), 3);
    await writer.text("settings", "**bold** ä", 4);
    await writer.image("curves", Uint8Array.of(137, 80), { width: 2, height: 1 }, 5);
    await writer.close();
    await expect(writer.scalar("loss", 1, 1)).rejects.toThrow("was closed");
    await expect(new EventWriter(folder).scalar("loss", 1, -1)).rejects.toThrow("whole number");
    const [name = ""] = readdirSync(folder);
    const events = eventsIn(join(folder, name));
    expect(events[0]).toMatchObject({ version: "brain.Event:2", step: 0 });
    expect(events.map(({ step }) => step)).toEqual([0, 1, 2 ** 40, 3, 4, 5]);
    expect(events[1]?.values).toEqual([{ 1: "loss", 2: 0.5 }]);
    expect(events[2]?.values[0]?.[2]).toBeNaN();
    const doubles: number[] = [];
    new PbfReader(events[3]?.values[0]?.[5] as Buffer).readFields((tag, _, pbf) => {
      doubles.push(...(tag > 5 ? pbf.readPackedDouble() : [pbf.readDouble()]));
    }, undefined);
    expect(doubles.slice(0, 5)).toEqual([-1, 1, 3, 0, 2]);
    expect(doubles).toHaveLength(65);
    expect(doubles.slice(35).reduce((sum, one) => sum + one)).toBe(3);
    expect(String(events[4]?.values[0]?.[8])).toContain("**bold** ä");
  });

  it("are written as a training goes, and say where it was resumed", async () => {
    const folder = temporaryFolder();
    const checkpoints = { folder: join(folder, "checkpoints"), resume: true };
    const stop: Callback = { onStep: (event) => (event.step === 3 ? event.stop("enough") : undefined) };
    await train([tensorBoard(join(folder, "one")), stop], { checkpoints });
    await train([tensorBoard(join(folder, "two"))], { checkpoints });
    const [first = [], second = []] = ["one", "two"].map((name) =>
      eventsIn(join(folder, name, readdirSync(join(folder, name))[0] ?? "")),
    );
    const tags = (events: typeof first) =>
      events.flatMap(({ step, values }) => values.map((value) => `${step} ${value[1]}`));
    expect(tags(first).slice(0, 4)).toEqual([
      "1 train/loss",
      "1 train/accuracy",
      "1 learning rate",
      "2 train/loss",
    ]);
    expect(tags(first)).toContain("2 validation/accuracy");
    expect(second[1]).toMatchObject({ restart: true, step: 4 });
    expect(tags(second)[0]).toBe("4 train/loss");
  });

  it("have histograms of the weights where they are asked for", async () => {
    const folder = temporaryFolder();
    const model = net();
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    const callbacks = [tensorBoard(folder, { weights: model })];
    await fit(model, { ...task, data: loader(64), optimizer, epochs: 1, callbacks });
    const [name = ""] = readdirSync(folder);
    const tags = eventsIn(join(folder, name)).flatMap(({ values }) => values.map((value) => value[1]));
    expect(tags).toContain("weights/0.weight");
  });

  const python = process.env["NF_TENSORBOARD_PYTHON"];
  if (!python) console.warn("Skipped: NF_TENSORBOARD_PYTHON names no Python that has TensorBoard.");
  it.skipIf(!python)("are read by TensorBoard", { timeout: 120_000 }, async () => {
    const folder = temporaryFolder();
    await train([tensorBoard(folder)]);
    const writer = new EventWriter(folder);
    await writer.histogram("values", [-1, 0, 1, 1, Number.NaN], 5);
    await writer.text("settings", "**bold** ä", 6);
    const png = await toPng('<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>', 1);
    await writer.image("dot", png, { width: 3, height: 2 }, 7);
    await writer.close();
    const script = join(import.meta.dirname, "..", "scripts", "read-events.py");
    const read = JSON.parse(execFileSync(python as string, [script, folder], { encoding: "utf8" }));
    expect(read.scalars["train/loss"].map(([step]: [number]) => step)).toEqual([1, 2, 3, 4]);
    expect(Object.keys(read.scalars)).toContain("validation/accuracy");
    expect(read.histograms["values"]).toMatchObject([{ step: 5, min: -1, max: 1, num: 4, sum: 1 }]);
    expect(read.texts).toEqual({ settings: [[6, ["**bold** ä"]]] });
    expect(read.images).toEqual({ dot: [[7, 3, 2, png.length]] });
  });
});

describe("progress", () => {
  it("says where a training is, and how it is done", async () => {
    const stream = new PassThrough();
    await train([progress({ stream, unit: "points" })]);
    const text = String(stream.read());
    expect(text).toMatch(
      /^epoch 1\/2 {3}25 % {2}loss \S+ {2}accuracy \S+ {2}[\d,]+ points\/s {2}0:\d\d left\n/,
    );
    expect(text).toMatch(/\nepoch 2\/2 {2}loss \S+, accuracy \S+; validation loss \S+, accuracy \S+\n$/);
  });

  it("counts steps where nobody knows how many there are", () => {
    const stream = new PassThrough();
    let now = 0;
    const shown = lineProgress(stream, () => now);
    for (let step = 1; step <= 3; step++) {
      now += 6000;
      shown.update({ place: "epoch 1", step, steps: undefined, figures: ["loss 1.00"] });
    }
    expect(String(stream.read())).toBe("epoch 1  step 2  loss 1.00\n");
  });
});

describe("curves", () => {
  it("are drawn when a training ends", async () => {
    const folder = temporaryFolder();
    await train([curves(join(folder, "curves"), { title: "Points", items: "points" })]);
    const svg = readFileSync(join(folder, "curves.svg"), "utf8");
    for (const part of ["Points", "Accuracy (% of points)", ">validation<", "Step"])
      expect(svg).toContain(part);
    expect(readFileSync(join(folder, "curves.png")).subarray(1, 4).toString()).toBe("PNG");
    await train([curves(join(folder, "named"), { validation: "test set" })]);
    expect(readFileSync(join(folder, "named.svg"), "utf8")).toContain(">test set<");
    const none = train([curves(join(folder, "none"), { share: "f1" })]);
    await expect(none).rejects.toThrow('no figure "f1", only loss, accuracy');
  });
});
