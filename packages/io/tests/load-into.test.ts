import { cpu } from "@nf/backend-cpu";
import { memory, ones, parameter, scope, type Tensor, tensor, use } from "@nf/core";
import { Linear, type Module, sequential, Tanh } from "@nf/nn";
import { beforeAll, describe, expect, it } from "vitest";
import {
  encodeSafetensors,
  loadInto,
  openGguf,
  openSafetensors,
  WeightsMismatchError,
} from "../src/index.ts";
import { gguf } from "./support/gguf.ts";
import { withUnknown } from "./support/options.ts";

beforeAll(() => use(cpu()));

function model(): Module {
  return sequential(new Linear(2, 3), new Tanh());
}

describe("loadInto", () => {
  it("loads a model of @nf/nn, converting dtypes, and leaves no tensor", async () => {
    const net = model();
    const before = memory().liveTensors;
    const bytes = await scope(() => ({
      "0.weight": ones([3, 2], { dtype: "bf16" }).keep(),
      "0.bias": tensor([1, 2, 3], { dtype: "f64" }).keep(),
    }));
    const file = await openSafetensors(await encodeSafetensors(bytes));
    const seen: number[] = [];
    const report = await loadInto(net, file, {
      onProgress: ({ loadedBytes, totalBytes }) => seen.push(loadedBytes / totalBytes),
    });
    for (const one of Object.values(bytes)) one.dispose();
    expect(memory().liveTensors).toBe(before);
    expect(report).toEqual({ missing: [], unexpected: [] });
    expect(seen.at(-1)).toBe(1);
    expect(await net.stateDict()["0.bias"].toArray()).toEqual([1, 2, 3]);
    expect(await net.stateDict()["0.weight"].toArray()).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    expect(net.stateDict()["0.weight"].dtype).toBe("f32");
  });

  it("lists missing and unexpected names and all shapes at once, and loads nothing", async () => {
    const net = sequential(new Linear(2, 3), new Linear(3, 1));
    const was = await net.stateDict()["0.bias"].toArray();
    const q5 = { name: "1.bias", sizes: [32], type: 6, bytes: new Uint8Array(22) };
    const f32 = (name: string, ...sizes: number[]) => ({
      name,
      sizes,
      type: 0,
      bytes: new Uint8Array(4 * sizes.reduce((a, b) => a * b)),
    });
    const file = await openGguf(
      gguf([], [f32("0.bias", 3), f32("0.weight", 3, 2), f32("other", 1), f32("another", 2), q5]),
    );
    const error = await loadInto(net, file).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(WeightsMismatchError);
    expect(error).toMatchObject({
      code: "NF_DATA",
      missing: ["1.weight"],
      unexpected: ["other", "another"],
      mismatched: [
        { name: "0.weight", expected: [3, 2], received: [2, 3] },
        { name: "1.bias", expected: [1], received: [32] },
      ],
      unreadable: ["1.bias (q5_0)"],
    });
    expect(String(error)).toContain("missing: 1.weight");
    expect(String(error)).toContain("unexpected: other, another");
    expect(String(error)).toContain("shape of 0.weight: expected [3, 2], got [2, 3]");
    expect(await net.stateDict()["0.bias"].toArray()).toEqual(was);
  });

  it("translates names, leaves out what is not wanted, and reports without strict", async () => {
    const net = model();
    const file = await openSafetensors(
      await encodeSafetensors({ "net.weight": ones([3, 2]), "net.steps": tensor([1]), extra: tensor([1]) }),
    );
    const rename = (name: string): string | undefined =>
      name === "net.steps" ? undefined : name.replace("net.", "0.");
    await expect(loadInto(net, file, { rename })).rejects.toMatchObject({
      missing: ["0.bias"],
      unexpected: ["extra"],
    });
    const report = await loadInto(net, file, { rename, strict: false });
    expect(report).toEqual({ missing: ["0.bias"], unexpected: ["extra"] });
    await expect(loadInto(net, file, withUnknown({ map: rename }))).rejects.toMatchObject({
      code: "NF_OPTION",
    });
  });

  it("refuses two names that stand for one, and tells of the first of many", async () => {
    const net = model();
    const was = await net.stateDict()["0.bias"].toArray();
    const weights = {
      "0.weight": ones([3, 2]),
      "0.bias": tensor([1, 2, 3]),
      "old.0.bias": tensor([4, 5, 6]),
    };
    const file = await openSafetensors(await encodeSafetensors(weights));
    const rename = (name: string): string => name.replace("old.", "");
    for (const strict of [true, false]) {
      const refused = loadInto(net, file, { rename, strict });
      await expect(refused).rejects.toMatchObject({ repeated: ["0.bias (from 0.bias, old.0.bias)"] });
      await expect(refused).rejects.toThrow("more than once in the file: 0.bias (from 0.bias, old.0.bias)");
    }
    expect(await net.stateDict()["0.bias"].toArray()).toEqual(was);
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`other.${i}`, tensor([i])]));
    const error = await loadInto(net, await openSafetensors(await encodeSafetensors(many))).catch(
      (reason: unknown) => reason,
    );
    expect((error as WeightsMismatchError).unexpected).toHaveLength(1000);
    expect(String(error)).toContain(", and 980 more");
    expect(String(error).length).toBeLessThan(1000);
  });

  it("finds tied weights under one of their names", async () => {
    const shared = parameter(ones([2]));
    const tied = {
      stateDict: (): Record<string, Tensor> => ({ "embed.weight": shared, "head.weight": shared }),
    };
    const file = await openSafetensors(await encodeSafetensors({ "embed.weight": tensor([5, 6]) }));
    expect((await loadInto(tied, file)).missing).toEqual([]);
    expect(await shared.toArray()).toEqual([5, 6]);
    shared.dispose();
  });
});
