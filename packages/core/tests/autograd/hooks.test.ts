import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { fixed, leaf, open, values } from "./helper.ts";

beforeEach(async () => {
  await open();
});

describe("gradient hooks", () => {
  it("see the whole gradient of a leaf, once a backward, before it is added", () => {
    const x = leaf([1, 2]);
    const seen: (number[] | null)[] = [];
    x.registerHook((gradient) => {
      seen.push(values(gradient));
      return undefined;
    });
    x.mul(2).add(x.mul(x)).sum().backward();
    x.sum().backward();
    expect(seen).toEqual([
      [4, 6],
      [1, 1],
    ]);
    expect(values(x.grad)).toEqual([5, 7]);
  });

  it("see that of an intermediate, and what they return takes its place on the way down", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    const order: string[] = [];
    h.registerHook((gradient) => {
      order.push("first");
      return gradient.mul(10);
    });
    h.registerHook((gradient) => {
      order.push("second");
      expect(values(gradient)).toEqual([30, 30]);
      return undefined;
    });
    h.mul(3).sum().backward();
    expect(order).toEqual(["first", "second"]);
    expect(values(x.grad)).toEqual([60, 60]);
  });

  it("change what a leaf collects", () => {
    const x = leaf([3, -4]);
    x.registerHook((gradient) => core.clip(gradient, { min: -1, max: 1 }));
    x.mul(x).sum().backward();
    expect(values(x.grad)).toEqual([1, -1]);
  });

  it("are gone once removed", () => {
    const x = leaf([1]);
    let calls = 0;
    const remove = x.registerHook(() => {
      calls++;
      return undefined;
    });
    x.sum().backward();
    remove();
    remove();
    x.sum().backward();
    expect(calls).toBe(1);
  });

  it("may keep a gradient, which then outlives backward and zeroGrad", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    const kept: core.Tensor[] = [];
    for (const one of [h, x]) one.registerHook((gradient) => void kept.push(gradient.keep()));
    h.mul(3).sum().backward();
    expect(values(x.grad)).toEqual([6, 6]);
    core.zeroGrad([x]);
    expect(kept.map(values)).toEqual([
      [3, 3],
      [6, 6],
    ]);
  });

  it("end what they do not keep, with a clear error", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    let seen: core.Tensor | undefined;
    h.registerHook((gradient) => {
      seen = gradient;
      return undefined;
    });
    h.mul(h).sum().backward();
    expect(() => seen?.sum()).toThrow(/was ended because backward was done with it.*\.keep\(\)/);
  });

  it("may return a tensor of the caller's, which stays the caller's", () => {
    const x = leaf([1, 2]);
    const mine = fixed([7, 8]);
    const h = x.mul(2);
    h.registerHook(() => mine);
    h.mul(3).sum().backward();
    expect(values(x.grad)).toEqual([14, 16]);
    x.registerHook(() => mine);
    x.sum().backward();
    expect(values(x.grad)).toEqual([21, 24]);
    core.zeroGrad([x]);
    x.sum().backward();
    expect(x.grad).not.toBe(mine);
    core.zeroGrad([x]);
    expect(values(mine)).toEqual([7, 8]);
  });

  it("refuse a wrong shape, a dead tensor, and tensors without gradients", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    h.registerHook(() => fixed([1, 2, 3]));
    expect(() => h.sum().backward()).toThrow(
      expect.objectContaining({
        code: "NF_SHAPE",
        message: expect.stringMatching(/hook: returned a tensor of shape \[3\]/),
      }),
    );
    const y = leaf([1]);
    const dead = fixed([1]);
    dead.dispose();
    y.registerHook(() => dead);
    expect(() => y.sum().backward()).toThrow(expect.objectContaining({ code: "NF_DEAD_TENSOR" }));
    expect(() => fixed([1]).registerHook(() => undefined)).toThrow(/requires no gradient/);
  });

  it("are differentiated along with createGraph", () => {
    const x = leaf([2]);
    const h = x.mul(x);
    h.registerHook((gradient) => gradient.mul(x));
    h.mul(h).sum().backward(undefined, { createGraph: true });
    // d(h²)/dh = 2 x², times x, times 2 x = 4 x⁴
    expect(values(x.grad)).toEqual([64]);
    const first = x.grad as core.Tensor;
    const [second] = core.vjp(() => first, x);
    expect(values(second)).toEqual([64]);
    core.scope(() => first.sum().backward());
    // 4 h x² by x is 8 h x, and by h 4 x²; the hook meets that one too, times x, times 2 x.
    expect(values(x.grad)).toEqual([64 + 64 + 128]);
  });
});
