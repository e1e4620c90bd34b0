import { describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { smallNetwork, trainSteps } from "./helper.ts";

const { nullBackend } = core;

describe("the null backend", () => {
  it("has shapes and no values", async () => {
    const backend = nullBackend();
    await core.use(backend);
    const x = core.tensor([[1, 2, 3]]);
    const y = core.softmax(x.transpose().matmul(x), { axis: 0 });
    expect(y.shape).toEqual([3, 3]);
    expect(Array.from(y.dataSync())).toEqual(new Array(9).fill(0));
    expect(await y.sum().item()).toBe(0);
  });

  it("counts operations as arithmetic does", async () => {
    const backend = nullBackend();
    await core.use(backend);
    const a = core.zeros([64, 32]);
    const b = core.zeros([32, 16]);
    const images = core.zeros([2, 3, 10, 10]);
    const kernel = core.zeros([8, 3, 3, 3]);
    const bias = core.zeros([8]);
    backend.reset();
    a.matmul(b);
    expect(backend.work()).toEqual({
      calls: 1,
      flops: 2 * 64 * 32 * 16,
      kernels: { matmul: { calls: 1, flops: 2 * 64 * 32 * 16 } },
    });
    backend.reset();
    core.conv2d(images, kernel, bias);
    const outputs = 2 * 8 * 8 * 8;
    expect(backend.work().flops).toBe(outputs * (2 * 27 + 1));
    backend.reset();
    a.add(a).mul(2).sum({ axis: 0 });
    expect(backend.work().kernels).toEqual({
      map: { calls: 2, flops: 2 * 64 * 32 },
      reduce: { calls: 1, flops: 64 * 32 },
    });
    backend.reset();
    a.greater(0).cast("i32").add(1);
    core.indexSelect(a, 0, core.arange(0, 5, 1, { dtype: "i32" }));
    expect(backend.work().flops).toBe(0);
    expect(backend.work().calls).toBeGreaterThan(3);
  });

  it("takes the backward of a product for twice the forward, fused or not", async () => {
    const backend = nullBackend();
    await core.use(backend);
    const x = core.zeros([32, 24], { requiresGrad: true });
    const w = core.parameter(core.zeros([24, 8]));
    backend.reset();
    const y = x.matmul(w);
    const forward = backend.work().kernels.matmul?.flops as number;
    y.sum().backward();
    expect(backend.work().kernels.matmul?.flops).toBe(3 * forward);
    const images = core.zeros([2, 3, 10, 10], { requiresGrad: true });
    const kernel = core.parameter(core.zeros([8, 3, 3, 3]));
    backend.reset();
    const out = core.conv2d(images, kernel);
    const once = backend.work().flops;
    out.sum().backward();
    expect(backend.work().kernels.conv).toEqual({ calls: 3, flops: 3 * once });
    backend.reset();
    core.withFusion("off", () => core.conv2d(images, kernel));
    expect(backend.work().kernels.conv).toBeUndefined();
    expect(backend.work().kernels.matmul?.flops).toBe(once);
  });

  it("schedules as a real backend does: same calls each step, flat memory, under validate", async () => {
    const backend = nullBackend();
    await core.use(core.validate(backend));
    const { weights, loss } = smallNetwork();
    const step = (): number => {
      backend.reset();
      core.zeroGrad(weights);
      loss().backward();
      return backend.work().calls;
    };
    step();
    const calls = step();
    const { liveBuffers, poolMisses } = core.memory();
    for (let i = 0; i < 5; i++) expect(step()).toBe(calls);
    expect(core.memory()).toMatchObject({ liveBuffers, poolMisses });
    expect(trainSteps(2)).toEqual([0, 0]);
  });

  it("plans memory of what would not fit here", async () => {
    await core.use(nullBackend());
    core.resetPeakMemory();
    const w = core.zeros([50_000, 40_000]);
    w.add(1).dispose();
    expect(core.memory().peakBytes).toBeGreaterThanOrEqual(2 * 8e9);
    w.dispose();
    expect(core.memory().liveBytes).toBe(0);
  });

  it("has every kernel and every capability", async () => {
    const { capabilities } = nullBackend({ matmulWeights: ["bf16"] });
    expect(capabilities.matmulWeights).toEqual(["bf16"]);
    expect(nullBackend().capabilities.matmulWeights).toEqual(["f16", "bf16"]);
    // A 16-bit weight is multiplied as it is stored: no f32 copy of it is ever made.
    const backend = await core.use(nullBackend());
    const [x, weight] = [core.zeros([1, 64]), core.zeros([64, 64], { dtype: "bf16" })];
    core.resetPeakMemory();
    const before = core.memory(backend).peakBytes;
    x.matmul(weight).dispose();
    expect(core.memory(backend).peakBytes - before).toBeLessThan(64 * 64 * 4);
    for (const one of [x, weight]) one.dispose();
  });

  it("pretends what it is told: kernels, limits, no synchronous reads", async () => {
    const { dtypes } = nullBackend().capabilities;
    const { map, reduce, argReduce, matmul, gather, scatter, scan, sort } = dtypes;
    const bare = nullBackend({
      dtypes: { map, reduce, argReduce, matmul, gather, scatter, scan, sort },
      readSync: false,
      maxBufferBytes: 4096,
      maxBuffersPerCall: 4,
    });
    await core.use(core.validate(bare));
    const x = core.zeros([4, 8], { requiresGrad: true });
    core.crossEntropy(x, core.zeros([4], { dtype: "i32" })).backward();
    expect(Object.keys(bare.work().kernels).sort()).toEqual(["gather", "map", "reduce", "scatter"]);
    expect(() => x.dataSync()).toThrow(expect.objectContaining({ code: "NF_UNSUPPORTED" }));
    expect(() => core.zeros([5000])).toThrow(
      expect.objectContaining({ code: "NF_OUT_OF_MEMORY", limitBytes: 4096 }),
    );
    expect(() => nullBackend({ threads: 2, speed: 9 } as Partial<core.Capabilities>)).toThrow(
      expect.objectContaining({ code: "NF_OPTION" }),
    );
    await bare.dispose();
    expect(() => bare.allocate(4)).toThrow(/after dispose/);
    await expect(bare.synchronize()).rejects.toThrow(/after dispose/);
  });
});
