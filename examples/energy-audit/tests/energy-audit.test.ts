import { callExample } from "@nf-examples/shared/testing";
import { describe, expect, it } from "vitest";
import { example } from "../src/example.ts";

const SMALL = ["--limit", "300", "--epochs", "2", "--backend", "cpu", "--json"];

describe("energy-audit", () => {
  it("compares both models, sparse and not, in one object", async () => {
    const { code, out, err } = await callExample(example, [...SMALL, "--sparsity", "3"]);
    expect([code, err.includes("error")]).toEqual([0, false]);
    const { cells } = JSON.parse(out);
    expect(cells.map(({ model, sparse }: { model: string; sparse: boolean }) => [model, sparse])).toEqual([
      ["LeNet-5", false],
      ["LeNet-5", true],
      ["MLP", false],
      ["MLP", true],
    ]);
    for (const { needed, zeros, joules, joulesNeeded, trainingJoules, notMeasured } of cells) {
      expect(needed).toBeGreaterThan(0);
      expect(needed).toBeLessThan(1);
      expect(zeros).toBeGreaterThan(0);
      expect(joulesNeeded).toBeCloseTo(needed * joules, 12);
      expect(trainingJoules === null).toBe(typeof notMeasured === "string");
    }
    expect(cells[0]).toMatchObject({ parameters: 44_426, flops: 572_658 });
    // The term does what it is for.
    expect(cells[3].needed).toBeLessThan(cells[2].needed);
  });

  it("shows help, and refuses what it does not know", async () => {
    expect((await callExample(example, ["--help"])).out).toContain("--sparsity");
    const wrong = await callExample(example, ["--sparsity", "much"]);
    expect([wrong.code, wrong.err.includes("--sparsity")]).toEqual([2, true]);
  });
});
