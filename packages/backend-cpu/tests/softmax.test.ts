import type { Backend, DType } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { blank, download, lay, RUNS, run, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await cpu();
});
afterAll(async () => {
  await backend.dispose();
});

const rowsOf = (values: readonly number[], width: number): number[][] =>
  Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
const logSumExp = (row: readonly number[]): number => {
  const greatest = Math.max(...row);
  return greatest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - greatest), 0));
};
const close = (got: readonly number[], expected: readonly number[], tolerance = 2e-6): void => {
  expect(got.length).toBe(expected.length);
  got.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] as number))).toBeLessThanOrEqual(
      tolerance * (1 + Math.abs(expected[i] as number)),
    );
  });
};
const problem = fc.record({
  lead: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }),
  width: fc.integer({ min: 1, max: 9 }),
  scale: fc.constantFrom(0.1, 3, 100),
  permuted: fc.boolean(),
  log: fc.boolean(),
});

describe("softmax", () => {
  it("equals the plain formulas, forward and backward, for any rows", () => {
    fc.assert(
      fc.property(problem, ({ lead, width, scale, permuted, log }) => {
        const shape = [...lead, width];
        const axes = [...shape.keys()];
        const layout = {
          order: permuted ? [...axes].reverse() : axes,
          flip: axes.map(() => permuted),
          still: axes.map(() => false),
          lead: 1,
          gap: 1,
        };
        const x = lay(backend, "f32", shape, layout, (i) => Math.sin(i * 1.7) * scale);
        const y = blank(backend, "f32", shape);
        run(backend, { kernel: "softmax", inputs: [x], outputs: [y], attributes: { pass: "forward", log } });
        const rows = rowsOf(download(backend, x), width);
        const logs = rows.map((row) => row.map((value) => value - logSumExp(row)));
        close(
          download(backend, y),
          logs.flat().map((value) => (log ? value : Math.exp(value))),
        );

        const g = lay(backend, "f32", shape, layout, (i) => Math.cos(i));
        const dx = blank(backend, "f32", shape);
        run(backend, {
          kernel: "softmax",
          inputs: [g, y],
          outputs: [dx],
          attributes: { pass: "backward", log },
        });
        const gradients = rowsOf(download(backend, g), width);
        close(
          download(backend, dx),
          logs.flatMap((row, r) => {
            const list = gradients[r] as number[];
            const p = row.map(Math.exp);
            const dot = log
              ? list.reduce((a, b) => a + b, 0)
              : list.reduce((sum, value, i) => sum + value * (p[i] as number), 0);
            return list.map((value, i) =>
              log ? value - (p[i] as number) * dot : (p[i] as number) * (value - dot),
            );
          }),
          1e-5,
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("stays finite at ±1e4 and lets NaN through", () => {
    for (const [values, expected] of [
      [
        [1e4, 1e4, -1e4],
        [0.5, 0.5, 0],
      ],
      [
        [-1e4, -1e4, -1e4],
        [1 / 3, 1 / 3, 1 / 3],
      ],
      [
        [1, NaN, 2],
        [NaN, NaN, NaN],
      ],
      [
        [-Infinity, 0, 0],
        [0, 0.5, 0.5],
      ],
    ] as const) {
      const y = blank(backend, "f64", [1, 3]);
      run(backend, {
        kernel: "softmax",
        inputs: [upload(backend, "f64", [1, 3], values)],
        outputs: [y],
        attributes: { pass: "forward", log: false },
      });
      expect(download(backend, y)).toEqual(expected);
    }
    const y = blank(backend, "f32", [1, 2]);
    run(backend, {
      kernel: "softmax",
      inputs: [upload(backend, "f32", [1, 2], [1e4, -1e4])],
      outputs: [y],
      attributes: { pass: "forward", log: true },
    });
    expect(download(backend, y)).toEqual([0, -2e4]);
  });

  it("stores 16-bit floats", () => {
    for (const dtype of ["f16", "bf16"] as const) {
      const y = blank(backend, dtype, [1, 2]);
      run(backend, {
        kernel: "softmax",
        inputs: [upload(backend, dtype, [1, 2], [3, 3])],
        outputs: [y],
        attributes: { pass: "forward", log: false },
      });
      expect(download(backend, y)).toEqual([0.5, 0.5]);
    }
  });
});

describe("crossEntropy", () => {
  const forward = (
    dtype: DType,
    logits: number[][],
    target: number[],
    params: number[],
  ): { loss: number[]; lse: number[]; gradient: number[] } => {
    const [rows, classes] = [logits.length, (logits[0] as number[]).length];
    const x = upload(backend, dtype, [rows, classes], logits.flat());
    const t = upload(backend, "i32", [rows], target);
    const [loss, lse, dx] = [
      blank(backend, dtype, [rows]),
      blank(backend, dtype, [rows]),
      blank(backend, dtype, [rows, classes]),
    ];
    run(backend, {
      kernel: "crossEntropy",
      inputs: [x, t],
      outputs: [loss, lse],
      params,
      attributes: { pass: "forward" },
    });
    const g = upload(
      backend,
      dtype,
      [rows],
      target.map((_, i) => i + 1),
    );
    run(backend, {
      kernel: "crossEntropy",
      inputs: [g, x, t, lse],
      outputs: [dx],
      params,
      attributes: { pass: "backward" },
    });
    return { loss: download(backend, loss), lse: download(backend, lse), gradient: download(backend, dx) };
  };

  it("equals the plain formula with smoothing and an ignored class", () => {
    const cases = fc.record({
      logits: fc.integer({ min: 1, max: 6 }).chain((classes) =>
        fc.array(
          fc.array(fc.float({ min: -20, max: 20, noNaN: true }), {
            minLength: classes,
            maxLength: classes,
          }),
          { minLength: 1, maxLength: 5 },
        ),
      ),
      picks: fc.array(fc.nat(100), { minLength: 5, maxLength: 5 }),
      smoothing: fc.constantFrom(0, 0.1, 0.5),
    });
    fc.assert(
      fc.property(cases, ({ logits, picks, smoothing }) => {
        const classes = (logits[0] as number[]).length;
        const target = logits.map((_, row) =>
          (picks[row] as number) % 4 === 3 ? -100 : (picks[row] as number) % classes,
        );
        const { loss, lse, gradient } = forward("f64", logits, target, [-100, smoothing]);
        close(lse, logits.map(logSumExp), 1e-12);
        const wanted = logits.map((row, r) =>
          row.map((_, i) => smoothing / classes + (i === target[r] ? 1 - smoothing : 0)),
        );
        close(
          loss,
          logits.map((row, r) =>
            target[r] === -100
              ? 0
              : row.reduce(
                  (sum, x, i) => sum + ((wanted[r] as number[])[i] as number) * (logSumExp(row) - x),
                  0,
                ),
          ),
          1e-11,
        );
        close(
          gradient,
          logits.flatMap((row, r) =>
            row.map((x, i) =>
              target[r] === -100
                ? 0
                : (r + 1) * (Math.exp(x - logSumExp(row)) - ((wanted[r] as number[])[i] as number)),
            ),
          ),
          1e-11,
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("stays finite and exact at ±1e4", () => {
    const { loss, gradient } = forward(
      "f32",
      [
        [1e4, 1e4, -1e4],
        [-1e4, 1e4, 9999],
      ],
      [0, 0],
      [-100, 0],
    );
    close(loss, [Math.log(2), 2e4 + Math.log1p(Math.exp(-1))]);
    const p = 1 / (1 + Math.exp(-1));
    close(gradient, [-0.5, 0.5, 0, -2, 2 * p, 2 * (1 - p)]);
  });
});
