import { program, scalar as s } from "@nf/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Allocator } from "../src/allocator.ts";
import { WasmBackend } from "../src/backend.ts";
import { Engine } from "../src/engine.ts";
import { wasm } from "../src/index.ts";
import { blank, download, RUNS, run, runMap, upload } from "./helper.ts";

const inc = program("inc", ["f32"], [], ([v]) => s.add(v as s.Expr, 1));

describe("allocator", () => {
  it("hands out blocks that do not overlap, and gets everything back", () => {
    const steps = fc.array(fc.record({ free: fc.boolean(), bytes: fc.nat(5000), pick: fc.nat() }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(steps, (list) => {
        const heap = new Allocator(1000, 400_000, () => true);
        const live: { address: number; end: number }[] = [];
        for (const { free, bytes, pick } of list) {
          if (free && live.length > 0) {
            const [block] = live.splice(pick % live.length, 1);
            heap.give((block as { address: number }).address);
            continue;
          }
          const address = heap.take(bytes);
          if (address === undefined) continue;
          expect(address % 64).toBe(0);
          expect(address).toBeGreaterThanOrEqual(1000);
          expect(address + bytes).toBeLessThanOrEqual(400_000);
          for (const other of live)
            expect(address + bytes <= other.address || address >= other.end).toBe(true);
          live.push({ address, end: address + bytes });
        }
        for (const { address } of live) heap.give(address);
        expect(heap.usedBytes).toBe(0);
        // All neighbours merged: the whole range is one block again.
        expect(heap.take(398_000)).toBe(1024);
      }),
      { numRuns: RUNS },
    );
  });
});

describe("memory", () => {
  it("grows up to 4 GiB; beyond, a typed error with sizes, and the next operation works", async () => {
    const backend = await wasm({ threads: 2 });
    const kept = upload(backend, "f32", [3], [1, 2, 3]);
    const blocks = [];
    const large = 2 ** 30;
    for (let i = 0; i < 3; i++) blocks.push(backend.allocate(large));
    // The upper end of the memory is used, by all threads.
    const last = blocks.at(-1);
    if (last === undefined) throw new Error("no block");
    const view = { ...blank(backend, "f32", [1]), buffer: last, shape: [40_000], strides: [1], size: 40_000 };
    runMap(backend, inc, [view], [view]);
    expect(() => backend.allocate(large)).toThrow(
      expect.objectContaining({
        code: "NF_OUT_OF_MEMORY",
        requestedBytes: large,
        message: expect.stringMatching(/1073741824 bytes were asked for while 3\d{9} are in use/),
      }),
    );
    runMap(backend, inc, [kept], [kept]);
    expect(download(backend, kept)).toEqual([2, 3, 4]);
    expect(() => backend.allocate(2 ** 31)).toThrow(expect.objectContaining({ code: "NF_OUT_OF_MEMORY" }));
    for (const block of blocks) backend.free(block);
    const again = backend.allocate(2 ** 30);
    backend.free(again);
    await backend.dispose();
  });

  it("keeps to maxBytes, 100 times of 100", async () => {
    const backend = await wasm({ threads: 1, maxBytes: 256 });
    for (let round = 0; round < 100; round++) {
      const kept = backend.allocate(150);
      expect(() => backend.allocate(100)).toThrow(
        expect.objectContaining({
          code: "NF_OUT_OF_MEMORY",
          requestedBytes: 100,
          limitBytes: 256,
          message: expect.stringMatching(/100 bytes.*192 are in use.*256/),
        }),
      );
      const small = backend.allocate(64);
      backend.free(kept);
      backend.free(small);
    }
    await backend.dispose();
  });

  it("does not grow with the number of operations, those that need scratch memory included", async () => {
    const engine = await Engine.create({ threads: 2, relaxed: "auto" });
    const backend = new WasmBackend(engine, Infinity);
    const x = upload(backend, "f16", [300, 400], new Array<number>(120_000).fill(1));
    const y = upload(backend, "f16", [400, 200], new Array<number>(80_000).fill(0.5));
    const step = (): void => {
      const out = blank(backend, "f16", [300, 200]);
      run(backend, { kernel: "matmul", inputs: [x, y], outputs: [out] });
      backend.free(out.buffer);
    };
    for (let i = 0; i < 5; i++) step();
    const { byteLength } = engine.u8;
    const { usedBytes } = engine.heap;
    for (let i = 0; i < 300; i++) step();
    expect(engine.u8.byteLength).toBe(byteLength);
    expect(engine.heap.usedBytes).toBe(usedBytes);
    await backend.dispose();
  });

  it("fails a call whose scratch memory does not fit, and goes on", async () => {
    const backend = await wasm({ threads: 2 });
    const bytes = 2 ** 30 + 2 ** 29;
    const [a, b] = [backend.allocate(bytes), backend.allocate(bytes)];
    // Sorting needs several times the input.
    const n = 2 ** 27;
    const base = blank(backend, "f32", [1]);
    const view = (buffer: typeof a): typeof base => ({ ...base, buffer, shape: [n], strides: [1], size: n });
    const positions = { ...view(b), dtype: "i32" } as const;
    expect(() =>
      run(backend, {
        kernel: "sort",
        inputs: [view(a)],
        outputs: [view(b), { ...positions, offset: n }],
        attributes: { axis: 0, descending: false },
      }),
    ).toThrow(expect.objectContaining({ code: "NF_OUT_OF_MEMORY" }));
    const small = upload(backend, "f32", [3], [3, 1, 2]);
    const [values, where] = [blank(backend, "f32", [3]), blank(backend, "i32", [3])];
    run(backend, {
      kernel: "sort",
      inputs: [small],
      outputs: [values, where],
      attributes: { axis: 0, descending: false },
    });
    expect([download(backend, values), download(backend, where)]).toEqual([
      [1, 2, 3],
      [1, 2, 0],
    ]);
    await backend.dispose();
  });
});
