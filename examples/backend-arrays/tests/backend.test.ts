import {
  type Backend,
  type BackendBuffer,
  BackendError,
  contiguousView,
  type DType,
  makeView,
  OptionError,
  OutOfMemoryError,
  program,
  softmax,
  tensor,
  use,
  withFusion,
} from "@nf/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ArraysOptions, arrays, createBackend } from "../src/index.ts";

let backend: Backend;

beforeEach(async () => {
  backend = await createBackend();
});

afterEach(async () => {
  await backend.dispose();
});

const bytesOf = (values: Float32Array | Int32Array | Uint16Array): Uint8Array =>
  new Uint8Array(values.buffer);
const copy = (dtype: "f32" | "i32") => program("copy", [dtype], [], ([x]) => [x]);

describe("cells", () => {
  it("give back the bytes that were written, under every dtype that looks at them in between", async () => {
    const written = bytesOf(new Float32Array([1.5, -2, 0, 3e-5]));
    const buffer = backend.allocate(16);
    backend.write(buffer, 0, written);
    const other = backend.allocate(64);
    const dtypes: readonly DType[] = ["f32", "i32", "u8", "f64", "u32"];
    for (const dtype of dtypes) {
      const index = backend.allocate(4);
      backend.write(index, 0, bytesOf(new Int32Array([1])));
      backend.execute({
        kernel: "gather",
        buffers: [buffer, index, other],
        inputs: [contiguousView(buffer, dtype, [2]), contiguousView(index, "i32", [1])],
        outputs: [contiguousView(other, dtype, [1])],
        params: [],
        attributes: { axis: 0 },
      });
      expect(await backend.read(buffer, 0, 16)).toEqual(written);
    }
  });

  it("take part of a buffer's bytes and leave the rest", async () => {
    const buffer = backend.allocate(11);
    backend.write(buffer, 0, new Uint8Array(11).fill(9));
    backend.write(buffer, 5, new Uint8Array([1, 2]));
    expect([...(await backend.read(buffer, 3, 6))]).toEqual([9, 9, 1, 2, 9, 9]);
  });

  it("keep their other half when one half of a buffer changes its dtype", async () => {
    const buffer = backend.allocate(16);
    const source = backend.allocate(8);
    backend.write(buffer, 0, bytesOf(new Float32Array([1, 2, 3, 4])));
    backend.write(source, 0, bytesOf(new Int32Array([7, -7])));
    backend.execute({
      kernel: "map",
      program: copy("i32"),
      buffers: [source, buffer],
      inputs: [contiguousView(source, "i32", [2])],
      outputs: [makeView(buffer, "i32", [2], [1], 2)],
      params: [],
    });
    const bytes = await backend.read(buffer, 0, 16);
    expect([...new Float32Array(bytes.slice(0, 8).buffer)]).toEqual([1, 2]);
    expect([...new Int32Array(bytes.slice(8).buffer)]).toEqual([7, -7]);
  });

  it("hold what their dtype holds, not the doubles that kernels compute", async () => {
    await use(backend);
    const small = 2 ** -30;
    expect(await tensor([1, small]).sum().sub(1).item()).toBe(0);
    expect(await tensor([1, small], { dtype: "f64" }).sum().sub(1).item()).toBe(small);
  });

  it("hold 16-bit floats rounded to their type", async () => {
    await use(backend);
    expect([...(await tensor([1.0009, 70000], { dtype: "f16" }).cast("f32").data())]).toEqual([
      1.0009765625,
      Infinity,
    ]);
    expect([...(await tensor([1.005], { dtype: "bf16" }).cast("f32").data())]).toEqual([1.0078125]);
  });
});

describe("what it refuses", () => {
  it("more memory than allowed, with both numbers, and the next allocation works", async () => {
    const small = await createBackend({ maxBytes: 100 });
    const first = small.allocate(64);
    expect(() => small.allocate(64)).toThrow(OutOfMemoryError);
    expect(() => small.allocate(64)).toThrow(/64 bytes were asked for and 36 are possible, with 64 in use/);
    small.free(first);
    expect(small.allocate(100).byteLength).toBe(100);
  });

  it("a buffer beyond its declared limit", () => {
    expect(() => backend.allocate(backend.capabilities.maxBufferBytes + 1)).toThrow(OutOfMemoryError);
  });

  it("buffers that were freed, or are another backend's, and everything after dispose()", async () => {
    const buffer = backend.allocate(4);
    backend.free(buffer);
    expect(() => backend.free(buffer)).toThrow(BackendError);
    const other = await arrays();
    expect(() => backend.readSync?.(other.allocate(4), 0, 4)).toThrow(/another backend made/);
    await other.dispose();
    await other.dispose();
    expect(() => other.allocate(4)).toThrow(/after dispose\(\)/);
  });

  it("a dtype that a kernel does not declare", () => {
    const [a, b, out] = [backend.allocate(4), backend.allocate(4), backend.allocate(4)];
    const matrix = (buffer: BackendBuffer) => contiguousView(buffer, "bool", [2, 2]);
    const call = { buffers: [a, b, out], inputs: [matrix(a), matrix(b)], outputs: [matrix(out)], params: [] };
    expect(() => backend.execute({ ...call, kernel: "matmul" })).toThrow(/matmul computes no bool here/);
  });

  it("options that it does not have", async () => {
    await expect(createBackend({ threads: 2 } as ArraysOptions)).rejects.toThrow(OptionError);
    await expect(createBackend({ maxBytes: 0 })).rejects.toThrow(/above 0/);
  });

  it("fused kernels, which core then composes of the required ones", async () => {
    await use(backend);
    const x = tensor([[1, 2, 3]]);
    expect(() => withFusion("force", () => softmax(x))).toThrow(/softmax/);
    const values = await softmax(x).data();
    expect(values[2] / values[1]).toBeCloseTo(Math.E, 5);
  });
});
