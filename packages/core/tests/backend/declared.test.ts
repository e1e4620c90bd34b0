import { cpu } from "@nf/backend-cpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { type Altered, altered } from "./helper.ts";

/** A backend that computes f32 and integers, stores f16, and sorts f32 alone. */
let narrow: Altered;
const most: readonly core.DType[] = ["f32", "f16", "i32", "u32", "bool"];

beforeAll(async () => {
  const { dtypes } = (await cpu()).capabilities;
  narrow = await altered({ dtypes: { ...dtypes, map: most, sort: ["f32"], matmul: ["f32"] } });
  await core.use(narrow);
});
afterAll(() => narrow.dispose());

const inScope = (body: () => void): void => {
  const scope = new core.Scope();
  try {
    scope.run(body);
  } finally {
    scope.dispose();
  }
};

describe("a dtype that the backend does not declare", () => {
  it.each<[string, () => unknown, RegExp]>([
    [
      "made from values",
      () => core.tensor([1], { dtype: "f64" }),
      /^(tensor|fromData): .* no f64 in its kernel "map", which takes f32, f16, i32, u32, bool/,
    ],
    ["made by a program", () => core.zeros([2], { dtype: "u8" }), /no u8 in its kernel "map"/],
    ["asked for by cast", () => core.ones([2]).cast("bf16"), /^cast: .* no bf16/],
    [
      "of a kernel of its own",
      () => core.sort(core.ones([2], { dtype: "f16" })),
      /^sort: .* no f16 in its kernel "sort", which takes f32\. Convert/,
    ],
    [
      "of a product",
      () => core.matmul(core.ones([2, 2], { dtype: "f16" }), core.ones([2, 2], { dtype: "f16" })),
      /^matmul: .* no f16/,
    ],
  ])("is refused by core, and never reaches it: %s", (_name, run, message) => {
    inScope(() => {
      const calls = narrow.calls.filter(({ kernel }) => kernel !== "map").length;
      expect(run).toThrow(message);
      expect(run).toThrow(expect.objectContaining({ code: "NF_UNSUPPORTED" }));
      expect(narrow.calls.filter(({ kernel }) => kernel !== "map")).toHaveLength(calls);
    });
    expect(core.memory(narrow).liveBuffers).toBe(0);
  });

  it("leaves the others alone", () => {
    inScope(() => expect(core.sort(core.tensor([2, 1])).values.dataSync()).toEqual(Float32Array.of(1, 2)));
  });
});
