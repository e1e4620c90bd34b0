import { cpu } from "@nf/backend-cpu";
import {
  memory,
  mul,
  ones,
  parameter,
  square,
  sum,
  type Tensor,
  tensor,
  treeMap,
  use,
  valueAndGrad,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { adam, clipGradNorm, clipGradValue, clipNorm, clipValue, EMA, SGD, sgd } from "../src/index.ts";
import { golden } from "./golden.ts";

interface Goldens {
  readonly shapes: readonly (readonly number[])[];
  readonly gradients: readonly (readonly number[])[];
  readonly norms: readonly {
    readonly maxNorm: number;
    readonly normType: number;
    readonly norm: number;
    readonly gradients: readonly (readonly number[])[];
  }[];
  readonly clipValue: number;
  readonly values: readonly (readonly number[])[];
  readonly ema: {
    readonly decay: number;
    readonly parameters: readonly (readonly number[])[];
    readonly averages: readonly (readonly number[])[];
  };
}

const goldens = golden<Goldens>("clipping.json");

beforeAll(async () => {
  await use(cpu());
});

function gradients(): Tensor[] {
  return goldens.gradients.map((row, i) =>
    tensor(row, { dtype: "f64" }).reshape(goldens.shapes[i] as readonly number[]),
  );
}

/** Parameters with gradients, and one without. */
function holders(): readonly Tensor[] {
  const holding = gradients().map((gradient) => {
    const one = parameter(zeros(gradient.shape, { dtype: "f64" }));
    one.grad = gradient;
    return one;
  });
  return [...holding, parameter(zeros([2]))];
}

async function expectNear(
  tensors: readonly (Tensor | null)[],
  rows: readonly (readonly number[])[],
): Promise<void> {
  for (const [i, row] of rows.entries()) {
    const got = Array.from(await (tensors[i] as Tensor).data());
    for (const [k, value] of row.entries()) expect(Math.abs((got[k] as number) - value)).toBeLessThan(1e-14);
  }
}

describe("clipping", () => {
  it.each(goldens.norms)("to norm $maxNorm of type $normType, as PyTorch", async (test) => {
    const parameters = holders();
    const norm = clipGradNorm(parameters, test.maxNorm, { normType: test.normType });
    expect(Math.abs((await norm.item()) - test.norm)).toBeLessThan(1e-13);
    await expectNear(
      parameters.map(({ grad }) => grad),
      test.gradients,
    );
    expect(parameters[2]?.grad).toBeNull();
    const [a, b] = gradients() as [Tensor, Tensor];
    const [clipped, same] = clipNorm({ a, deep: [b] }, test.maxNorm, { normType: test.normType });
    expect(await same.item()).toBe(await norm.item());
    expect(await clipped.a.toArray()).toEqual(await parameters[0]?.grad?.toArray());
    expect(await clipped.deep[0]?.toArray()).toEqual(await parameters[1]?.grad?.toArray());
  });

  it("by value, as PyTorch", async () => {
    const parameters = holders();
    clipGradValue(parameters, goldens.clipValue);
    await expectNear(
      parameters.map(({ grad }) => grad),
      goldens.values,
    );
    await expectNear(clipValue(gradients(), goldens.clipValue), goldens.values);
  });

  it("passes NaN on, clips dtypes apart and takes nothing to clip", async () => {
    const [a, b] = [parameter(zeros([2])), parameter(zeros([1], { dtype: "f16" }))];
    a.grad = tensor([3, 0]);
    b.grad = tensor([4], { dtype: "f16" });
    expect(await clipGradNorm([a, b], 1).item()).toBe(5);
    expect((await a.grad.data())[0]).toBeCloseTo(0.6, 5);
    expect(b.grad.dtype).toBe("f16");
    a.grad = tensor([Number.NaN, 1]);
    expect(await clipGradNorm([a], 1).item()).toBeNaN();
    expect(Array.from(await a.grad.data())).toEqual([Number.NaN, Number.NaN]);
    expect(await clipGradNorm([parameter(zeros([2]))], 1).item()).toBe(0);
    const empty = parameter(zeros([0]));
    empty.grad = zeros([0]);
    expect(await clipGradNorm([empty], 1, { normType: Infinity }).item()).toBe(0);
  });

  it("keeps memory flat in a loop", () => {
    const p = parameter(tensor([1, 2]));
    const optimizer = new SGD([p], { lr: 0.1 });
    const norms: Tensor[] = [];
    const counts = Array.from({ length: 8 }, () => {
      optimizer.zeroGrad();
      sum(square(p)).backward();
      norms.push(clipGradNorm([p], 0.1));
      clipGradValue([p], 0.05);
      optimizer.step();
      return memory().liveTensors;
    });
    expect(new Set(counts.slice(2)).size).toBe(1);
    expect(norms.map((norm) => norm.isDisposed)).toEqual([...new Array(7).fill(true), false]);
    const kept = (norms.at(-1) as Tensor).keep();
    clipGradNorm([p], 1).dispose();
    expect(kept.isDisposed).toBe(false);
  });

  it("refuses what is wrong", () => {
    const p = parameter(zeros([1]));
    for (const call of [
      () => clipGradNorm([p], -1),
      () => clipGradNorm([p], 1, { normType: 0 }),
      () => clipGradNorm([p], 1, { norm: 2 } as object),
      () => clipGradNorm(3 as never, 1),
      () => clipGradNorm([3 as never], 1),
      () => clipGradValue([p], Number.NaN),
      () => clipNorm([p], -1),
      () => clipValue([p], -1),
    ])
      expect(call).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
  });
});

describe("accumulation", () => {
  const batch = (): Tensor => tensor([[1], [2], [3], [4]], { dtype: "f64" });
  const lossOf = (w: Tensor, x: Tensor): Tensor => square(mul(w, x)).mean();

  it("of backward over parts gives the step of the whole batch", async () => {
    const run = async (parts: number): Promise<unknown> => {
      const w = parameter(tensor([1], { dtype: "f64" }));
      const optimizer = new SGD([w], { lr: 0.125, momentum: 0.5 });
      for (let step = 0; step < 3; step++) {
        optimizer.zeroGrad();
        for (const part of batch().split(4 / parts)) lossOf(w, part).div(parts).backward();
        optimizer.step();
      }
      return w.toArray();
    };
    expect(await run(2)).toEqual(await run(1));
    expect(await run(4)).toEqual(await run(1));
  });

  it("of trees does so too", async () => {
    const step = valueAndGrad((params: { w: Tensor }, x: Tensor) => lossOf(params.w, x));
    const run = async (parts: number): Promise<unknown> => {
      let params = { w: tensor([1], { dtype: "f64" }) };
      const { init, update } = sgd({ lr: 0.125, momentum: 0.5 });
      let state = init(params);
      for (let i = 0; i < 3; i++) {
        const grads = batch()
          .split(4 / parts)
          .map((part) => step(params, part)[1]);
        const total = grads.reduce((sum, next) => treeMap((a, b) => a.add(b as Tensor), sum, next));
        const mean = treeMap((leaf) => leaf.div(parts), total);
        [params, state] = update(mean, state, params);
      }
      return params.w.toArray();
    };
    expect(await run(4)).toEqual(await run(1));
  });

  it("and clipping fit into a pure step", async () => {
    const { init, update } = adam({ lr: 0.1 });
    let params = { w: tensor([4, -3]) };
    let state = init(params);
    const step = valueAndGrad((p: typeof params) => sum(square(p.w)));
    for (let i = 0; i < 100; i++) {
      const [, grads] = step(params);
      [params, state] = update(clipNorm(grads, 1)[0], state, params);
    }
    for (const value of await params.w.data()) expect(Math.abs(value)).toBeLessThan(0.1);
  });
});

describe("EMA", () => {
  const { decay, parameters: rows, averages } = goldens.ema;
  const value = (row: readonly number[]): Tensor => tensor(row, { dtype: "f64" });

  it("averages as PyTorch, and goes on where it was saved", async () => {
    const p = parameter(zeros([4], { dtype: "f64" }));
    const optimizer = new SGD([p], { lr: 1 });
    let ema = new EMA([p], { decay });
    for (const [step, row] of rows.entries()) {
      // A step of SGD at rate 1 to the row.
      p.grad = p.detach().sub(value(row));
      optimizer.step();
      ema.update();
      await expectNear([ema.stateDict().averages["0"] as Tensor], [averages[step] as readonly number[]]);
      if (step === 3) {
        const saved = ema.stateDict();
        ema = new EMA([p], { decay });
        ema.loadStateDict(saved);
      }
    }
    ema.copyTo();
    await expectNear([p], [averages.at(-1) as readonly number[]]);
  });

  it("swaps in and out to the bit", async () => {
    const [a, b] = [parameter(tensor([1, 2])), parameter(tensor([3], { dtype: "f16" }))];
    const before = memory().liveTensors;
    const ema = new EMA([a, b], { decay: 0.5 });
    ema.update();
    for (const p of [a, b]) p.grad = ones(p.shape, { dtype: p.dtype });
    new SGD([a, b], { lr: 1 }).step();
    ema.update();
    ema.swap();
    expect([await a.toArray(), await b.toArray()]).toEqual([[0.5, 1.5], [2.5]]);
    expect(() => ema.update()).toThrow(/Call swap\(\) again/);
    expect(() => ema.stateDict()).toThrow(/Call swap\(\) again/);
    ema.swap();
    expect([await a.toArray(), await b.toArray()]).toEqual([[0, 1], [2]]);
    a.grad = null;
    b.grad = null;
    ema.dispose();
    expect(() => ema.update()).toThrow(expect.objectContaining({ code: "NF_DEAD_TENSOR" }));
    expect(memory().liveTensors).toBe(before);
  });

  it("refuses what is wrong", () => {
    const p = parameter(zeros([2]));
    const ema = new EMA([p]);
    for (const call of [
      () => new EMA([]),
      () => new EMA([p, p]),
      () => new EMA([p], { decay: 2 }),
      () => new EMA([p], { rate: 2 } as object),
      () => new EMA(3 as never),
      () => ema.loadStateDict({} as ReturnType<EMA["stateDict"]>),
      () => ema.loadStateDict({ updates: 1, averages: {} }),
      () => ema.loadStateDict({ updates: 1, averages: { 0: p, 1: p } }),
    ])
      expect(call).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    expect(() => ema.loadStateDict({ updates: 1, averages: { 0: zeros([3]) } })).toThrow(/shape \[2\]/);
    expect(() => new EMA([zeros([1], { dtype: "i32" })])).toThrow(/i32/);
  });
});
