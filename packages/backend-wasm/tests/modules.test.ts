import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";

interface Record {
  readonly compiler: string;
  readonly source: string;
  readonly modules: { readonly [name: string]: { readonly sha256: string; readonly bytes: number } };
}

const read = (path: string): Buffer => readFileSync(new URL(path, import.meta.url));
const json = (path: string): unknown => JSON.parse(read(path).toString("utf8"));

it("has the modules that the committed record names", () => {
  const record = json("../c/modules.json") as Record;
  const { devDependencies } = json("../package.json") as { devDependencies: { [name: string]: string } };
  expect(record.compiler).toBe(devDependencies["@yowasp/clang"]);
  expect(Object.keys(record.modules)).toEqual(["simd", "relaxed"]);
  for (const [name, { sha256, bytes }] of Object.entries(record.modules)) {
    const module = read(`../wasm/${name}.wasm`);
    expect(module.length, name).toBe(bytes);
    const hash = createHash("sha256").update(module).update("\0").digest("hex");
    expect(hash, `${name}.wasm: run scripts/build-wasm.mjs and commit c/modules.json`).toBe(sha256);
  }
});

it("stays small: both modules together below 110 KB gzipped", () => {
  const bytes = ["simd", "relaxed"].map((name) => gzipSync(read(`../wasm/${name}.wasm`)).length);
  expect(Math.max(...bytes)).toBeGreaterThan(1000);
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(110_000);
});
