import { type Backend, NanoFluxError, program, scalar as s } from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { createBackend, wasm } from "../src/index.ts";
import { blank, download, run, runMap, upload } from "./helper.ts";

const opened: Backend[] = [];
async function open(options: Parameters<typeof wasm>[0] = { threads: 1 }): Promise<Backend> {
  const backend = await wasm(options);
  opened.push(backend);
  return backend;
}
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.dispose();
});

const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);

describe("wasm backend", () => {
  it("is one function under two names", () => {
    expect(wasm).toBe(createBackend);
  });

  it("reads what was written, as the caller's own bytes outside of shared memory", async () => {
    const backend = await open();
    const buffer = backend.allocate(10);
    expect(buffer.byteLength).toBe(10);
    backend.write(buffer, 0, Uint8Array.from([...Array(10).keys()]));
    backend.write(buffer, 3, Uint8Array.from([77, 78]));
    const part = await backend.read(buffer, 2, 4);
    expect([...part]).toEqual([2, 77, 78, 5]);
    expect(part.buffer).toBeInstanceOf(ArrayBuffer);
    part[0] = 99;
    expect([...(await backend.read(buffer, 0, 3))]).toEqual([0, 1, 2]);
    await backend.synchronize();
  });

  it("refuses unknown options and values out of their domain", async () => {
    const wrong: [object, RegExp][] = [
      [{ codegen: true }, /unknown option "codegen".*threads, maxBytes, relaxed/],
      [{ threads: 0 }, /threads must be/],
      [{ threads: 1.5 }, /threads must be/],
      [{ threads: 1000 }, /threads must be/],
      [{ maxBytes: -1 }, /maxBytes must be/],
      [{ relaxed: "yes" }, /relaxed must be/],
    ];
    for (const [options, message] of wrong) {
      await expect(wasm(options)).rejects.toThrow(
        expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(message) }),
      );
    }
  });

  it("declares its threads and limits", async () => {
    const backend = await open({ threads: 2, maxBytes: 4096 });
    expect(backend.name).toBe("wasm");
    expect(backend.capabilities).toMatchObject({ threads: 2, readSync: true, maxBufferBytes: 4096 });
    const plain = await open();
    expect(plain.capabilities).toMatchObject({ threads: 1, maxBufferBytes: 2 ** 31 - 65_536 });
  });

  it("throws by name after free, double free, for foreign buffers and out of range", async () => {
    const [backend, other] = [await open(), await open()];
    const x = upload(backend, "f32", [2], [1, 2]);
    const y = blank(backend, "f32", [2]);
    const foreign = blank(other, "f32", [2]);
    backend.free(x.buffer);
    const cases: [() => unknown, RegExp][] = [
      [() => backend.free(x.buffer), /already freed/],
      [() => backend.write(x.buffer, 0, new Uint8Array(1)), /already freed/],
      [() => runMap(backend, copy, [x], [y]), /map .*already freed/],
      [() => runMap(backend, copy, [foreign], [y]), /another backend/],
      [() => backend.free({ byteLength: 8 }), /another backend/],
      [() => backend.write(y.buffer, 5, new Uint8Array(4)), /bytes 5 to 9 leaves the buffer of 8/],
      [() => backend.readSync?.(y.buffer, -1, 2), /leaves the buffer/],
    ];
    for (const [act, message] of cases) {
      expect(act).toThrow(
        expect.objectContaining({ code: "NF_BACKEND", message: expect.stringMatching(message) }),
      );
      expect(act).toThrow(NanoFluxError);
    }
    await expect(backend.read(x.buffer, 0, 4)).rejects.toThrow(/already freed/);
    expect(download(backend, y)).toEqual([99, 99]);
  });

  it("ends, twice without harm, and a new one works", async () => {
    const backend = await wasm({ threads: 2 });
    const x = upload(backend, "f32", [2], [1, 2]);
    await backend.dispose();
    await backend.dispose();
    for (const act of [
      () => backend.allocate(4),
      () => runMap(backend, copy, [x], [x]),
      () => backend.free(x.buffer),
      () => backend.write(x.buffer, 0, new Uint8Array(1)),
    ]) {
      expect(act).toThrow(
        expect.objectContaining({ code: "NF_BACKEND", message: expect.stringContaining("after dispose()") }),
      );
    }
    await expect(backend.synchronize()).rejects.toThrow(/after dispose/);
    const next = await open();
    const y = blank(next, "f32", [2]);
    runMap(next, copy, [upload(next, "f32", [2], [3, 4])], [y]);
    expect(download(next, y)).toEqual([3, 4]);
  });

  it("reports failed checks and goes on", async () => {
    const backend = await open({ threads: 2 });
    const divide = program("divide", ["i32", "i32"], [], ([x, y]) =>
      s.floorDiv(x as s.Expr, s.check(y as s.Expr, s.ne(y as s.Expr, 0), "integer division by zero")),
    );
    const n = 100_001;
    const x = upload(backend, "i32", [n], new Array<number>(n).fill(-7));
    const bad = upload(
      backend,
      "i32",
      [n],
      Array.from({ length: n }, (_, i) => (i === n - 1 ? 0 : 2)),
    );
    const good = upload(backend, "i32", [n], new Array<number>(n).fill(2));
    const out = blank(backend, "i32", [n]);
    expect(() => runMap(backend, divide, [x, bad], [out])).toThrow(
      expect.objectContaining({
        code: "NF_ARITHMETIC",
        message: expect.stringContaining("divide: integer division by zero"),
      }),
    );
    runMap(backend, divide, [x, good], [out]);
    expect(download(backend, out).every((value) => value === -4)).toBe(true);
    const index = upload(backend, "i32", [2], [0, 5]);
    const source = upload(backend, "f32", [3], [1, 2, 3]);
    const gather = (): void =>
      run(backend, {
        kernel: "gather",
        inputs: [source, index],
        outputs: [blank(backend, "f32", [2])],
        attributes: { axis: 0 },
      });
    expect(gather).toThrow(
      expect.objectContaining({
        code: "NF_ARITHMETIC",
        message: expect.stringContaining("index out of range"),
      }),
    );
  });

  it("refuses more dimensions than it can walk, by number", async () => {
    const backend = await open();
    const shape = new Array<number>(17).fill(1);
    const x = upload(backend, "f32", shape, [1]);
    expect(() => runMap(backend, copy, [x], [x])).toThrow(
      expect.objectContaining({
        code: "NF_UNSUPPORTED",
        message: expect.stringMatching(/17 dimensions, at most 16/),
      }),
    );
  });
});
