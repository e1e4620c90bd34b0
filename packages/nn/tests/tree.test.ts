import { cpu } from "@nf/backend-cpu";
import { type Tensor, type Tree, tensor, treeLeaves, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { flattenParams, nestParams, treeEntries, treeFlatten, treePaths, treeZip } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const t = (value: number): Tensor => tensor([value]);

describe("trees", () => {
  it("know the paths of their tensors", () => {
    const tree = { a: t(1), deep: [t(2), { b: t(3) }], none: {} };
    expect(treePaths(tree)).toEqual(["a", "deep.0", "deep.1.b"]);
    expect(treeEntries(tree).map(([, leaf]) => leaf)).toEqual(treeLeaves(tree));
    expect(treePaths(t(1))).toEqual([""]);
    const wrong: unknown = { a: { b: 3 } };
    expect(() => treeEntries(wrong as Tree)).toThrow(/at a\.b, got 3/);
  });

  it("come apart and together again", () => {
    const tree = { a: t(1), deep: [t(2), { b: t(3) }] };
    const { leaves, unflatten } = treeFlatten(tree);
    expect(unflatten(leaves)).toEqual(tree);
    const other = unflatten([t(4), t(5), t(6)]);
    expect(treePaths(other)).toEqual(treePaths(tree));
    expect(other.a.shape).toEqual([1]);
    expect(() => unflatten(leaves.slice(1))).toThrow(/expected 3 tensors, got 2/);
  });

  it("are zipped by path, in whatever order their keys are", () => {
    const [a, b] = [
      { x: t(1), y: [t(2)] },
      { y: [t(3)], x: t(4) },
    ];
    expect(treeZip(a, b)).toEqual([
      ["x", [a.x, b.x]],
      ["y.0", [a.y[0], b.y[0]]],
    ]);
    expect(() => treeZip(a, { x: t(1), z: t(2) })).toThrow(/tree 2 has no y\.0\n {2}tree 1 has no z/);
  });

  it("have names, flat and nested", () => {
    const flat = {
      "0.weight": t(1),
      "0.bias": t(2),
      "blocks.1.norm.weight": t(3),
      gain: t(4),
      __proto__x: t(5),
    };
    const nested = nestParams(flat);
    expect(Object.keys(nested)).toEqual(["0", "blocks", "gain", "__proto__x"]);
    expect(nested).toEqual({
      0: { weight: flat["0.weight"], bias: flat["0.bias"] },
      blocks: { 1: { norm: { weight: flat["blocks.1.norm.weight"] } } },
      gain: flat.gain,
      __proto__x: flat.__proto__x,
    });
    expect(flattenParams(nested)).toEqual(flat);
    const hostile = nestParams(Object.fromEntries([["__proto__.polluted", t(1)]]));
    expect(Object.keys(hostile)).toEqual(["__proto__"]);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
    for (const params of [
      { a: t(1), "a.b": t(2) },
      { "a.b": t(2), a: t(1) },
    ])
      expect(() => nestParams(params)).toThrow(/"a" is a tensor and holds others too/);
    expect(() => flattenParams({ "a.b": t(1), a: { b: t(2) } })).toThrow(/the same name/);
    expect(() => flattenParams(t(1))).toThrow(/has no name/);
  });
});
