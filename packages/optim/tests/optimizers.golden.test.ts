import { cpu } from "@nf/backend-cpu";
import { parameter, type Tensor, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import * as optim from "../src/index.ts";
import { golden } from "./golden.ts";

interface Case {
  readonly optimizer: string;
  readonly options: object;
  /** After each step. */
  readonly parameters: readonly (readonly number[])[];
}

interface Goldens {
  readonly start: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly cases: readonly Case[];
  /** NAdam's, whose betas OneCycleLR moves. */
  readonly cycled: readonly (readonly number[])[];
}

type Make = new (params: readonly Tensor[], options: object) => optim.Optimizer;
type MakePure = (options: object) => optim.PureOptimizer;

const { start, gradients, cases, cycled } = golden<Goldens>("optimizers.json");

function classOf({ optimizer }: Case): Make {
  return Reflect.get(optim, optimizer) as Make;
}

function pureOf({ optimizer }: Case): MakePure {
  return Reflect.get(optim, optimizer.toLowerCase()) as MakePure;
}

beforeAll(async () => {
  await use(cpu());
});

describe("as PyTorch's", () => {
  it("covers every optimiser", () => {
    const classes = Object.entries(optim)
      .filter(([, value]) => typeof value === "function" && value.prototype instanceof optim.Optimizer)
      .map(([name]) => name);
    expect(new Set(cases.map(({ optimizer }) => optimizer))).toEqual(new Set(classes));
  });

  it.each(cases.map((one) => ({ ...one, title: `${one.optimizer} ${JSON.stringify(one.options)}` })))(
    "$title",
    async (test) => {
      for (const dtype of ["f64", "f32"] as const) {
        const p = parameter(tensor(start, { dtype }));
        let optimizer = new (classOf(test))([p], test.options);
        const { init, update } = pureOf(test)(test.options);
        let params: readonly Tensor[] = [tensor(start, { dtype })];
        let state = init(params);
        for (const [step, row] of gradients.entries()) {
          p.grad = tensor(row, { dtype });
          optimizer.step();
          [params, state] = update([tensor(row, { dtype })], state, params);
          const got = Array.from(await p.data());
          // Both faces run the same program, and one that was saved and loaded on the way goes on: the same bits.
          expect(Array.from(await (params[0] as Tensor).data())).toEqual(got);
          for (const [i, expected] of (test.parameters[step] as readonly number[]).entries()) {
            const apart = Math.abs((got[i] as number) - expected) / Math.max(1, Math.abs(expected));
            expect(apart, `${dtype} step ${step + 1} element ${i}`).toBeLessThan(
              dtype === "f64" ? 1e-13 : 4e-6,
            );
          }
          if (step === 6) {
            const saved = optimizer.stateDict();
            const settings = JSON.stringify(saved.paramGroups);
            optimizer = new (classOf(test))([p], {});
            optimizer.loadStateDict(saved);
            expect(JSON.stringify(optimizer.stateDict().paramGroups)).toBe(settings);
          }
        }
      }
    },
  );
});

it("NAdam multiplies the momenta that its steps had, through a checkpoint as well", async () => {
  const p = parameter(tensor(start, { dtype: "f64" }));
  let optimizer = new optim.NAdam([p], { lr: 0.1 });
  const schedule = { maxLr: 0.1, totalSteps: gradients.length };
  let cycle = new optim.OneCycleLR(optimizer, schedule);
  for (const [step, row] of gradients.entries()) {
    p.grad = tensor(row, { dtype: "f64" });
    optimizer.step();
    cycle.step();
    const got = Array.from(await p.data());
    for (const [i, expected] of (cycled[step] as readonly number[]).entries())
      expect(Math.abs((got[i] as number) - expected), `step ${step + 1} element ${i}`).toBeLessThan(1e-12);
    if (step !== 6) continue;
    const [saved, place] = [optimizer.stateDict(), cycle.stateDict()];
    optimizer = new optim.NAdam([p]);
    optimizer.loadStateDict(saved);
    cycle = new optim.OneCycleLR(optimizer, schedule);
    cycle.loadStateDict(place);
  }
  const dict = optimizer.stateDict();
  const [kept] = Object.values(dict.state);
  const wrong = { ...dict, state: { 0: { ...kept, carried: Number.NaN } } } as typeof dict;
  expect(() => optimizer.loadStateDict(wrong)).toThrow(/carried of parameter 0/);
});

describe.each([...new Map(cases.map((one) => [one.optimizer, one])).values()])("$optimizer", (test) => {
  it("moves nothing else where one gradient is NaN, and skips what has none or is frozen", async () => {
    const make = (): Tensor => parameter(tensor([1, 2]));
    const [a, without, frozen] = [make(), make(), make()];
    const optimizer = new (classOf(test))([a, without, frozen], {});
    a.grad = tensor([Number.NaN, 1]);
    frozen.grad = tensor([1, 1]);
    frozen.requiresGrad = false;
    optimizer.step();
    const [first, second] = Array.from(await a.data());
    expect(first).toBeNaN();
    expect(second).not.toBe(2);
    expect(Number.isFinite(second)).toBe(true);
    expect(await without.toArray()).toEqual([1, 2]);
    expect(await frozen.toArray()).toEqual([1, 2]);
    expect(Object.keys(optimizer.stateDict().state)).toEqual(["0"]);
    frozen.requiresGrad = true;
    optimizer.step();
    expect(await frozen.toArray()).not.toEqual([1, 2]);
  });

  it("takes groups with options of their own, of which one may be empty", async () => {
    const [a, b] = [parameter(tensor([1])), parameter(tensor([1]))];
    const groups = [{ params: [a] }, { params: [] }, { params: [b], lr: 0 }];
    const optimizer = new (classOf(test))(groups as never, { lr: 0.25 });
    a.grad = tensor([1]);
    b.grad = tensor([1]);
    optimizer.step();
    expect(await a.toArray()).not.toEqual([1]);
    expect(await b.toArray()).toEqual([1]);
  });

  it("refuses options that are none, or wrong", () => {
    const p = [parameter(tensor([1]))];
    const make = classOf(test);
    const defaults = new make(p, {}).paramGroups[0] as object;
    for (const [name, value] of Object.entries(defaults)) {
      if (name === "params") continue;
      const wrong = typeof value === "boolean" ? [1, "yes"] : [-1, Number.NaN, "1", null];
      for (const bad of wrong) {
        const call = (): unknown => new make(p, { [name]: bad });
        expect(call, `${name}: ${bad}`).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
        expect(call).toThrow(new RegExp(`${test.optimizer}: ${name} must be`));
      }
    }
    expect(() => new make(p, { rate: 1 })).toThrow(/unknown option "rate"/);
    expect(() => pureOf(test)({ rate: 1 })).toThrow(/unknown option "rate"/);
    expect(() => new make([], {})).toThrow(/no parameters/);
  });
});
