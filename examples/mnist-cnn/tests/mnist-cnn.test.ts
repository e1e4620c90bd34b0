import { existsSync } from "node:fs";
import { join } from "node:path";
import { callExample, picturesFolder } from "@nf-examples/shared/testing";
import { beforeEach, expect, it, vi } from "vitest";
import { example } from "../src/example.ts";

beforeEach(() => {
  vi.stubEnv("NF_DATA_DIR", picturesFolder("mnist", 200, 50));
});

it("learns ten classes of pictures", async () => {
  const args = "--backend wasm --threads 1 --batch 20 --epochs 2 --json".split(" ");
  const { code, out, cwd } = await callExample(example, args);
  expect(code).toBe(0);
  const result = JSON.parse(out);
  expect(result).toMatchObject({
    example: "mnist-cnn",
    data: "mnist",
    trained: 200,
    tested: 50,
    parameters: 105_914,
  });
  expect(result.accuracy).toBeGreaterThan(0.9);
  expect(existsSync(join(cwd, "runs/mnist-cnn/curves.png"))).toBe(true);
});

it("tells people a table and the figure", async () => {
  const { out } = await callExample(example, "--backend wasm --threads 1 --limit 40 --epochs 1".split(" "));
  expect(out).toMatch(/^epoch .*test loss/);
  expect(out).toMatch(/\n\d+\.\d\d % of 40 test images right, after .* \(data: mnist\)\n/);
});

it("refuses what makes no sense", async () => {
  for (const args of [
    ["--lr", "0"],
    ["--batch", "many"],
    ["--limit", "0"],
  ])
    expect((await callExample(example, args)).code).toBe(2);
});
