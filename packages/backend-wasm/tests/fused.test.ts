import * as nf from "@nf/core";
import {
  type Backend,
  manualSeed,
  randn,
  scaledDotProductAttention,
  type Tensor,
  withFusion,
} from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { expectClose, type Operand, type Parts, plain, resultsOn, wave } from "./compare.ts";

const floats = (shape: readonly number[], seed: number): Operand => ({
  dtype: "f32",
  shape,
  layout: plain(shape.length),
  fill: wave(1, seed),
});
const whole = (count: number, end: number): Operand => ({
  dtype: "i32",
  shape: [count],
  layout: plain(1),
  fill: (i) => (i * 7919) % end,
});

/** Calls large enough to be shared among threads: parts, operands, results. */
function calls(): [Parts, Operand[], Operand[]][] {
  const [rows, width] = [300, 200];
  const x = floats([rows, width], 1);
  const row = floats([rows, 1], 2);
  const column = floats([width], 3);
  const each = floats([rows], 4);
  const kinds = { centered: true, weight: true, bias: true };
  const q = floats([1, 4, 150, 32], 5);
  const k = floats([1, 2, 150, 32], 6);
  const logs = floats([1, 4, 150], 7);
  const blocks: Operand = {
    dtype: "u8",
    shape: [900, 34 * 10],
    layout: plain(2),
    fill: (i) => (i % 34 < 2 ? 32 : i % 256),
  };
  const attention = { kernel: "attention", params: [0.2] } as const;
  const shape = { causal: true, mask: false };
  return [
    [{ kernel: "softmax", attributes: { pass: "forward", log: false } }, [x], [x]],
    [{ kernel: "softmax", attributes: { pass: "backward", log: true } }, [x, x], [x]],
    [
      { kernel: "norm", params: [1e-5], attributes: { pass: "forward", ...kinds } },
      [x, column, column],
      [x, row, row],
    ],
    [
      { kernel: "norm", params: [1e-5], attributes: { pass: "backward", ...kinds } },
      [x, x, row, row, column],
      [x, column, column],
    ],
    [
      { kernel: "crossEntropy", params: [-100, 0.1], attributes: { pass: "forward" } },
      [x, whole(rows, width)],
      [each, each],
    ],
    [
      { kernel: "crossEntropy", params: [-100, 0.1], attributes: { pass: "backward" } },
      [each, x, whole(rows, width), each],
      [x],
    ],
    [{ kernel: "embeddingGrad", attributes: {} }, [x, whole(rows, 90)], [floats([90, width], 0)]],
    [
      { kernel: "rope", attributes: { interleaved: true, inverse: false } },
      [q, floats([150, 16], 1), floats([150, 16], 2)],
      [q],
    ],
    [{ ...attention, attributes: { pass: "forward", ...shape } }, [q, k, k], [q, logs]],
    [{ ...attention, attributes: { pass: "backward", ...shape } }, [q, q, k, k, q, logs], [q, k, k]],
    [
      { kernel: "quantizedMatmul", attributes: { format: "q8_0", inner: 320, columns: 900 } },
      [floats([2, 320], 1), blocks],
      [floats([2, 900], 0)],
    ],
    [
      { kernel: "quantizedMatmul", attributes: { format: "q8_0", inner: 320, columns: 900 } },
      [floats([30, 320], 1), blocks],
      [floats([30, 900], 0)],
    ],
  ];
}

describe("fused kernels", () => {
  it("give the same bits for any number of threads", async () => {
    let expected: number[][][] | undefined;
    for (const threads of [1, 2, 5]) {
      const backend = await wasm({ threads });
      const got = calls().map((call) => resultsOn(backend, ...call));
      await backend.dispose();
      if (expected === undefined) expect(got.flat(2).every(Number.isFinite)).toBe(true);
      expect(got).toEqual(expected ?? got);
      expected ??= got;
    }
  });
});

describe("operations with fused kernels", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await nf.use(wasm({ threads: 2 }));
  });
  afterAll(async () => {
    await backend.dispose();
  });

  interface Results {
    readonly loss: Tensor;
    readonly operands: readonly Tensor[];
  }

  function differentiated({ loss, operands }: Results): readonly Tensor[] {
    loss.backward();
    return [loss, ...operands.map((operand) => operand.grad as Tensor)];
  }

  it("agree with their decomposition, gradients included", async () => {
    const compute = (): Results => {
      manualSeed(7);
      const leaf = (...shape: number[]): Tensor => randn(shape, { backend, requiresGrad: true });
      const [x, weight, bias, table] = [leaf(2, 30, 64), leaf(64), leaf(64), leaf(11, 64)];
      const tokens = nf.tensor(
        Array.from({ length: 60 }, (_, i) => (i * 5) % 11),
        { dtype: "i32", backend },
      );
      const embedded = nf.add(x, nf.reshape(nf.embedding(table, tokens), [2, 30, 64]));
      const normed = nf.layerNorm(embedded, { weight, bias });
      const heads = nf.permute(nf.reshape(normed, [2, 30, 4, 16]), [0, 2, 1, 3]);
      const turned = nf.rope(heads);
      const mixed = scaledDotProductAttention(turned, turned, heads, { causal: true });
      const joined = nf.reshape(nf.permute(mixed, [0, 2, 1, 3]), [60, 64]);
      const logits = nf.matmul(nf.rmsNorm(joined, { weight }), nf.transpose(table));
      return {
        loss: nf.crossEntropy(logits, tokens, { labelSmoothing: 0.1 }),
        operands: [x, weight, bias, table],
      };
    };
    const numbers = (all: readonly Tensor[]): Promise<number[][]> =>
      Promise.all(all.map(async (one) => Array.from((await one.data()) as Float32Array)));
    const fused = await numbers(differentiated(compute()));
    const decomposed = await numbers(withFusion("off", () => differentiated(compute())));
    fused.forEach((values, i) => {
      expectClose(values, decomposed[i] as number[], 1e-5);
    });
  });
});
