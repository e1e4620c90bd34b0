import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { scoped, setUp, tensorOf } from "../ops/helper.ts";

beforeAll(setUp);

const leaf = (): core.Tensor => tensorOf([1, 2], [2], "f32", true);

describe("misuse of gradients", () => {
  it(
    "says how backward takes its options",
    scoped(() => {
      const y = leaf().sum();
      expect(() => y.backward({ retainGraph: true } as never)).toThrow(core.GradientError);
      expect(() => y.backward({ retainGraph: true } as never)).toThrow(
        /backward: the first argument is the gradient .*backward\(undefined, \{ retainGraph: true \}\)/,
      );
    }),
  );

  it(
    "refuses what a hook returns that is no tensor, and what is no hook",
    scoped(() => {
      const x = leaf();
      x.registerHook((() => 3) as never);
      expect(() => x.sum().backward()).toThrow(/gradient hook: expected a tensor, got 3/);
      const y = leaf();
      y.registerHook((async () => undefined) as never);
      expect(() => y.sum().backward()).toThrow(core.ScopeError);
      expect(() => leaf().registerHook(3 as never)).toThrow(/registerHook: expected a function/);
    }),
  );

  it(
    "refuses gradients that are no tensors, or of another dtype",
    scoped(() => {
      const x = leaf();
      for (const value of [undefined, 3, tensorOf([1, 2], [2], "i32")]) {
        expect(() => {
          x.grad = value as never;
        }).toThrow(/grad: expected a f32 tensor or null, got /);
      }
    }),
  );

  it("names what it expects of functions, tensors and backends", () => {
    expect(() => core.zeroGrad(undefined as never)).toThrow(/zeroGrad: expected tensors/);
    expect(() => core.zeroGrad(leaf() as never)).toThrow(core.OptionError);
    expect(() => core.zeroGrad([3] as never)).toThrow(core.DTypeError);
    expect(() => core.scope(undefined as never)).toThrow(core.OptionError);
    expect(() => new core.Scope().run(3 as never)).toThrow(core.OptionError);
    expect(() => core.noGrad(3 as never)).toThrow(/noGrad: expected a function, got 3/);
    expect(() => core.enableGrad(3 as never)).toThrow(core.OptionError);
    expect(() => core.validate(undefined as never)).toThrow(/validate: expected a backend/);
    expect(() => core.profile(3 as never)).toThrow(/profile: expected a backend/);
  });
});
