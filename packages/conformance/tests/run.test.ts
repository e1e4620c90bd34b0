import { cpu } from "@nf/backend-cpu";
import { type Backend, BackendDecorator } from "@nf/core";
import { describe, expect, it } from "vitest";
import {
  compareBackends,
  conformance,
  formatComparison,
  formatScorecard,
  runConformance,
  supportMatrix,
} from "../src/index.ts";
import { replaced } from "./planted/host.ts";
import { fusedSoftmaxWrong } from "./planted/kernels.ts";

const few = { examples: 5, families: ["select"] } as const;

describe("running without a test runner", () => {
  it("counts, reports progress, and says what was skipped", async () => {
    const seen: number[] = [];
    const card = await runConformance(() => cpu(), {
      ...few,
      skip: ({ name }) => (name === "where f16" ? "half floats are slow" : undefined),
      onProgress: ({ done, total, family }) => {
        expect(family).toBe("select");
        seen.push(done / total);
      },
    });
    expect(card).toMatchObject({
      backend: "cpu",
      level: "complete",
      failed: 0,
      skipped: 1,
      notApplicable: 0,
      examples: 5,
      speed: [],
    });
    expect(card.passed).toBe(seen.length - 1);
    expect(seen.at(-1)).toBe(1);
    const text = formatScorecard(card);
    expect(text).toContain("half floats are slow: select > where f16");
    expect(text).toMatch(/^select +\d+ +0 +1 +0 /m);
    expect(JSON.parse(JSON.stringify(card))).toEqual(card);
  });

  it("says what failed, with the seed and how to repeat it", async () => {
    const card = await runConformance(async () => fusedSoftmaxWrong(await cpu()), {
      examples: 5,
      families: ["softmax"],
      seed: 77,
    });
    expect(card.failed).toBeGreaterThan(0);
    const [first] = card.families[0]!.failures;
    expect(first).toMatchObject({
      seed: 77,
      message: expect.stringMatching(/^softmax > softmax .*instead of.*\[seed 77\]/),
    });
    expect(JSON.parse(JSON.stringify(card))).toEqual(card);
    const text = formatScorecard(card);
    expect(text).toContain(first!.message);
    expect(text).toContain(
      'runConformance(createBackend, { level: "complete", seed: 77, examples: 5, families: ["softmax"] })',
    );
    const again = await runConformance(async () => fusedSoftmaxWrong(await cpu()), {
      examples: 5,
      families: ["softmax"],
      seed: 77,
    });
    expect(again.families[0]!.failures).toEqual(card.families[0]!.failures);
  });

  it("shrinks what failed on random examples", async () => {
    const card = await runConformance(async () => fusedSoftmaxWrong(await cpu()), {
      examples: 20,
      families: ["softmax"],
    });
    const { message } = card.families[0]!.failures.find(
      ({ check }) => check === "softmax on random examples",
    )!;
    expect(message).toMatch(/— for \[1\].* in .*\(fast-check seed -?\d+, path [\d:]+\)/);
  });

  it("has nothing to look at where a backend declares less", async () => {
    class Floats extends BackendDecorator {}
    const card = await runConformance(
      async () => {
        const inner = await cpu();
        const few = ["f32", "i32", "u32", "bool"] as const;
        const dtypes = {
          map: few,
          reduce: few,
          argReduce: few,
          matmul: few,
          gather: few,
          scatter: few,
          scan: few,
          sort: few,
        };
        return new Floats("floats", inner, { ...inner.capabilities, dtypes });
      },
      { examples: 5, families: ["unary", "fused"], level: "training" },
    );
    expect(card.failed).toBe(0);
    expect(card.notApplicable).toBeGreaterThan(50);
    expect(card.families[0]!.notApplicables).toContainEqual({
      check: "exp f64",
      reason: "map does not declare f64",
    });
    expect(formatScorecard(card)).toMatch(/map does not declare f64: unary > .* and \d+ more/);
  });

  it("stops when told to", async () => {
    const signal = { aborted: false, reason: new Error("enough") };
    const onProgress = ({ done }: { done: number }): void => {
      signal.aborted = done === 3;
    };
    await expect(runConformance(() => cpu(), { ...few, signal, onProgress })).rejects.toThrow("enough");
  });

  it("has more checks the higher the level", async () => {
    const counts: number[] = [];
    for (const level of ["kernels", "inference", "training", "complete"] as const) {
      const card = await runConformance(() => cpu(), { examples: 1, families: ["scan", "transfer"], level });
      expect(card.failed).toBe(0);
      counts.push(card.passed);
    }
    expect(new Set(counts).size).toBe(4);
    expect([...counts].sort((a, b) => a - b)).toEqual(counts);
  });

  it("measures every kernel of a backend that has all", async () => {
    const { speed } = await runConformance(() => cpu(), {
      examples: 1,
      families: ["scan"],
      level: "inference",
      speed: true,
    });
    expect(speed.map(({ kernel }) => kernel)).toEqual([
      "map",
      "reduce",
      "argReduce",
      "matmul",
      "gather",
      "scatter",
      "scan",
      "sort",
      "conv",
      "pool",
      "softmax",
      "attention",
    ]);
    for (const { seconds, min, max, rate } of speed) {
      expect(min).toBeLessThanOrEqual(seconds);
      expect(seconds).toBeLessThanOrEqual(max);
      expect(rate).toBeGreaterThan(0);
    }
    expect(speed.find(({ kernel }) => kernel === "matmul")).toMatchObject({
      unit: "GFLOP/s",
      work: "f32 [384, 384] f32 [384, 384]",
    });
  });

  it.each([
    [{ level: "all" }, /level must be one of kernels, inference, training, complete, got "all"/],
    [{ examples: 0 }, /examples must be a whole number from 1, got 0/],
    [{ seed: -1 }, /seed must be a whole number from 0/],
    [{ families: ["unary", "nary"] }, /no family "nary".*Choose from capabilities, transfer, kernels, unary/],
    [{ example: 5 }, /unknown option "example"\. It takes level, seed/],
    [{ level: "kernels", families: ["softmax"] }, /no check of softmax at level "kernels"/],
    [{ families: [] }, /no check of no family/],
    [{ families: "scan" }, /families must be an array, got "scan"/],
    [{ traces: 3 }, /traces must be an array, got 3/],
    [{ limited: 5 }, /limited must be a function/],
    [{ widen: { unary: 0.5 } }, /widen\.unary must be a number from 1/],
  ])("refuses %j", async (options, message) => {
    await expect(runConformance(() => cpu(), options as never)).rejects.toThrow(message);
  });
});

