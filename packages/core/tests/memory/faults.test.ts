import { cpu } from "@nf/backend-cpu";
import { describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { alive, counts, forward, makeBatch, makeWeights, open, step } from "./helper.ts";

const { crossEntropy, scope, tensor, zeros } = core;

/** A backend that fails at chosen moments. */
class Failing extends core.BackendDecorator {
  /** Calls and allocations that still succeed. */
  credit = Infinity;

  constructor(wrapped: core.Backend) {
    super("failing", wrapped);
  }

  override execute(call: core.Call): void {
    this.spend();
    super.execute(call);
  }

  override allocate(byteLength: number): core.BackendBuffer {
    this.spend();
    return super.allocate(byteLength);
  }

  override write(buffer: core.BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.spend();
    super.write(buffer, byteOffset, bytes);
  }

  private spend(): void {
    if (--this.credit < 0) throw new core.BackendError("failing: no more credit.");
  }
}

describe("out of memory", () => {
  it("is typed with size and limit, and the next operation works, 100 times of 100", async () => {
    await open({ maxBytes: 64 * 1024 });
    const x = zeros([1024]);
    const wide = x.unsqueeze(1);
    for (let round = 0; round < 100; round++) {
      expect(() => zeros([20_000])).toThrow(
        expect.objectContaining({
          code: "NF_OUT_OF_MEMORY",
          requestedBytes: expect.any(Number),
          limitBytes: 64 * 1024,
          message: expect.stringMatching(/\d+ bytes/),
        }),
      );
      expect(() => wide.add(x)).toThrow(expect.objectContaining({ code: "NF_OUT_OF_MEMORY" }));
      const y = x.add(1);
      expect(y.dataSync()[1023]).toBe(1);
      y.dispose();
    }
    expect(alive().liveTensors).toBe(2);
  });

  it("first gives back what rests in the pool", async () => {
    await open({ maxBytes: 64 * 1024 });
    for (let size = 1000; size <= 12_000; size += 500) {
      const x = zeros([size]);
      x.dispose();
    }
    expect(core.memory().liveBuffers).toBe(0);
  });

  it("hits a training step anywhere, and the step after works", async () => {
    const backend = await open({ maxBytes: 200 * 1024 });
    const weights = makeWeights();
    const { x, y } = makeBatch();
    const before = alive(backend);
    for (let round = 0; round < 20; round++) {
      const hog = zeros([(160 + round) * 256]);
      expect(() =>
        scope(() => crossEntropy(forward(weights, x.expand([1500, 12, 8]).reshape([18_000, 8])), y)),
      ).toThrow(expect.objectContaining({ code: "NF_OUT_OF_MEMORY" }));
      hog.dispose();
      core.zeroGrad(weights);
      crossEntropy(forward(weights, x), y).backward();
      step(weights);
      core.zeroGrad(weights);
    }
    expect(alive(backend)).toEqual(before);
  });

  it("refuses more than 2^31 elements by name", async () => {
    await open();
    expect(() => zeros([2 ** 16, 2 ** 15])).toThrow(
      expect.objectContaining({ code: "NF_SHAPE", message: expect.stringMatching(/2147483648 elements/) }),
    );
  });
});

describe("a fault inside an operation", () => {
  const operations: [string, (x: core.Tensor, y: core.Tensor) => unknown][] = [
    ["add", (x, y) => x.add(y)],
    ["broadcast sum", (x) => x.mul(2).sum({ axis: 0 })],
    ["softmax", (x) => core.softmax(x, { axis: 0 })],
    ["matmul", (x, y) => x.matmul(y.transpose())],
    ["crossEntropy", (x) => crossEntropy(x, tensor(Int32Array.from([0, 1, 2])))],
    ["conv", (x) => core.conv2d(x.reshape([1, 1, 3, 4]), core.ones([2, 1, 2, 2]))],
    ["pool", (x) => core.maxPool2d(x.reshape([1, 1, 3, 4]), { kernelSize: 2 })],
    ["gather", (x) => core.gather(x, 1, tensor(Int32Array.from([0, 1, 2])).unsqueeze(1))],
    ["scatterAdd", (x, y) => core.scatterAdd(x, 0, core.zeros([3, 4], { dtype: "i32" }), y)],
    ["concat", (x, y) => core.concat([x, y, x], 1)],
    ["std", (x) => core.std(x, { axis: 1 })],
    ["argmax", (x) => x.argmax({ axis: 1 })],
    ["dropout", (x) => core.dropout(x)],
    ["prod", (x) => x.prod()],
    ["assign overlapping", (x) => core.assign(x.slice([0, 2]), x.slice([1, 3]))],
    ["grad", (x) => core.grad((p: core.Tensor) => core.gelu(p).mul(p).sum())(x)],
    [
      "backward",
      (x) => {
        const w = core.parameter(x.clone());
        try {
          core.silu(w.matmul(x.transpose())).sum().backward();
        } finally {
          w.grad = null;
          w.dispose();
        }
      },
    ],
  ];

  it.each(operations)("%s leaves no live buffer behind, whichever call fails", async (_name, run) => {
    const failing = new Failing(await cpu());
    await core.use(failing);
    const make = (): core.Tensor => core.randn([3, 4], { generator: new core.Generator(1) });
    const [x, y] = [make(), make()];
    const before = alive(failing);
    let credit = 0;
    for (let done = false; !done; credit++) {
      core.releaseMemory(failing);
      failing.credit = credit;
      try {
        scope(() => void run(x, y));
        done = true;
      } catch (error) {
        expect(error).toMatchObject({ code: "NF_BACKEND" });
      }
      failing.credit = Infinity;
      expect(alive(failing), `with ${credit} calls`).toEqual(before);
    }
    expect(credit).toBeGreaterThan(1);
  });

  it("outside of any scope leaves no live buffer either", async () => {
    const failing = new Failing(await cpu());
    await core.use(failing);
    const x = core.randn([3, 4]);
    const index = tensor(Int32Array.from([0, 5]));
    const before = alive(failing);
    for (let credit = 0; credit < 4; credit++) {
      core.releaseMemory(failing);
      failing.credit = credit;
      expect(() => core.std(core.softmax(x), { axis: 1 })).toThrow(/no more credit/);
      expect(() => tensor([1, 2, 3]).add(1).add(2)).toThrow(/no more credit/);
      failing.credit = Infinity;
    }
    expect(() => core.indexSelect(x, 0, index)).toThrow(expect.objectContaining({ code: "NF_INDEX" }));
    expect(() => core.indexSelect(x, 0, index.add(0))).toThrow(/index out of range/);
    expect(() => core.floorDivide(index, tensor(Int32Array.from([1, 0])))).toThrow(/division by zero/);
    expect(counts(failing)["liveBuffers"] as number).toBeLessThanOrEqual(
      (before["liveBuffers"] as number) + 8,
    );
  });
});
