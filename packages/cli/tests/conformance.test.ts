import * as cpuPackage from "@nf/backend-cpu";
import { BackendDecorator, type Call, OptionError } from "@nf/core";
import { describe, expect, it } from "vitest";
import type { ImportModule } from "../src/index.ts";
import { lastLine, nf } from "./io.ts";

const turned = (call: Extract<Call, { kernel: "scan" }>): Call => ({
  ...call,
  attributes: { ...call.attributes, reverse: !call.attributes.reverse },
});

/** A backend that sums up from the wrong end. */
class Backwards extends BackendDecorator {
  override execute(call: Call): void {
    super.execute(call.kernel === "scan" ? turned(call) : call);
  }
}

const backwards = {
  createBackend: async (options?: object) => {
    if (options !== undefined) throw new OptionError("backwards: takes no options.");
    return new Backwards("backwards", await cpuPackage.createBackend());
  },
};

const importModule: ImportModule = async (name) =>
  ({ "@nf/backend-cpu": cpuPackage, backwards })[name] as unknown;
const quick = ["--family", "scan", "--examples", "5"];

describe("nf conformance", () => {
  it("prints a scorecard, with speed, and ends with 0 where all passed", { timeout: 120_000 }, async () => {
    const { code, stdout, stderr } = await nf(["conformance", "cpu", ...quick], { importModule });
    expect(stdout).toMatch(/cpu at level complete: 5 examples a property, seed \d+/);
    expect(stdout).toMatch(/\d+ passed, 0 failed, 0 skipped, 0 not applicable/);
    expect(stdout).toMatch(/matmul f32 .* GFLOP\/s/);
    expect(stderr).toContain("conformance of cpu: scan");
    expect(code).toBe(0);
  });

  it("gives one object as the last line with --json, and ends with 1 where a check failed", async () => {
    const argv = ["conformance", "backwards", ...quick, "--no-speed", "--json"];
    const { code, stdout, stderr } = await nf(argv, { importModule });
    const card = JSON.parse(lastLine(stdout));
    expect(card).toMatchObject({
      backend: "backwards(cpu)",
      level: "complete",
      skipped: 0,
      speed: [],
      stopped: false,
    });
    expect(card.failed).toBeGreaterThan(0);
    expect(card.families[0].failures[0].message).toMatch(/cumsum.* instead of /);
    expect(stderr).toContain("running out of memory is not checked");
    expect(code).toBe(1);
  });

  it("says that it was stopped", async () => {
    const argv = ["conformance", "cpu", ...quick, "--no-speed", "--json"];
    const signal = AbortSignal.abort("SIGINT");
    const { code, stdout, stderr } = await nf(argv, { importModule, signal });
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toEqual({ backend: "cpu", level: "complete", stopped: true });
    expect(stderr).toContain("Stopped before the last check.");
  });

  it("goes as far as --level says", async () => {
    const argv = ["conformance", "cpu", "--level", "inference", ...quick, "--no-speed", "--json"];
    const low = JSON.parse(lastLine((await nf(argv, { importModule })).stdout));
    expect(low.level).toBe("inference");
    const all = await nf(["conformance", "cpu", ...quick, "--no-speed", "--json"], { importModule });
    expect(low.passed).toBeLessThan(JSON.parse(lastLine(all.stdout)).passed);
  });

  it("compares two backends", { timeout: 120_000 }, async () => {
    const argv = ["conformance", "--compare", "backwards", "cpu", "--examples", "5"];
    const text = await nf(argv, { importModule });
    expect(text.stdout).toMatch(/^backwards\(cpu\) against cpu\n/);
    expect(text.stdout).toMatch(/cumsum +f32/);
    const { code, stdout } = await nf([...argv, "--json"], { importModule });
    const { a, b, rows, graphs } = JSON.parse(lastLine(stdout));
    expect([a, b, graphs.count]).toEqual(["backwards(cpu)", "cpu", 5]);
    const differing = rows.filter(({ worstAbsolute }: { worstAbsolute: number }) => worstAbsolute > 0);
    expect(new Set(differing.map(({ family }: { family: string }) => family))).toContain("scan");
    expect(code).toBe(0);
  });

  it.each<[argv: string[], says: string]>([
    [["conformance"], "Name the backend to check: nf conformance native, wasm, cpu or webgpu"],
    [["conformance", "cuda"], 'no backend "cuda"'],
    [["conformance", "cpu", "--level", "all"], "kernels, inference, training, complete"],
    [["conformance", "cpu", "--family", "sums"], '"sums"'],
    [["conformance", "cpu", "--examples", "0"], "a whole number from 1"],
    [["conformance", "cpu", "--compare", "cpu", "cpu"], "--compare takes two backends"],
    [["conformance", "--compare", "cpu"], "--compare takes two backends"],
    [["conformance", "--compare", "cpu", "cpu", "--level", "kernels"], "cannot be used with"],
  ])("refuses %j with exit code 2", async (argv, says) => {
    const { code, stdout, stderr } = await nf(argv, { importModule });
    expect(stderr).toContain(says);
    expect(stdout).toBe("");
    expect(code).toBe(2);
  });
});
