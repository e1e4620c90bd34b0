import { cpu } from "@nf/backend-cpu";
import * as nf from "@nf/core";
import { type Backend, type Tensor, use } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";

const missing = await provideAdapter("lines on webgpu");

/** Numbers between -1 and 1 that repeat nowhere near; every third of a quarter, so that there are ties. */
function numbers(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    const value = (Math.imul(i + 1, 0x9e3779b1) >>> 8) / 2 ** 23 - 1;
    return i % 3 === 0 ? Math.round(4 * value) / 4 : value;
  });
}

function values(...shape: number[]): Tensor {
  return nf.tensor(numbers(shape.reduce((a, b) => a * b, 1))).reshape(shape);
}

function indices(length: number, below: number): Tensor {
  const data = Int32Array.from({ length }, (_, i) => (Math.imul(i + 7, 0x85ebca6b) >>> 4) % below);
  return nf.tensor(data, { dtype: "i32" });
}

const withNan = (x: Tensor): Tensor => nf.where(x.less(0.9), x, Number.NaN);

/** What is computed on both backends; results may differ by the tolerance. */
const CASES: readonly (readonly [name: string, tolerance: number, run: () => readonly Tensor[]])[] = [
  ["a bias gradient", 1e-5, () => [values(64, 128).sum({ axis: 0 }), values(64, 10).sum({ axis: 0 })]],
  ["a convolution's bias gradient", 1e-3, () => [values(8, 6, 28, 28).sum({ axis: [0, 2, 3] })]],
  ["the whole", 1e-2, () => [values(40_000).sum(), values(40_001).sum(), values(200, 204).max()]],
  ["rows", 1e-4, () => [values(9, 256).sum({ axis: 1 }), withNan(values(9, 256)).max({ axis: 1 })]],
  ["long rows", 1e-3, () => [values(2, 8_192).sum({ axis: 1 }), values(3, 8_192).min({ axis: 1 })]],
  [
    "few columns",
    1e-3,
    () => [values(4_096, 8).sum({ axis: 0 }), withNan(values(4_096, 8)).min({ axis: 0 })],
  ],
  [
    "a part of each row",
    1e-4,
    () => [
      values(16, 64).slice(null, [4, 60]).sum({ axis: 1 }),
      values(16, 64).slice(null, [3, 59]).sum({ axis: 0 }),
    ],
  ],
  [
    "a transpose",
    1e-4,
    () => [values(64, 36).transpose().sum({ axis: 1 }), values(64, 36).transpose().prod({ axis: 0 })],
  ],
  [
    "products with what is repeated",
    1e-3,
    () => [
      values(64, 128).mul(values(1, 128)).sum({ axis: 0 }),
      values(64, 128).mul(values(64, 1)).sum({ axis: 1 }),
    ],
  ],
  ["variance over images", 1e-4, () => [nf.var(values(4, 8, 12, 12), { axis: [0, 2, 3] })]],
  [
    "whole numbers and bools",
    0,
    () => [
      nf.cast(values(64, 64).mul(1e4), "i32").sum({ axis: 0 }),
      nf.cast(values(64, 64).mul(1e4), "i32").max({ axis: 1 }),
      values(64, 64).greater(0.99).any({ axis: 0 }),
      values(8, 4_096).less(0.999).all({ axis: 1 }),
    ],
  ],
  [
    "halves",
    1e-2,
    () => [nf.cast(values(64, 32), "f16").sum({ axis: 0 }), nf.cast(values(64, 32), "bf16").max({ axis: 1 })],
  ],
  [
    "positions",
    0,
    () => [
      values(16, 300).argmax({ axis: 1 }),
      values(300, 16).argmin({ axis: 0 }),
      withNan(values(70_000)).argmax(),
      values(70_000).argmin(),
      values(4, 16_384).argmax({ axis: 1 }),
    ],
  ],
  ["running sums", 1e-2, () => [values(5, 3_000).cumsum({ axis: 1 }), values(300, 12).cumsum({ axis: 0 })]],
  [
    "order",
    0,
    () =>
      [7, 16, 17, 100, 1_000].flatMap((n) => {
        const sorted = nf.sort(withNan(values(3, n)), { axis: 1, descending: n % 2 === 1 });
        return [sorted.values, sorted.indices];
      }),
  ],
  [
    "rows of a table",
    0,
    () => [
      nf.embedding(values(65, 32), indices(50, 65)),
      nf.embedding(values(65, 33), indices(50, 65)),
      nf.cast(nf.embedding(nf.cast(values(65, 32), "f16"), indices(50, 65)), "f32"),
    ],
  ],
  [
    "additions to rows",
    1e-5,
    () => [
      nf.scatterAdd(values(9, 16), 0, indices(40 * 16, 9).reshape([40, 16]), values(40, 16)),
      nf.scatterAdd(values(2, 500), 1, indices(2 * 3_000, 500).reshape([2, 3_000]), values(2, 3_000)),
    ],
  ],
  [
    "a gradient of a table",
    1e-5,
    () => {
      const index = indices(200, 65);
      return [
        nf.grad((table: Tensor) => nf.embedding(table, index).mul(values(200, 32)).sum())(values(65, 32)),
      ];
    },
  ],
];

describe.skipIf(missing !== undefined)("kernels along lines", () => {
  let gpu: Backend;
  let reference: Backend;
  beforeAll(async () => {
    gpu = await webgpu(testOptions);
    reference = await cpu();
  });
  afterAll(async () => {
    await gpu.dispose();
    await reference.dispose();
  });

  const compute = async (backend: Backend, run: () => readonly Tensor[]): Promise<number[][]> => {
    await use(backend);
    const results: number[][] = [];
    for (const result of run()) results.push(Array.from(await result.data(), Number));
    return results;
  };

  it("few lines of many updates, split by their targets: in order, and all", async () => {
    // As on a GPU, where one invocation would take too long; more updates than one dispatch takes.
    const discrete = await webgpu({ adapterClass: "discrete" });
    const count = 2 ** 18 + 5;
    const run = (): Tensor[] => [
      nf.scatterAdd(values(7), 0, indices(count, 7), values(count)),
      nf.scatterAdd(values(2, 500), 1, indices(2 * 3_000, 500).reshape([2, 3_000]), values(2, 3_000)),
      nf.scatterAdd(values(1_000), 0, nf.tensor([999, 0, 999, 500], { dtype: "i32" }), values(4)),
    ];
    const got = await compute(discrete, run);
    const software = await webgpu({ adapterClass: "software" });
    const one = await compute(software, run);
    // To the bit: the same additions in the same order.
    expect(got).toEqual(one);
    const wanted = await compute(reference, run);
    got.forEach((list, k) => {
      expect(list).toHaveLength(wanted[k].length);
      list.forEach((value, i) => {
        // Relative: the first adds 37,000 numbers to each target.
        expect(Math.abs(value - wanted[k][i])).toBeLessThan(1e-5 * (1 + Math.abs(wanted[k][i])));
      });
    });
    await software.dispose();
    await discrete.dispose();
  });

  it.each(CASES)("%s", async (_name, tolerance, run) => {
    const got = await compute(gpu, run);
    const wanted = await compute(reference, run);
    got.forEach((list, k) => {
      expect(list.length).toBe(wanted[k].length);
      const off = list.findIndex((value, i) => {
        const right = wanted[k][i];
        return !Object.is(value, right) && !(Math.abs(value - right) <= tolerance * (1 + Math.abs(right)));
      });
      if (off >= 0) expect.fail(`result ${k}: element ${off} is ${list[off]} instead of ${wanted[k][off]}`);
    });
  });
});
