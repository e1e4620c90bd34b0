import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { alive, open } from "./helper.ts";

const { noGrad, parameter, Scope, scope, tensor } = core;

beforeEach(async () => {
  await open();
});

describe("scope", () => {
  it("ends what was made in it and passes on what it returns, at any depth", () => {
    const x = tensor([1, 2]);
    const before = alive().liveTensors as number;
    let inside: core.Tensor | undefined;
    const result = scope(() => {
      inside = x.mul(3);
      return { sum: inside.add(1), list: [x.mul(2), [x.neg()]], map: new Map([["a", x.exp()]]), n: 5 };
    });
    expect(inside?.isDisposed).toBe(true);
    expect(Array.from(result.sum.dataSync())).toEqual([4, 7]);
    expect(alive().liveTensors).toBe(before + 4);
    expect(() => inside?.sum()).toThrow(
      /sum: the result of "mul" of shape \[2\] was ended because its scope ended/,
    );
  });

  it("nests: results go to the scope around", () => {
    const before = alive();
    scope(() => {
      const outer = tensor([1]);
      const inner = scope(() => scope(() => outer.add(1)).add(1));
      expect(inner.itemSync()).toBe(3);
      expect(outer.itemSync()).toBe(1);
    });
    expect(alive()).toEqual(before);
  });

  it("does not end what came from outside, kept or returned twice", () => {
    const x = tensor([1, 2]);
    let kept: core.Tensor | undefined;
    const [a, b] = scope(() => {
      kept = x.mul(2).keep();
      const y = x.add(1);
      return [y, y];
    });
    expect(a).toBe(b);
    expect(scope(() => x)).toBe(x);
    expect([x, kept, a].map((one) => one?.isDisposed)).toEqual([false, false, false]);
  });

  it("refuses a promise, and its callback's own end stays quiet", async () => {
    const before = alive();
    for (const run of [
      () =>
        scope(async () => {
          const x = tensor([1]);
          await null;
          x.add(1);
        }),
      () => noGrad(async () => tensor([1])),
      () =>
        new Scope().run(async () => {
          await null;
        }),
      () => core.enableGrad(async () => {}),
      () => core.valueAndGrad(async (x: core.Tensor) => x.neg())(tensor(1)),
    ])
      expect(run).toThrow(
        expect.objectContaining({
          code: "NF_SCOPE",
          message: expect.stringMatching(/promise.*new Scope\(\)/),
        }),
      );
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(alive().liveTensors).toBeLessThanOrEqual((before.liveTensors as number) + 1);
  });

  it("leaves nothing after an exception, and the outer scope is back", () => {
    const before = alive();
    const fault = new Error("mine");
    const run = (): unknown =>
      scope(() => {
        tensor([1, 2, 3]).exp();
        scope(() => {
          tensor([4]).mul(2);
          throw fault;
        });
      });
    expect(run).toThrow(fault);
    expect(() =>
      scope(() => {
        tensor([1, 2]).add(tensor([1, 2, 3]));
      }),
    ).toThrow(expect.objectContaining({ code: "NF_SHAPE" }));
    expect(() => noGrad(() => core.grad((x: core.Tensor) => x.expand([2]))(tensor(1)))).toThrow(
      expect.objectContaining({ code: "NF_GRADIENT" }),
    );
    expect(core.gradientsEnabled()).toBe(true);
    expect(alive()).toEqual(before);
    const free = tensor([1]);
    expect(free.isDisposed).toBe(false);
    free.dispose();
  });

  it("leaves nothing of a graph whose computation or backward failed", () => {
    const w = parameter(tensor([1, 2]));
    const before = alive();
    for (const fail of [
      () =>
        w
          .mul(2)
          .exp()
          .add(tensor([1, 2, 3])),
      () => w.mul(2).exp().backward(),
      () => {
        const y = w.exp();
        y.registerHook(() => {
          throw new Error("hook");
        });
        y.sum().backward();
      },
      () => {
        const y = w.mul(w).sum();
        core.assign(w, tensor([5, 6]));
        y.backward();
      },
    ])
      expect(() => scope(fail)).toThrow();
    expect(w.grad).toBeNull();
    expect(alive()).toEqual(before);
  });

  it("releases graphs made with createGraph", () => {
    const w = parameter(tensor([1, 2]));
    const before = alive();
    scope(() => {
      w.mul(w).mul(w).sum().backward(undefined, { createGraph: true });
      const first = w.grad as core.Tensor;
      expect(first.requiresGrad).toBe(true);
      first.mul(first).sum().backward();
    });
    // d/dw of w^3 and of (3 w^2)^2.
    expect(Array.from(w.grad?.dataSync() ?? [])).toEqual([3 + 36, 12 + 36 * 8]);
    core.zeroGrad([w]);
    expect(alive()).toEqual(before);
    scope(() => {
      const second = core.grad((x: core.Tensor) =>
        core
          .grad((y: core.Tensor) => y.exp().mul(y).sum())(x)
          .sum(),
      )(w);
      expect(second.dataSync()).toHaveLength(2);
    });
    expect(alive()).toEqual(before);
  });

  it("keeps what the tape needs of a graph it returned", () => {
    const w = parameter(tensor([1, 2]));
    const before = alive();
    const loss = scope(() => {
      const hidden = w.exp();
      return hidden.mul(hidden).sum();
    });
    loss.backward();
    expect((w.grad as core.Tensor).dataSync()[0]).toBeCloseTo(2 * Math.exp(2), 4);
    core.zeroGrad([w]);
    expect(loss.isDisposed).toBe(true);
    expect(alive()).toEqual(before);
  });

  it("gives an unfinished graph back when a scope around it ends", () => {
    const w = parameter(tensor([1, 2]));
    const before = alive();
    scope(() => {
      scope(() => w.exp().mul(2)).sum();
    });
    expect(alive()).toEqual(before);
  });
});

