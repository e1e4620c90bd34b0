import { cpu } from "@nf/backend-cpu";
import { add, memory, OptionError, type Tensor, use } from "@nf/core";
import { lenet } from "@nf/models";
import { Linear, Module, ReLU, sequential } from "@nf/nn";
import { beforeAll, describe, expect, it } from "vitest";
import { audit, CHIP_45NM } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

/** With something outside of its layers: the addition. */
class Skip extends Module {
  readonly inner = new Linear(8, 8);
  forward(x: Tensor): Tensor {
    return add(this.inner.forward(x), x);
  }
}

describe("audit", () => {
  it("counts each layer, and what is done outside of them, and adds up to the whole", () => {
    const { rows, total } = audit(sequential(new Skip(), new ReLU(), new Linear(8, 2)), [8], { batch: 4 });
    expect(rows.map(({ path, type }) => [path, type])).toEqual([
      ["0.inner", "Linear"],
      ["1", "ReLU"],
      ["2", "Linear"],
      ["", "Sequential"],
    ]);
    // 4 × 8 outputs of 8 multiplications and additions and a bias.
    expect(rows[0]).toMatchObject({ parameters: 72, flops: 4 * 8 * 17 });
    expect(rows[3]).toMatchObject({ parameters: 0, flops: 4 * 8, bytes: 3 * 4 * 4 * 8 });
    for (const key of ["parameters", "flops", "bytes", "joules"] as const)
      expect(rows.reduce((sum, row) => sum + row[key], 0)).toBeCloseTo(total[key], key === "joules" ? 18 : 6);
    for (const { flops, bytes, joules } of rows)
      expect(joules).toBeCloseTo(flops * 2.3e-12 + bytes * 162.5e-12, 20);
  });

  it("knows LeNet-5's parameters and operations, shows them as text, and leaves nothing behind", () => {
    const model = lenet();
    const before = memory().liveTensors;
    const found = audit(model, [1, 28, 28]);
    expect(found.total).toMatchObject({ parameters: 44_426, flops: 572_658 });
    const text = String(found);
    expect(text).toContain("44,426");
    expect(text).toContain("Horowitz");
    expect(text).toMatch(/Conv2d\).*█/);
    expect(JSON.parse(JSON.stringify(found))).toEqual({
      rows: found.rows,
      total: found.total,
      source: CHIP_45NM.source,
    });
    expect(memory().liveTensors).toBe(before);
  });

  it("takes a table of one's own, and refuses a dtype that a table does not know", () => {
    const model = new Linear(2, 1, { dtype: "f64" });
    expect(() => audit(model, [2], { dtype: "f64" })).toThrow(/f32, f16, i32, i8, not in f64/);
    const table = { source: "mine", perFlop: { f64: 1 }, perByte: 0 };
    expect(audit(model, [2], { dtype: "f64", table }).total.joules).toBe(5);
    const wrong: object = { tables: 1 };
    expect(() => audit(model, [2], wrong)).toThrow(OptionError);
  });
});
