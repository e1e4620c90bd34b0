import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { allRows } from "../src/cases/index.ts";
import { allowed, allowedMovement, allowedRoundings } from "../src/compare-values.ts";
import { movementOf, type Point } from "../src/evaluate.ts";
import { type Instance, type Operand, type Row, rowName } from "../src/model.ts";
import { count, type Nd, nd } from "../src/reference/nd.ts";
import { Source } from "../src/source.ts";

/** An operand of a golden: floats between bounds, or indices below one. */
interface Given {
  readonly shape: readonly number[];
  readonly low?: number;
  readonly high?: number;
  readonly below?: number;
}

/** PyTorch's largest misses at one instance of a row. */
interface Measured {
  readonly row: string;
  readonly label: string;
  /** Draws of inputs that were looked at. */
  readonly seeds: number;
  readonly operands: readonly Given[];
  readonly absolute: readonly number[];
}

const { points } = JSON.parse(
  readFileSync(new URL("../../../goldens/misses.json", import.meta.url), "utf8"),
) as { readonly points: readonly Measured[] };

/** The inputs that `goldens/misses.py` draws. */
function draw({ shape, low = 0, high = 0, below }: Given, operand: Operand, seed: number): Nd {
  const source = new Source(seed);
  const values = Array.from({ length: count(shape) }, () => {
    if (below !== undefined) return source.below(below);
    return Math.fround(low + (source.bits() / 2 ** 32) * (high - low));
  });
  // Targets that are 1 and -1 in the suite.
  const signs = operand.values?.(new Source(0)).includes(-1) === true;
  return nd(shape, signs && below === 2 ? values.map((value) => (value === 1 ? 1 : -1)) : values);
}

function find({ row: name, label }: Measured): readonly [Row, Instance] {
  const row = allRows().find((one) => rowName(one) === name && one.instances.some((i) => i.label === label));
  const instance = row?.instances.find((one) => one.label === label);
  if (row === undefined || instance === undefined)
    throw new Error(`no instance "${label}" of a row "${name}"`);
  return [row, instance];
}

/** The largest absolute term of each result, over all draws. */
function largestTerms(one: Measured): number[] {
  const [row, instance] = find(one);
  const largest: number[] = [];
  for (let seed = 0; seed < one.seeds; seed++) {
    const inputs = one.operands.map((given, i) => draw(given, instance.operands[i]!, 1000 * seed + i));
    const point: Point = { instance, dtype: "f32", inputs, layouts: [] };
    const { absolute } = allowed(row.tolerance, "f32", 0);
    const beside = absolute + allowedRoundings(row.tolerance, "f32", instance.roundings ?? 0);
    const moves = row.tolerance === "rounded" ? movementOf(point).map(() => [0]) : movementOf(point);
    moves.forEach((movement, k) => {
      const terms = allowedMovement(row.tolerance, "f32", movement);
      largest[k] = Math.max(largest[k] ?? 0, beside + Math.max(...terms));
    });
  }
  return largest;
}

describe("absolute tolerances in f32", () => {
  it.each(points)("of $row, $label are at most four times what PyTorch misses by", (one) => {
    const [, instance] = find(one);
    expect(one.operands.map(({ shape }) => shape)).toEqual(instance.operands.map(({ shape }) => shape));
    one.operands.forEach((given, i) => {
      const { domain = {}, values, dtype } = instance.operands[i]!;
      if (values === undefined && dtype === undefined)
        expect([given.low, given.high]).toEqual([domain.low ?? -2, domain.high ?? 2]);
    });
    const terms = largestTerms(one);
    expect(terms).toHaveLength(one.absolute.length);
    terms.forEach((term, k) => {
      expect(term, `result ${k}`).toBeLessThanOrEqual(4 * one.absolute[k]!);
    });
  });
});
