import {
  defineUpdate,
  Generator,
  manualSeed,
  memory,
  pureUpdate,
  rand,
  randint,
  scalar,
  scope,
  type Tensor,
  tensor,
  use,
} from "@nf/core";
import { CrossEntropyLoss, Linear, ReLU, Sequential } from "@nf/nn";
import { Adam } from "@nf/optim";
import { describe, expect, it } from "vitest";
import { openDevice } from "../src/adapter.ts";
import { WebgpuBackend } from "../src/backend.ts";
import { Gpu } from "../src/device/gpu.ts";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";

const missing = await provideAdapter("memory on webgpu");
const STEPS = process.env["NF_NIGHTLY"] === "1" ? 10_000 : 1_000;

/** Counts the buffers of a device that are not destroyed, and their bytes, by label. */
function watch(device: GPUDevice): (label: string) => { buffers: number; bytes: number } {
  const live = new Set<GPUBuffer>();
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    live.add(buffer);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      live.delete(buffer);
      destroy();
    };
    return buffer;
  };
  return (label) => {
    const some = [...live].filter((buffer) => (buffer.label === "uniforms") === (label === "uniforms"));
    return { buffers: some.length, bytes: some.reduce((sum, { size }) => sum + size, 0) };
  };
}

describe.skipIf(missing !== undefined)("memory", () => {
  it(`buffers and bytes are constant over ${STEPS} training steps; what is kept for calls has a bound`, async () => {
    const backend = (await webgpu(testOptions)) as WebgpuBackend;
    const count = watch(backend.gpu.device);
    await use(backend);
    manualSeed(1);
    const generator = new Generator(2);
    const model = new Sequential(
      new Linear(12, 16, { generator }),
      new ReLU(),
      new Linear(16, 4, { generator }),
    );
    const optimizer = new Adam(model.parameters(), { lr: 1e-2 });
    const criterion = new CrossEntropyLoss();
    const [x, labels] = [rand([8, 12]), randint(0, 4, [8])];
    const step = async (read = true): Promise<number> => {
      optimizer.zeroGrad();
      const loss: Tensor = scope(() => {
        const value = criterion.forward(model.forward(x), labels);
        value.backward();
        return value;
      });
      optimizer.step();
      const value = read ? await loss.item() : Number.NaN;
      loss.dispose();
      return value;
    };
    const look = (): object => {
      const { liveBuffers, liveBytes } = memory(backend);
      return {
        liveBuffers,
        liveBytes,
        ...count("storage"),
        groups: backend.gpu.bindings.size,
        shaders: backend.gpu.shaderCount,
      };
    };
    const first = await step();
    for (let i = 1; i <= 20; i++) await step(i % 10 === 0);
    const before = look();
    let last = first;
    // Every tenth loss is read, as a training does; the last one is.
    for (let i = 1; i <= STEPS; i++) last = await step(i % 10 === 0);
    expect(look()).toEqual(before);
    // A slab for every 256 blocks of 8,192, then they are forgotten.
    expect(count("uniforms").buffers).toBeLessThanOrEqual(33);
    expect(last).toBeLessThan(first / 2);
    await backend.dispose();
  }, 300_000);

  it("shaders of programs that are made anew at each call are kept within a bound", async () => {
    const gpu = new Gpu(await openDevice(undefined), 8);
    const backend = await use(new WebgpuBackend(gpu, Infinity));
    const x = tensor([1, 2, 3]);
    const plus = (i: number): Tensor => {
      const add = defineUpdate({
        name: `plus ${i}`,
        state: 1,
        inputs: 0,
        params: [],
        body: ([one]) => {
          const sum = scalar.add(one as scalar.Expr, i);
          return [scalar.check(sum, scalar.lt(sum, 23), "integer division by zero")];
        },
      });
      return pureUpdate(add, [x], [], [])[0] as Tensor;
    };
    for (let i = 0; i < 20; i++) {
      const y = plus(i);
      expect([...(await y.data())]).toEqual([1 + i, 2 + i, 3 + i]);
      y.dispose();
      expect(gpu.shaderCount).toBeLessThanOrEqual(8);
    }
    // A check is told by name as long as its program is known.
    const wrong = plus(20);
    await expect(wrong.data()).rejects.toThrow(/plus 20.*division by zero/);
    wrong.dispose();
    const lost = plus(21);
    const further = Array.from({ length: 8 }, () => plus(1));
    await expect(lost.data()).rejects.toThrow(/a check of a program failed.*Read more often/);
    for (const y of [lost, ...further]) y.dispose();
    x.dispose();
    await backend.dispose();
  });
});
