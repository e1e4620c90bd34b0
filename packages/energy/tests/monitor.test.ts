import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { memory, OptionError, tensor, use } from "@nf/core";
import { Flatten, ReLU, sequential } from "@nf/nn";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  activationSparsity,
  CARBON_INTENSITY,
  CHIP_45NM,
  carbon,
  measureEnergy,
  observe,
  type Region,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("activationSparsity", () => {
  it("counts zeros of each leaf, and leaves nothing behind", async () => {
    const model = sequential(new ReLU(), new Flatten());
    const x = tensor([[1, -2, 3, 0.05]]);
    const { activations } = observe(model, () => model.forward(x));
    const before = memory().liveTensors;
    const rows = await activationSparsity(activations);
    expect(rows).toEqual([
      { path: "0", type: "ReLU", elements: 4, zeros: 0.25 },
      { path: "1", type: "Flatten", elements: 4, zeros: 0.25 },
    ]);
    expect((await activationSparsity(activations, { threshold: 0.1 }))[0]?.zeros).toBe(0.5);
    expect(memory().liveTensors).toBe(before);
    await expect(activationSparsity(activations, { threshold: -1 })).rejects.toThrow(OptionError);
  });
});

describe("carbon", () => {
  it("is energy in kilowatt-hours times a region's intensity", () => {
    expect(carbon(3.6e6)).toBe(CARBON_INTENSITY.world);
    expect(carbon(3.6e6, { region: "NO" })).toBe(30);
    expect(carbon(7.2e6, { gramsPerKilowattHour: 10 })).toBe(20);
    expect(carbon(0, { region: "DE" })).toBe(0);
  });

  it("refuses what it does not know", () => {
    const asked: { region: Region } = JSON.parse('{ "region": "Atlantis" }');
    expect(() => carbon(1, asked)).toThrow(/gramsPerKilowattHour/);
    expect(() => carbon(1, { region: "DE", gramsPerKilowattHour: 1 })).toThrow(/not both/);
    expect(() => carbon(Number.NaN)).toThrow(OptionError);
    expect(() => carbon(1, { gramsPerKilowattHour: -1 })).toThrow(OptionError);
  });
});

describe("the table of a 45 nm chip", () => {
  it("holds the published figures", () => {
    expect(CHIP_45NM.perFlop.f32).toBeCloseTo(2.3e-12, 20);
    expect(CHIP_45NM.perByte).toBeCloseTo(162.5e-12, 20);
    expect(CHIP_45NM.perFlop.f64).toBeUndefined();
  });
});

describe("measureEnergy", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "powercap-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const zone = (id: string, name: string, energy: string, range = "1000000"): void => {
    mkdirSync(join(folder, id), { recursive: true });
    writeFileSync(join(folder, id, "name"), `${name}\n`);
    writeFileSync(join(folder, id, "energy_uj"), `${energy}\n`);
    writeFileSync(join(folder, id, "max_energy_range_uj"), `${range}\n`);
  };

  it("adds up packages, over a counter that wraps around, and leaves their parts out", async () => {
    zone("intel-rapl:0", "package-0", "900000");
    zone("intel-rapl:0:0", "core", "5");
    zone("intel-rapl:1", "package-1", "100");
    zone("intel-rapl:2", "psys", "7");
    const { joules, result, notMeasured } = await measureEnergy(
      () => {
        zone("intel-rapl:0", "package-0", "400000");
        zone("intel-rapl:1", "package-1", "2100");
        zone("intel-rapl:2", "psys", "70000");
        return 5;
      },
      { folder },
    );
    expect([result, notMeasured]).toEqual([5, undefined]);
    expect(joules).toBeCloseTo(0.502, 9);
  });

  it("says why there is nothing, and does the work", async () => {
    const none = await measureEnergy(() => "done", { folder: join(folder, "nowhere") });
    expect(none).toMatchObject({
      result: "done",
      notMeasured: expect.stringContaining("shows no energy counters"),
    });
    expect(none.joules).toBeUndefined();
    expect((await measureEnergy(() => 1, { folder })).notMeasured).toContain("no counters of a processor");
    mkdirSync(join(folder, "intel-rapl:0"));
    expect((await measureEnergy(() => 1, { folder })).notMeasured).toMatch(/cannot be read \(ENOENT\)/);
    zone("intel-rapl:0", "package-0", "what");
    expect((await measureEnergy(() => 1, { folder })).notMeasured).toContain("holds no number");
  });

  it("says so where a counter is lost while the work runs, whose result is kept", async () => {
    zone("intel-rapl:0", "package-0", "1");
    const gone = await measureEnergy(() => rmSync(join(folder, "intel-rapl:0", "energy_uj")), { folder });
    expect(gone).toMatchObject({ result: undefined, notMeasured: expect.stringContaining("ENOENT") });
    zone("intel-rapl:0", "package-0", "1");
    const empty = await measureEnergy(() => zone("intel-rapl:0", "package-0", ""), { folder });
    expect([empty.joules, empty.notMeasured]).toEqual([
      undefined,
      expect.stringContaining("holds no number"),
    ]);
  });

  it("hands the work's error on", async () => {
    zone("intel-rapl:0", "package-0", "1");
    await expect(measureEnergy(() => Promise.reject(new TypeError("mine")), { folder })).rejects.toThrow(
      "mine",
    );
  });
});