describe("running with a test runner", () => {
  it("registers a describe for each family and an it for each check", async () => {
    const families: string[] = [];
    const tests: { name: string; body: () => Promise<void> }[] = [];
    const skipped: string[] = [];
    const register = (name: string, body: () => Promise<void>): unknown => tests.push({ name, body });
    const skip = (name: string): unknown => skipped.push(name);
    conformance(() => cpu(), {
      ...few,
      describe: (name, body) => {
        families.push(name);
        body();
      },
      it: Object.assign(register, { skip }),
      skip: ({ name }) => (name.endsWith("bf16") ? "not today" : undefined),
    });
    expect(families).toEqual(["select"]);
    expect(tests.some(({ name }) => name.endsWith("bf16"))).toBe(false);
    expect(skipped.length).toBeGreaterThan(3);
    expect(skipped[0]).toMatch(/ bf16 \(not today\)$/);
    expect(tests.at(-1)!.name).toBe("leaves nothing behind");
    for (const { body } of tests) await body();
  });

  it("fails the test of a check that fails", async () => {
    const tests = new Map<string, () => Promise<void>>();
    conformance(async () => fusedSoftmaxWrong(await cpu()), {
      families: ["softmax"],
      describe: (_name, body) => body(),
      it: (name, body) => tests.set(name, body),
    });
    await expect(tests.get("softmax f32")!()).rejects.toThrow(/softmax > softmax f32: .* instead of /);
  });
});

describe("two backends", () => {
  it("are compared operation by operation", async () => {
    const found = await compareBackends(
      async () => fusedSoftmaxWrong(await cpu()),
      () => cpu(),
      { examples: 20, families: ["softmax", "scan"] },
    );
    const differing = found.rows.filter(({ worstAbsolute }) => worstAbsolute > 0);
    expect(new Set(differing.map(({ op }) => op))).toEqual(new Set(["softmax", "gumbelSoftmax"]));
    expect(differing[0]).toMatchObject({ family: "softmax", nmse: expect.closeTo(1e-6, 7) });
    expect(found.rows.length).toBeGreaterThan(20);
    expect(found.graphs.count).toBe(20);
    const text = formatComparison(found);
    expect(text).toMatch(/^planted\(cpu\) against cpu/);
    expect(text).toMatch(/^softmax +f64 +softmax +1\.0e-3/m);
    const wrong = compareBackends(
      () => cpu(),
      () => cpu(),
      { families: ["nothing"] },
    );
    await expect(wrong).rejects.toThrow(/no family "nothing".*unary/);
  });

  it("are both ended where the second is none", async () => {
    const ended: string[] = [];
    const first = replaced(await cpu(), (inner) => ({
      dispose: async () => {
        ended.push("first");
        await inner.dispose();
      },
    }));
    for (const second of [() => Promise.reject(new Error("no second")), () => ({}) as Backend])
      await expect(compareBackends(() => first, second)).rejects.toThrow(/no second|createB/);
    expect(ended).toEqual(["first", "first"]);
  });

  it("have a matrix of what they compute and how", async () => {
    const { backend, rows } = await supportMatrix(() => cpu());
    expect(backend).toBe("cpu");
    const of = (op: string) => rows.find((row) => row.op === op)!.dtypes;
    expect(of("softmax")).toMatchObject({ f32: "fused", i32: "none" });
    expect(of("exp")).toMatchObject({ f32: "kernels", f16: "kernels" });
    expect(of("matmul")).toMatchObject({ f32: "kernels", bool: "none" });
  });
});