describe("Scope", () => {
  it("is filled in several runs and ended once, or by `using`", () => {
    const before = alive();
    const own = new Scope("the batch ended");
    const x = own.run(() => tensor([1]));
    const y = own.run(() => x.add(1));
    expect(y.itemSync()).toBe(2);
    own.dispose();
    own.dispose();
    expect(() => y.neg()).toThrow(/was ended because the batch ended/);
    {
      using block = new Scope();
      block.run(() => tensor([3]));
    }
    expect(alive()).toEqual(before);
  });

  it("takes results of its tensors in, outside of run", () => {
    const before = alive();
    const batch = new Scope();
    const x = batch.run(() => tensor([[1, 2]]));
    const shifted = x.sub(1).transpose();
    const free = tensor([1]).mul(shifted);
    batch.dispose();
    expect([shifted.isDisposed, free.isDisposed]).toEqual([true, true]);
    expect(alive().liveTensors).toBe((before.liveTensors as number) + 1);
  });
});

describe("a tensor's end", () => {
  it("comes with dispose or `using`, and a second one does nothing", () => {
    const before = alive();
    const x = tensor([1, 2]);
    x.dispose();
    x.dispose();
    expect(x.isDisposed).toBe(true);
    {
      using y = tensor([1, 2]);
      expect(y.isDisposed).toBe(false);
    }
    expect(alive()).toEqual(before);
  });

  it("is named by every use, with what to do", async () => {
    const x = tensor([[1, 2]]);
    x.dispose();
    const uses: [string, () => unknown][] = [
      ["add", () => core.add(x, 1)],
      ["matmul", () => core.matmul(x, tensor([[1], [2]]))],
      ["sum", () => x.sum()],
      ["reshape", () => x.reshape([2])],
      ["dataSync", () => x.dataSync()],
      ["keep", () => x.keep()],
      ["assign", () => core.assign(x, tensor([1]))],
    ];
    for (const [op, use] of uses) {
      expect(use, op).toThrow(
        expect.objectContaining({
          code: "NF_DEAD_TENSOR",
          message: expect.stringMatching(new RegExp(`^${op}: .*dispose\\(\\) was called.*\\.keep\\(\\)`)),
        }),
      );
    }
    await expect(x.data()).rejects.toThrow(/^data: .*dispose\(\)/);
    expect(String(x)).toMatch(/disposed/);
  });

  it("leaves other tensors on the same memory alone", () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    const row = x.slice(1);
    const flipped = x.transpose();
    x.dispose();
    expect(Array.from(row.dataSync())).toEqual([3, 4]);
    expect(Array.from(flipped.dataSync())).toEqual([1, 3, 2, 4]);
    row.dispose();
    flipped.dispose();
  });

  it("waits for a read that is under way", async () => {
    const before = alive();
    const x = tensor([1, 2, 3]);
    const reading = x.data();
    x.dispose();
    const other = tensor([9, 9, 9]);
    expect(Array.from(await reading)).toEqual([1, 2, 3]);
    other.dispose();
    expect(alive()).toEqual(before);
  });
});
