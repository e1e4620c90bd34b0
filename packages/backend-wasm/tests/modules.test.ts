import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, it } from "vitest";
import { applyDelta } from "../src/delta.ts";
import { RUNS } from "./helper.ts";

interface Record {
  readonly compiler: string;
  readonly modules: { readonly [name: string]: { readonly sha256: string; readonly bytes: number } };
  readonly files: { readonly [name: string]: string };
}

const read = (path: string): Buffer => readFileSync(new URL(path, import.meta.url));
const json = (path: string): unknown => JSON.parse(read(path).toString("utf8"));
const { makeDelta } = (await import(new URL("../scripts/delta.mjs", import.meta.url).href)) as {
  makeDelta(base: Uint8Array, target: Uint8Array): Uint8Array;
};
const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const record = json("../c/modules.json") as Record;

it("has the files and the modules that the committed record names", () => {
  const { devDependencies } = json("../package.json") as { devDependencies: { [name: string]: string } };
  expect(record.compiler).toBe(devDependencies["@yowasp/clang"]);
  for (const [name, hash] of Object.entries(record.files)) {
    expect(
      hashOf(read(`../wasm/${name}`)),
      `${name}: run scripts/build-wasm.mjs and commit c/modules.json`,
    ).toBe(hash);
  }
  const simd = read("../wasm/simd.wasm");
  const modules = { simd, relaxed: applyDelta(simd, read("../wasm/relaxed.delta")) };
  expect(Object.keys(record.modules)).toEqual(Object.keys(modules));
  for (const [name, module] of Object.entries(modules)) {
    expect(module.length, name).toBe(record.modules[name]?.bytes);
    expect(hashOf(module), name).toBe(record.modules[name]?.sha256);
  }
});

it("stays small: what is shipped of both modules is below 90 KB gzipped", () => {
  const bytes = Object.keys(record.files).map((name) => gzipSync(read(`../wasm/${name}`)).length);
  expect(Math.max(...bytes)).toBeGreaterThan(1000);
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(90_000);
});

it("makes deltas that give back any bytes", () => {
  const bytes = fc.uint8Array({ maxLength: 60 });
  const edits = fc.array(fc.record({ at: fc.nat(3000), remove: fc.nat(40), insert: bytes }), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), edits, (base, list) => {
      let target = Buffer.from(base);
      for (const { at, remove, insert } of list)
        target = Buffer.concat([target.subarray(0, at), insert, target.subarray(at + remove)]);
      expect(Buffer.compare(applyDelta(base, makeDelta(Buffer.from(base), target)), target)).toBe(0);
    }),
    { numRuns: RUNS },
  );
});
