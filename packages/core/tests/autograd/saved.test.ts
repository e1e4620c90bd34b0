import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { leaf, open, values } from "./helper.ts";

type T = core.Tensor;

let x: T;
let w: T;
beforeEach(async () => {
  await open();
  const grid = Array.from({ length: 16 }, (_, i) =>
    Array.from({ length: 16 }, (_, j) => Math.sin(i + 2 * j)),
  );
  x = leaf(grid);
  w = leaf(grid);
});

const ONE = 16 * 16 * 8;

/** Blocks (of a 16 x 16 float64 matrix) that a computation keeps once all its handles but the result are gone. */
function kept(fn: () => T): { readonly blocks: number; readonly result: T } {
  const before = core.memory().liveBytes;
  const result = core.scope(fn);
  const blocks = (core.memory().liveBytes - before) / ONE;
  return { blocks, result };
}

describe("what the tape saves", () => {
  // The result itself is one block; whatever is above it was kept for backward.
  it.each<[string, () => T, number]>([
    ["relu keeps its output alone", () => x.relu(), 1],
    ["tanh keeps its output alone", () => x.tanh(), 1],
    ["exp keeps its output alone", () => x.exp(), 1],
    ["sigmoid keeps its output alone", () => x.sigmoid(), 1],
    ["softmax keeps its output alone", () => core.softmax(x), 1],
    ["logSoftmax keeps its output alone", () => core.logSoftmax(x), 1],
    ["sqrt keeps its output alone", () => x.abs().add(1).sqrt(), 1],
    ["add keeps nothing", () => x.add(w), 1],
    ["sums of sums keep nothing", () => x.add(w).sub(3).add(x).neg(), 1],
    ["a number times keeps nothing", () => x.mul(2).mul(3).div(4), 1],
    ["views keep nothing, and own nothing", () => x.transpose().reshape([16, 16]).transpose(), 0],
    ["mul keeps operands that are there anyway", () => x.mul(w), 1],
    ["mul keeps an intermediate operand", () => x.add(1).mul(w), 2],
    [
      "mul by a constant keeps the constant alone",
      () => x.add(1).mul(core.ones([16, 16], { dtype: "f64" })),
      2,
    ],
    ["a chain of outputs keeps one a link", () => x.tanh().exp().sigmoid().relu(), 4],
    ["relu after an affine map frees what is before it", () => x.add(w).mul(2).relu(), 1],
    ["matmul keeps its operands alone", () => x.matmul(w), 1],
    ["sin keeps its input, which is there anyway", () => x.sin(), 1],
  ])("%s", (_name, fn, blocks) => {
    const measured = kept(fn);
    expect(measured.blocks).toBe(blocks);
    measured.result.sum().backward();
    expect(values(x.grad)?.every(Number.isFinite)).toBe(true);
  });

  it("shrinks as backward goes through, and is gone after it", () => {
    const before = core.memory().liveBytes;
    const loss = core.scope(() => {
      let y = x;
      for (let i = 0; i < 10; i++) y = y.tanh();
      return y.sum();
    });
    expect(core.memory().liveBytes - before).toBe(10 * ONE + 256);
    core.resetPeakMemory();
    const start = core.memory().peakBytes;
    loss.backward();
    // Two gradients and a kernel's result at a time, never ten.
    expect(core.memory().peakBytes - start).toBeLessThanOrEqual(3 * ONE + 512);
    expect(core.memory().liveBytes - before).toBe(ONE + 256);
    core.zeroGrad([x]);
    expect(core.memory().liveBytes).toBe(before);
  });

  it("only what the wanted gradients read is kept", () => {
    w.requiresGrad = false;
    const y = core.scope(() => x.add(1).mul(w.mul(1)));
    // d/dx needs the second factor; the first is let go.
    expect(values(y)).toHaveLength(256);
    const { blocks } = kept(() => x.add(1).mul(w));
    expect(blocks).toBe(1);
    expect(kept(() => x.add(1).matmul(w)).blocks).toBe(1);
    w.requiresGrad = true;
    expect(kept(() => x.add(1).matmul(w)).blocks).toBe(2);
  });
});
