import {
  type Backend,
  BackendError,
  type GatherCall,
  memory,
  OutOfMemoryError,
  program,
  rand,
  scalar as s,
  use,
  type View,
} from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { decode, upload } from "../../backend-cpu/tests/helper.ts";
import type { WebgpuBackend } from "../src/backend.ts";
import type { GpuBuffer } from "../src/buffer.ts";
import { type WebgpuOptions, webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";

const missing = await provideAdapter("faults on webgpu");

const next = program("next", ["f32"], [], ([x]) => s.add(x as s.Expr, 1));
const divide = program("quotient of integers", ["i32", "i32"], [], ([a, b]) => {
  const by = b as s.Expr;
  return s.check(s.floorDiv(a as s.Expr, by), s.ne(by, 0), "integer division by zero");
});

function map(backend: Backend, apply: typeof next, inputs: readonly View[], output: View): void {
  const buffers = [...new Set([...inputs, output].map(({ buffer }) => buffer))];
  backend.execute({ kernel: "map", program: apply, buffers, inputs, outputs: [output], params: [] });
}

const valuesOf = async (backend: Backend, { buffer, dtype }: View): Promise<number[]> =>
  decode(dtype, await backend.read(buffer, 0, buffer.byteLength));

/** What a promise rejects with, and after how many milliseconds. */
async function rejection(promise: Promise<unknown>): Promise<{ error: unknown; after: number }> {
  const start = performance.now();
  const error = await promise.then(
    () => "no rejection",
    (reason: unknown) => reason,
  );
  return { error, after: performance.now() - start };
}

describe.skipIf(missing !== undefined)("faults", () => {
  const made: Backend[] = [];
  async function open(options: WebgpuOptions = {}): Promise<WebgpuBackend> {
    const backend = (await webgpu({ ...testOptions, ...options })) as WebgpuBackend;
    made.push(backend);
    return backend;
  }
  afterEach(async () => {
    for (const backend of made.splice(0)) await backend.dispose();
  });

  it("a device lost in the middle of work rejects what is read within a second, and a new one works: 20 of 20", async () => {
    for (let round = 0; round < 20; round++) {
      const backend = await open();
      const x = upload(backend, "f32", [1000], new Array<number>(1000).fill(round));
      const y = upload(backend, "f32", [1000], new Array<number>(1000).fill(0));
      for (let i = 0; i < 60; i++) map(backend, next, [i % 2 === 0 ? x : y], i % 2 === 0 ? y : x);
      // Reads before, and one after, each at another moment of the work.
      const before = [backend.read(x.buffer, 0, 4000), backend.read(y.buffer, 0, 4), backend.synchronize()];
      for (let i = 0; i < round; i++) map(backend, next, [x], y);
      backend.gpu.device.destroy();
      const reads = [...before, backend.read(x.buffer, 0, 4)];
      for (const { error, after } of await Promise.all(reads.map(rejection))) {
        expect(error).toBeInstanceOf(BackendError);
        expect((error as Error).message).toMatch(/webgpu: the device was lost .*create the backend anew/);
        expect(after).toBeLessThan(1000);
      }
      expect(() => map(backend, next, [x], y)).toThrow(/the device was lost/);
      expect(() => backend.allocate(16)).toThrow(/the device was lost/);
      await backend.dispose();
      const again = await open();
      const z = upload(again, "f32", [3], [1, 2, round]);
      map(again, next, [z], z);
      expect(await valuesOf(again, z)).toEqual([2, 3, round + 1]);
      await again.dispose();
    }
  }, 60_000);

  it("create, dispose, create; what is disposed of says so", async () => {
    const first = await open();
    const x = upload(first, "f32", [2], [1, 2]);
    const waiting = first.read(x.buffer, 0, 8);
    await first.dispose();
    await first.dispose();
    await expect(waiting).rejects.toThrow(/webgpu: the backend was disposed of/);
    const second = await open();
    const y = upload(second, "f32", [2], [5, 6]);
    map(second, next, [y], y);
    expect(await valuesOf(second, y)).toEqual([6, 7]);
    for (const use of [
      () => first.allocate(4),
      () => first.write(x.buffer, 0, new Uint8Array(4)),
      () => map(first, next, [x], x),
      () => first.free(x.buffer),
    ])
      expect(use).toThrow(/webgpu: \w+ after dispose\(\). Create a new backend/);
    await expect(first.read(x.buffer, 0, 4)).rejects.toThrow(/after dispose/);
    await expect(first.synchronize()).rejects.toThrow(/after dispose/);
  });

  it("buffers that are freed or another backend's are refused", async () => {
    const [one, two] = [await open(), await open()];
    const x = upload(one, "f32", [2], [1, 2]);
    const y = upload(two, "f32", [2], [1, 2]);
    expect(() => map(two, next, [x], y)).toThrow(/webgpu: map was given a buffer that another backend made/);
    await expect(two.read(x.buffer, 0, 4)).rejects.toThrow(/another backend made/);
    one.free(x.buffer);
    expect(() => one.free(x.buffer)).toThrow(/webgpu: free was given a buffer that was already freed/);
    await expect(one.read(x.buffer, 0, 4)).rejects.toThrow(/already freed/);
    await expect(two.read(y.buffer, 4, 8)).rejects.toThrow(/bytes 4 to 12 leaves the buffer of 8 bytes/);
    expect(() => two.write(y.buffer, 8, new Uint8Array(1))).toThrow(/leaves the buffer/);
  });

  it("out of memory is a typed error with sizes, and the next operation works: 100 of 100", async () => {
    const backend = await open({ maxBytes: 65_536 });
    const x = upload(backend, "f32", [4], [0, 1, 2, 3]);
    for (let round = 0; round < 100; round++) {
      let error: unknown;
      try {
        backend.allocate(65_536 - (round % 4));
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(OutOfMemoryError);
      expect((error as Error).message).toMatch(/webgpu: .*\d{5}/);
      backend.free(backend.allocate(65_536 - 64));
      map(backend, next, [x], x);
    }
    expect(await valuesOf(backend, x)).toEqual([100, 101, 102, 103]);
  });

  it("a buffer beyond what the device can bind is refused with its size and the limit", async () => {
    const backend = await open();
    const { maxBufferBytes } = backend.capabilities;
    expect(() => backend.allocate(maxBufferBytes + 16)).toThrow(OutOfMemoryError);
    expect(() => backend.allocate(maxBufferBytes + 16)).toThrow(
      new RegExp(`${maxBufferBytes + 16}.*${maxBufferBytes}`),
    );
  });

  it("an integer divided by zero rejects the next read, which names the operation; the one after works", async () => {
    const backend = await open();
    const a = upload(backend, "i32", [3], [7, 8, 9]);
    const b = upload(backend, "i32", [3], [2, 0, 3]);
    const c = upload(backend, "i32", [3], [2, -2, 3]);
    const out = upload(backend, "i32", [3], [0, 0, 0]);
    for (let round = 0; round < 3; round++) {
      map(backend, divide, [a, b], out);
      await expect(valuesOf(backend, out)).rejects.toThrow(/quotient of integers.*division by zero/);
      map(backend, divide, [a, c], out);
      expect(await valuesOf(backend, out)).toEqual([3, -4, 3]);
    }
  });

  it("empty reads and writes are none", async () => {
    const backend = await open();
    const x = upload(backend, "f32", [1], [4]);
    backend.write(x.buffer, 4, new Uint8Array(0));
    expect(await backend.read(x.buffer, 4, 0)).toHaveLength(0);
  });

  it("what failed commands should have written is not given out, nor what came of it; the rest is right", async () => {
    const backend = await open();
    const { gpu } = backend;
    const zeros = new Array<number>(64).fill(0);
    const [x, y, z, far] = [0, 1, 2, 3].map(() => upload(backend, "f32", [64], zeros));
    map(backend, next, [x], far);
    expect(await valuesOf(backend, far)).toEqual(zeros.map(() => 1));
    const broken = upload(backend, "f32", [64], zeros);
    // Behind the backend's back: the submission that uses it fails as a whole.
    (broken.buffer as GpuBuffer).gpu.destroy();
    map(backend, next, [broken], x);
    gpu.flush();
    // Made before anybody can know.
    map(backend, next, [x], y);
    gpu.flush();
    map(backend, next, [y], z);
    const { error } = await rejection(valuesOf(backend, z));
    expect(error).toBeInstanceOf(BackendError);
    expect((error as Error).message).toMatch(/commands failed \(map next\)/);
    for (const view of [x, y]) expect((await rejection(valuesOf(backend, view))).error).toBe(error);
    // Known by now: it goes on to what is computed.
    map(backend, next, [y], z);
    expect((await rejection(valuesOf(backend, z))).error).toBe(error);
    expect(await valuesOf(backend, far)).toEqual(zeros.map(() => 1));
    // Written anew, buffers are good again, and checks and waiting go on.
    map(backend, next, [far], z);
    expect(await valuesOf(backend, z)).toEqual(zeros.map(() => 2));
    const [seven, two] = [7, 2].map((value) => upload(backend, "i32", [1], [value]));
    const quotient = upload(backend, "i32", [1], [0]);
    map(backend, divide, [seven, two], quotient);
    expect(await valuesOf(backend, quotient)).toEqual([3]);
    await backend.synchronize();
  });

  it("an adapter without room says so on what has no room, and the next operation works", async () => {
    const backend = await open();
    const { device } = backend.gpu;
    const pop = device.popErrorScope.bind(device);
    let refuse = false;
    // The first scope that ends is that of the allocation.
    device.popErrorScope = async () => {
      const found = await pop();
      if (!refuse) return found;
      refuse = false;
      return { message: "no room" } as GPUError;
    };
    const x = upload(backend, "f32", [4], [1, 2, 3, 4]);
    for (let round = 0; round < 100; round++) {
      await backend.synchronize();
      refuse = true;
      const large = backend.allocate(1 << 20);
      const { error } = await rejection(backend.read(large, 0, 16));
      expect(error).toBeInstanceOf(OutOfMemoryError);
      expect((error as OutOfMemoryError).requestedBytes).toBe(1 << 20);
      expect(() => backend.write(large, 0, new Uint8Array(16))).toThrow(OutOfMemoryError);
      backend.free(large);
      map(backend, next, [x], x);
    }
    expect(await valuesOf(backend, x)).toEqual([101, 102, 103, 104]);
    // A block without room is not handed to the next tensor, and what rests makes room.
    await use(backend);
    for (const [count, rests] of [
      [100_000, false],
      [200_000, false],
      [300_000, true],
      [400_000, true],
    ] as const) {
      rand([100]).dispose();
      expect(memory(backend).pooledBytes).toBeGreaterThan(0);
      await backend.synchronize();
      refuse = true;
      const large = rand([count]);
      // As a temporary of a step, which rests before the adapter tells.
      if (rests) large.dispose();
      else expect((await rejection(large.data())).error).toBeInstanceOf(OutOfMemoryError);
      await backend.synchronize();
      large.dispose();
      expect(memory(backend).pooledBytes > 0).toBe(rests);
      const again = rand([count]);
      expect((await again.data())[5]).toBeLessThan(1);
      again.dispose();
    }
  });

  it("an output may be the input's own view, whatever the kernel", async () => {
    const backend = await open();
    const values = [3, 1, 2, 0];
    const matrix = upload(backend, "f32", [2, 2], values);
    const { buffer } = matrix;
    backend.execute({
      kernel: "matmul",
      buffers: [buffer],
      inputs: [matrix, matrix],
      outputs: [matrix],
      params: [],
    });
    expect(await valuesOf(backend, matrix)).toEqual([11, 3, 6, 2]);
    const index = upload(backend, "i32", [4], values);
    const source = upload(backend, "f32", [4], [10, 11, 12, 13]);
    const gather: GatherCall = {
      kernel: "gather",
      buffers: [source.buffer, index.buffer],
      inputs: [source, index],
      outputs: [source],
      params: [],
      attributes: { axis: 0 },
    };
    backend.execute(gather);
    expect(await valuesOf(backend, source)).toEqual([13, 11, 12, 10]);
    // The two, one apart, and the word for failed checks.
    const { device } = backend.gpu;
    const { limits } = device;
    for (const [most, fits] of [
      [3, false],
      [4, true],
    ] as const) {
      const few = new Proxy(limits, {
        get: (own, name) => (name === "maxStorageBuffersPerShaderStage" ? most : Reflect.get(own, name, own)),
      });
      Object.defineProperty(device, "limits", { value: few, configurable: true });
      expect(backend.supports(gather) === "yes", `${most}`).toBe(fits);
    }
    Object.defineProperty(device, "limits", { value: limits, configurable: true });
    const positions = upload(backend, "i32", [4], [0, 0, 0, 0]);
    backend.execute({
      kernel: "sort",
      buffers: [source.buffer, positions.buffer],
      inputs: [source],
      outputs: [source, positions],
      params: [],
      attributes: { axis: 0, descending: false },
    });
    expect(await valuesOf(backend, source)).toEqual([10, 11, 12, 13]);
    expect(await valuesOf(backend, positions)).toEqual([3, 1, 2, 0]);
  });
});
