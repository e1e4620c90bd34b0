import { cpu } from "@nf/backend-cpu";
import { ones, type Tensor, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import * as nn from "../src/index.ts";
import { build, call, option, shape } from "./refusals.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("containers", () => {
  it("ModuleList and ModuleDict name parameters as PyTorch does", async () => {
    class Net extends nn.Module {
      readonly blocks = new nn.ModuleList([new nn.Linear(2, 2), new nn.Linear(2, 2)]);
      readonly heads = new nn.ModuleDict({ a: new nn.Linear(2, 1), b: new nn.Linear(2, 3) });
      forward(x: Tensor, head: "a" | "b"): Tensor {
        let y = x;
        for (const block of this.blocks) y = block.forward(y);
        return this.heads.get(head).forward(y);
      }
    }
    const net = new Net();
    expect(Object.keys(net.stateDict())).toEqual(
      ["blocks.0", "blocks.1", "heads.a", "heads.b"].flatMap((name) => [`${name}.weight`, `${name}.bias`]),
    );
    expect(net.forward(ones([4, 2]), "b").shape).toEqual([4, 3]);
    const { structure, params, state } = nn.functionalize(net);
    const [y] = structure.apply({ params, state }, ones([4, 2]), { moreInputs: ["a"] });
    expect(y.shape).toEqual([4, 1]);
    net.blocks.append(new nn.Linear(2, 2)).extend([new nn.Linear(2, 2)]);
    expect([net.blocks.length, net.blocks.at(-1)]).toEqual([4, net.blocks.at(3)]);
    expect(net.heads.set("a", new nn.Linear(2, 1)).keys()).toEqual(["a", "b"]);
    expect([
      net.heads.size,
      net.heads.has("c"),
      net.heads.values().length,
      net.heads.entries().length,
    ]).toEqual([2, false, 2, 2]);
    expect(call(net.blocks)).toThrow(option(/ModuleList: has no forward/));
    expect(call(net.heads)).toThrow(option(/ModuleDict: has no forward/));
    expect(() => net.blocks.at(9)).toThrow(/no module 9 among 4/);
    expect(() => Reflect.apply(net.heads.get, net.heads, ["c"])).toThrow(/no module "c".*a, b/);
    expect(build(nn.ModuleList, [3])).toThrow(option(/module 0 must be a module, got 3/));
    expect(build(nn.ModuleDict, { "a.b": new nn.ReLU() })).toThrow(option(/without dots/));
  });

  it("sequential and block take names", () => {
    const named = nn.sequential(["hidden", new nn.Linear(2, 2)], new nn.ReLU(), ["out", new nn.Linear(2, 1)]);
    expect(named.names).toEqual(["hidden", "1", "out"]);
    expect(Object.keys(named.stateDict())).toEqual([
      "hidden.weight",
      "hidden.bias",
      "out.weight",
      "out.bias",
    ]);
    expect(call(named, ones([1, 3]))).toThrow(shape(/layer hidden of sequential: Linear\(2, 2\)/));
    const stem = nn.block("Stem", new nn.Linear(2, 3), ["act", new nn.ReLU()]);
    expect(stem.toString()).toBe("Stem()");
    expect(Object.keys(stem.stateDict())).toEqual(["0.weight", "0.bias"]);
    expect(call(stem, ones([1, 3]))).toThrow(shape(/layer 0 of block Stem/));
    expect(nn.inspect(nn.sequential(stem, new nn.Linear(3, 1)), [2])).toMatch(/├─ 0 \(Stem\) /);
    expect(nn.functionalize(stem).structure.apply(nn.functionalize(stem), ones([1, 2]))[0].shape).toEqual([
      1, 3,
    ]);
    const relu = new nn.ReLU();
    expect(() => Reflect.apply(nn.sequential, undefined, [["a.b", relu]])).toThrow(option(/without dots/));
    expect(() =>
      Reflect.apply(nn.sequential, undefined, [
        ["a", relu],
        ["a", relu],
      ]),
    ).toThrow(option(/"a" comes twice/));
    expect(() => Reflect.apply(nn.sequential, undefined, [["a", 3]])).toThrow(
      option(/layer 0 must be a module/),
    );
    expect(() => Reflect.apply(nn.block, undefined, [3, relu])).toThrow(option(/block: a name must be/));
  });

  it("Residual adds, and keeps the shape", async () => {
    const layer = new nn.Residual(new nn.Hardtanh());
    expect(await layer.forward(tensor([0.5, 3])).toArray()).toEqual([1, 4]);
    const wide: nn.Layer = new nn.Linear(2, 1);
    expect(call(new nn.Residual(wide), ones([3, 2]))).toThrow(shape(/must keep the shape/));
    expect(build(nn.Residual, 3)).toThrow(option(/expected a module, got 3/));
  });
});
