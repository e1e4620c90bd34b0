import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { use } from "@nf/core";
import { callExample, picturesFolder } from "@nf-examples/shared/testing";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { type Cell, example, resultTable } from "../src/example.ts";
import { build, MODELS } from "../src/models.ts";

const FEW = "--backend wasm --threads 1 --epochs 2 --json".split(" ");

beforeEach(() => {
  vi.stubEnv("NF_DATA_DIR", picturesFolder("mnist", 300, 100));
});

describe("the ablation", () => {
  it("trains every model with every optimiser, and logs all of it", async () => {
    const { code, out, cwd } = await callExample(example, ["--ablation", ...FEW]);
    expect(code).toBe(0);
    const { cells, trained, tested } = JSON.parse(out) as { cells: Cell[]; trained: number; tested: number };
    expect([trained, tested]).toEqual([360, 40]);
    expect(cells.map(({ model, optimizer }) => `${model} ${optimizer}`)).toEqual(
      MODELS.flatMap((model) => [`${model} sgd`, `${model} adam`]),
    );
    for (const { accuracy, lr, optimizer } of cells) {
      expect(accuracy).toBeGreaterThan(0.15); // guessing is 0.1
      expect(lr).toBe(optimizer === "sgd" ? 0.05 : 0.001);
    }
    const folder = join(cwd, "runs", "mnist-ablation");
    const log = readFileSync(join(folder, "ablation.log"), "utf8");
    expect(log).toMatch(
      /^360 images to train, 40 to test; 2 epochs, batch 64, seed 42; learning rates SGD 0\.05, Adam 0\.001/,
    );
    expect(log).toContain(resultTable(cells).join("\n"));
    expect(existsSync(join(folder, "linear_bn-adam-curves.png"))).toBe(true);
    expect(existsSync(join(folder, "linear_relu-sgd-log.csv"))).toBe(true);

    // A cell alone is the one of the table.
    const alone = await callExample(example, ["--model", "linear_relu", "--optimizer", "adam", ...FEW]);
    const [cell, ...others] = (JSON.parse(alone.out) as { cells: Cell[] }).cells;
    expect(others).toEqual([]);
    const same = cells.find(({ model, optimizer }) => model === "linear_relu" && optimizer === "adam");
    expect(cell?.loss).toBe(same?.loss);
  });

  it("prints a table for people", async () => {
    const args = "--backend wasm --threads 1 --limit 100 --epochs 1 --optimizer sgd --model linear".split(
      " ",
    );
    expect((await callExample(example, args)).out).toMatch(
      /^model +sgd\nlinear {2,}\d+\.\d\d %\n\ntest accuracy after 1 epoch;/,
    );
  });

  it.each([
    [["--model", "convolutional"], "Allowed choices are linear, linear_relu, linear_bn, linear_relu_bn"],
    [["--optimizer", "lion"], "Allowed choices are sgd, adam"],
    [["--ablation", "--model", "linear"], "cannot be used with"],
  ])("refuses %j", async (args, message) => {
    const { code, err } = await callExample(example, args);
    expect(code).toBe(2);
    expect(err).toContain(message);
  });
});

it("puts what the name says between the linear layers", async () => {
  await use(cpu());
  const kinds = (name: (typeof MODELS)[number]) => build(name).layers.map((layer) => layer.constructor.name);
  expect(kinds("linear")).toEqual(["Flatten", "Linear", "Linear", "Linear"]);
  expect(kinds("linear_relu_bn").slice(1, 4)).toEqual(["Linear", "BatchNorm1d", "ReLU"]);
});
