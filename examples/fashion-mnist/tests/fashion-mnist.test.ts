import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { callExample, picturesFolder } from "@nf-examples/shared/testing";
import { beforeEach, expect, it, vi } from "vitest";
import { example } from "../src/example.ts";

beforeEach(() => {
  vi.stubEnv("NF_CACHE_DIR", mkdtempSync(join(tmpdir(), "nf-cache-")));
});

it("learns ten classes of pictures", async () => {
  vi.stubEnv("NF_DATA_DIR", picturesFolder("fashion-mnist", 200, 50));
  const args = "--backend wasm --threads 1 --epochs 2 --batch 20 --json".split(" ");
  const { code, out } = await callExample(example, args);
  expect(code).toBe(0);
  const result = JSON.parse(out);
  expect(result).toMatchObject({ example: "fashion-mnist", trained: 200, tested: 50, parameters: 206_970 });
  expect(result.accuracy).toBeGreaterThan(0.9);
});

it("says what to do where Fashion-MNIST is not", async () => {
  vi.stubEnv("NF_DATA_DIR", "");
  const { code, out, err } = await callExample(example, ["--backend", "cpu"]);
  expect([code, out]).toEqual([2, ""]);
  expect(err).toMatch(/Fashion-MNIST is not on this machine.*--download/s);
});
