import { type Backend, type Call, DTYPES, NanoFluxError, program, scalar as s, type View } from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { cpu, createBackend } from "../src/index.ts";
import { blank, callOf, download, run, runMap, upload } from "./helper.ts";

const opened: Backend[] = [];
async function open(options?: Parameters<typeof cpu>[0]): Promise<Backend> {
  const backend = await cpu(options);
  opened.push(backend);
  return backend;
}
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.dispose();
});

const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);

describe("cpu backend", () => {
  it("is one function under two names", () => {
    expect(cpu).toBe(createBackend);
  });

  it("reads what was written, whole and in parts, as the caller's own bytes", async () => {
    const backend = await open();
    const buffer = backend.allocate(10);
    expect(buffer.byteLength).toBe(10);
    backend.write(buffer, 0, Uint8Array.from([...Array(10).keys()]));
    backend.write(buffer, 3, Uint8Array.from([77, 78]));
    const part = await backend.read(buffer, 2, 4);
    expect([...part]).toEqual([2, 77, 78, 5]);
    part[0] = 99;
    expect([...(backend.readSync as NonNullable<Backend["readSync"]>).call(backend, buffer, 0, 3)]).toEqual([
      0, 1, 2,
    ]);
    await backend.synchronize();
  });

  it("refuses unknown options and values out of their domain", async () => {
    const wrong: [object, RegExp][] = [
      [{ threads: 2 }, /unknown option "threads".*codegen, maxBytes/],
      [{ codegen: "no" }, /codegen must be/],
      [{ maxBytes: -1 }, /maxBytes must be/],
      [{ maxBytes: NaN }, /maxBytes must be/],
    ];
    for (const [options, message] of wrong) {
      await expect(cpu(options)).rejects.toThrow(
        expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(message) }),
      );
    }
  });

  it("reports memory limits with sizes, and goes on, 100 times of 100", async () => {
    const backend = await open({ maxBytes: 64 });
    expect(backend.capabilities.maxBufferBytes).toBe(64);
    for (let round = 0; round < 100; round++) {
      const kept = backend.allocate(40);
      expect(() => backend.allocate(32)).toThrow(
        expect.objectContaining({
          code: "NF_OUT_OF_MEMORY",
          requestedBytes: 32,
          limitBytes: 64,
          message: expect.stringMatching(/32 bytes.*40 are in use.*64/),
        }),
      );
      const small = backend.allocate(24);
      backend.free(kept);
      backend.free(small);
    }
    const huge = await open();
    expect(() => huge.allocate(2 ** 33)).toThrow(
      expect.objectContaining({ code: "NF_OUT_OF_MEMORY", requestedBytes: 2 ** 33 }),
    );
    expect(() => huge.allocate(-1)).toThrow(expect.objectContaining({ code: "NF_BACKEND" }));
    expect(() => huge.allocate(1.5)).toThrow(expect.objectContaining({ code: "NF_BACKEND" }));
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
    const backend = await cpu();
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

  it("says what it has: every declared kernel runs on every declared dtype, the others give a reason", async () => {
    const backend = await open();
    expect(backend.name).toBe("cpu");
    expect(backend.capabilities.readSync).toBe(true);
    expect(backend.capabilities.threads).toBe(1);
    for (const [kernel, dtypes] of Object.entries(backend.capabilities.dtypes)) {
      for (const dtype of dtypes) {
        const x = upload(backend, dtype, [1, 1, 2], [1, 1]);
        const flat = { ...x, shape: [1, 2], strides: [2, 1] } satisfies View;
        const square = { ...x, shape: [1, 1], strides: [1, 1], size: 1 } satisfies View;
        const out = blank(backend, dtype, [1, 1, 2]);
        const index = upload(backend, "i32", [1, 1, 2], [0, 1]);
        const one = upload(backend, dtype, [1, 1, 1], [1]);
        const scalarOut = blank(backend, dtype, [1]);
        const squareOut = blank(backend, dtype, [1, 1]);
        const heads = upload(backend, dtype, [1, 1, 1, 2], [1, 1]);
        const block = upload(backend, "u8", [1, 34], new Array(34).fill(1));
        const same = program("same", [DTYPES[dtype].compute], [], ([v]) => v as s.Expr);
        const windows = { stride: [1], dilation: [1], padding: [[0, 0]] } as const;
        const calls: Record<string, Parameters<typeof callOf>[0]> = {
          map: { kernel: "map", program: same, inputs: [x], outputs: [out] },
          mapMany: {
            kernel: "mapMany",
            program: same,
            inputs: [x, one],
            outputs: [out, scalarOut],
            attributes: { groups: 2 },
          },
          reduce: {
            kernel: "reduce",
            program: same,
            inputs: [x],
            outputs: [{ ...one, buffer: out.buffer }],
            attributes: { kinds: ["max"], axes: [2] },
          },
          argReduce: {
            kernel: "argReduce",
            inputs: [x],
            outputs: [blank(backend, "i32", [1, 1, 1])],
            attributes: { kind: "max", axes: [2] },
          },
          matmul: { kernel: "matmul", inputs: [square, flat], outputs: [{ ...flat, buffer: out.buffer }] },
          gather: { kernel: "gather", inputs: [x, index], outputs: [out], attributes: { axis: 2 } },
          scatter: {
            kernel: "scatter",
            inputs: [x, index],
            outputs: [out],
            attributes: { axis: 2, mode: "set" },
          },
          scan: {
            kernel: "scan",
            inputs: [x],
            outputs: [out],
            attributes: { kind: "prod", axis: 2, reverse: false },
          },
          sort: {
            kernel: "sort",
            inputs: [x],
            outputs: [out, blank(backend, "i32", [1, 1, 2])],
            attributes: { axis: 2, descending: false },
          },
          conv: {
            kernel: "conv",
            inputs: [x, one],
            outputs: [out],
            attributes: { ...windows, pass: "forward", groups: 1 },
          },
          pool: {
            kernel: "pool",
            inputs: [x],
            outputs: [out],
            attributes: {
              ...windows,
              pass: "forward",
              kind: "max",
              kernelSize: [1],
              countIncludePad: true,
              countedPadding: [[0, 0]],
            },
          },
          softmax: {
            kernel: "softmax",
            inputs: [x],
            outputs: [out],
            attributes: { pass: "forward", log: false },
          },
          crossEntropy: {
            kernel: "crossEntropy",
            inputs: [flat, upload(backend, "i32", [1], [0])],
            outputs: [scalarOut, blank(backend, dtype, [1])],
            params: [-100, 0],
            attributes: { pass: "forward" },
          },
          norm: {
            kernel: "norm",
            inputs: [x],
            outputs: [out, blank(backend, dtype, [1, 1, 1])],
            params: [1e-5],
            attributes: { pass: "forward", centered: false, weight: false, bias: false },
          },
          attention: {
            kernel: "attention",
            inputs: [heads, heads, heads],
            outputs: [blank(backend, dtype, [1, 1, 1, 2]), blank(backend, dtype, [1, 1, 1])],
            params: [1],
            attributes: { pass: "forward", causal: false, mask: false },
          },
          rope: {
            kernel: "rope",
            inputs: [x, square, square],
            outputs: [out],
            attributes: { interleaved: false, inverse: false },
          },
          embeddingGrad: {
            kernel: "embeddingGrad",
            inputs: [flat, upload(backend, "i32", [1], [0])],
            outputs: [{ ...flat, buffer: out.buffer }],
            attributes: {},
          },
          quantizedMatmul: {
            kernel: "quantizedMatmul",
            inputs: [upload(backend, dtype, [1, 32], new Array(32).fill(1)), block],
            outputs: [squareOut],
            attributes: { format: "q8_0", inner: 32, columns: 1 },
          },
        };
        const call = calls[kernel];
        expect(call, kernel).toBeDefined();
        const complete = callOf(call as Parameters<typeof callOf>[0]);
        expect(backend.supports(complete), `${kernel} ${dtype}`).toBe("yes");
        backend.execute(complete);
        const result = download(backend, (call as Call).outputs[0] as View);
        expect(
          result.every((value) => value !== 99),
          `${kernel} ${dtype} wrote its output`,
        ).toBe(true);
      }
    }
    const x = blank(backend, "f32", [1, 1]);
    const unknown = callOf({
      // What a later core may ask for.
      kernel: "fourier" as "softmax",
      inputs: [x],
      outputs: [x],
      attributes: { pass: "forward", log: false },
    });
    expect(backend.supports(unknown)).toEqual({ reason: expect.stringContaining("fourier") });
    expect(() => backend.execute(unknown)).toThrow(expect.objectContaining({ code: "NF_UNSUPPORTED" }));
    const deep = blank(backend, "f32", [1, 1, 1, 1, 1, 1]);
    const four = {
      stride: [1, 1, 1, 1],
      dilation: [1, 1, 1, 1],
      padding: [0, 1, 2, 3].map(() => [0, 0] as const),
    };
    const conv4d = callOf({
      kernel: "conv",
      inputs: [deep, deep],
      outputs: [deep],
      attributes: { ...four, pass: "forward", groups: 1 },
    });
    expect(backend.supports(conv4d)).toEqual({ reason: expect.stringContaining("4 spatial dimensions") });
    const ints = blank(backend, "i32", [1, 1]);
    expect(
      backend.supports(
        callOf({
          kernel: "softmax",
          inputs: [ints],
          outputs: [ints],
          attributes: { pass: "forward", log: false },
        }),
      ),
    ).toEqual({ reason: expect.stringContaining("i32") });
  });

  it("maps many groups of different shapes in one call", async () => {
    const backend = await open();
    const step = program("sgd", ["f32", "f32"], ["f32"], ([p, g], [lr]) =>
      s.sub(p as s.Expr, s.mul(lr as s.Expr, g as s.Expr)),
    );
    const groups = [[3], [2, 2]].map((shape) => [
      upload(
        backend,
        "f32",
        shape,
        [1, 2, 3, 4].slice(
          0,
          shape.reduce((a, b) => a * b, 1),
        ),
      ),
      upload(
        backend,
        "f32",
        shape,
        [10, 20, 30, 40].slice(
          0,
          shape.reduce((a, b) => a * b, 1),
        ),
      ),
    ]) as [View, View][];
    run(backend, {
      kernel: "mapMany",
      program: step,
      inputs: groups.flat(),
      outputs: groups.map(([p]) => p),
      params: [0.5],
      attributes: { groups: 2 },
    });
    expect(groups.map(([p]) => download(backend, p))).toEqual([
      [-4, -8, -12],
      [-4, -8, -12, -16],
    ]);
  });

  it("works where code must not be generated, and says so when told to generate it", async () => {
    const original = globalThis.Function;
    const forbidden = (): never => {
      throw new EvalError("Refused to evaluate a string as JavaScript");
    };
    try {
      Object.defineProperty(globalThis, "Function", { value: forbidden, configurable: true, writable: true });
      await expect(cpu({ codegen: true })).rejects.toThrow(
        expect.objectContaining({ code: "NF_UNSUPPORTED" }),
      );
      const backend = await open();
      const out = blank(backend, "f32", [2]);
      runMap(backend, copy, [upload(backend, "f32", [2], [5, 6])], [out]);
      expect(download(backend, out)).toEqual([5, 6]);
    } finally {
      Object.defineProperty(globalThis, "Function", { value: original, configurable: true, writable: true });
    }
  });
});
