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

  it("widens weights tile by tile in one room, far smaller than a copy of them", async () => {
    const [rows, inner, columns] = [256, 1024, 4096];
    const calls = {
      bf16: { kernel: "matmul", attributes: {} },
      q8_0: { kernel: "quantizedMatmul", attributes: { format: "q8_0", inner, columns } },
    } as const;
    for (const kind of ["bf16", "q8_0"] as const) {
      const engine = await Engine.create({ threads: 2, relaxed: "auto" });
      const backend = new WasmBackend(engine, Infinity);
      const [x, out] = [blank(backend, "f32", [rows, inner]), blank(backend, "f32", [rows, columns])];
      const weight =
        kind === "bf16"
          ? { ...blank(backend, kind, [columns, inner]), shape: [inner, columns], strides: [1, inner] }
          : blank(backend, "u8", [columns, (inner / 32) * 34]);
      const { usedBytes } = engine.heap;
      const { byteLength } = engine.u8;
      const inputs = [x, { ...weight, contiguous: kind !== "bf16" }];
      run(backend, { ...calls[kind], inputs, outputs: [out] } as never);
      // A tile of floats and its panels, 4 MiB each; 16 MiB are a copy of the weight.
      expect(engine.heap.usedBytes - usedBytes).toBeLessThan(8 * 2 ** 20);
      expect(engine.u8.byteLength - byteLength).toBeLessThan(14 * 2 ** 20);
      await backend.dispose();
    }
  });

  it("fails a product whose right side lies in little memory but is packed into more than there is", async () => {
    const backend = await wasm({ threads: 2 });
    const kept = upload(backend, "f32", [3], [1, 2, 3]);
    const [rows, depth, columns] = [200, 32_768, 32_769];
    const [x, line] = [blank(backend, "f32", [rows, depth]), blank(backend, "f32", [depth + columns])];
    const size = depth * columns;
    const right = { ...line, shape: [depth, columns], strides: [1, 1], size, contiguous: false };
    const product = {
      kernel: "matmul",
      inputs: [x, right],
      outputs: [blank(backend, "f32", [rows, columns])],
    };
    expect(() => run(backend, product as never)).toThrow(
      expect.objectContaining({
        code: "NF_OUT_OF_MEMORY",
        requestedBytes: depth * 32_776 * 4,
        message: expect.stringMatching(/4296015872 bytes were asked for while \d+ are in use/),
      }),
    );
    runMap(backend, inc, [kept], [kept]);
    expect(download(backend, kept)).toEqual([2, 3, 4]);
    await backend.dispose();
  });

  it("fails a convolution whose padded input is more than there is", async () => {
    const backend = await wasm({ threads: 2 });
    const x = upload(backend, "f32", [1, 1, 2, 2], [1, 2, 3, 4]);
    const weight = upload(backend, "f32", [1, 1, 1, 1], [2]);
    const conv = (far: number): number[] => {
      const out = blank(backend, "f32", [1, 1, 3, 3]);
      const attributes = {
        pass: "forward",
        groups: 1,
        stride: [far, far],
        dilation: [1, 1],
        padding: [
          [far, far],
          [far, far],
        ],
      } as const;
      run(backend, { kernel: "conv", inputs: [x, weight], outputs: [out], attributes });
      return download(backend, out);
    };
    expect(() => conv(50_000)).toThrow(
      expect.objectContaining({ code: "NF_OUT_OF_MEMORY", requestedBytes: expect.any(Number) }),
    );
    expect(conv(3)).toEqual([0, 0, 0, 0, 2, 0, 0, 0, 0]);
    await backend.dispose();
  });

  it("does not pack an expanded right side, however large it is", async () => {
    const engine = await Engine.create({ threads: 2, relaxed: "auto" });
    const backend = new WasmBackend(engine, Infinity);
    const [rows, depth, columns] = [200, 1024, 4096];
    const x = upload(backend, "f32", [rows, depth], new Array<number>(rows * depth).fill(0.5));
    const values = upload(
      backend,
      "f32",
      [columns],
      Array.from({ length: columns }, (_, i) => i),
    );
    const out = blank(backend, "f32", [rows, columns]);
    const { usedBytes } = engine.heap;
    for (const strides of [
      [0, 1],
      [1, 0],
    ] as const) {
      const right = { ...values, shape: [depth, columns], strides, size: depth * columns, contiguous: false };
      run(backend, { kernel: "matmul", inputs: [x, right], outputs: [out] });
      const wanted = (i: number): number => (strides[0] === 0 ? i * 512 : (depth * (depth - 1)) / 4);
      const far = (value: number, i: number): boolean => Math.abs(value - wanted(i)) > 1e-6 * wanted(i);
      for (const row of [0, 67, 199]) {
        const line = { ...out, shape: [columns], strides: [1], offset: row * columns, size: columns };
        expect(download(backend, line).filter(far)).toEqual([]);
      }
    }
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
