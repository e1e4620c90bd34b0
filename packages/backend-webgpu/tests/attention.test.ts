import { cpu } from "@nf/backend-cpu";
import type { AttentionCall, Backend, DType } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { layOut } from "../../conformance/src/kernels/memory.ts";
import { callOf } from "../../conformance/src/kernels/run.ts";
import { DENSE, LAYOUTS } from "../../conformance/src/layout.ts";
import { nd } from "../../conformance/src/reference/nd.ts";
import type { WebgpuBackend } from "../src/backend.ts";
import { webgpu } from "../src/index.ts";
import { makeAttention } from "../src/kernels/attention.ts";
import { provideAdapter, testOptions } from "./adapter.ts";
import { compareDirect, type Direct, type Given, numbers, runDirect } from "./calls.ts";

const missing = await provideAdapter("attention on webgpu");
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

interface Case {
  /** Batch, heads, heads of k and v, queries, keys, headDim. */
  readonly sizes: readonly [number, number, number, number, number, number];
  readonly causal?: boolean;
  /** Sizes of the mask that are 1 where it repeats. */
  readonly mask?: readonly number[];
  readonly dtype?: DType;
  readonly layout?: string;
  readonly scale?: number;
  /** Puts values of its own into q, k, v and mask. */
  readonly change?: (inputs: Record<"q" | "k" | "v" | "mask", number[]>) => unknown;
}

describe.skipIf(missing !== undefined)("attention", () => {
  let own: Backend;
  let reference: Backend;
  beforeAll(async () => {
    own = await webgpu(testOptions);
    reference = await cpu();
  });
  afterAll(async () => {
    await own.dispose();
    await reference.dispose();
  });

  async function compare(one: Case, slack = 2): Promise<void> {
    const { sizes, causal = false, mask, dtype = "f32", layout = "contiguous", scale = 0.4, change } = one;
    const [batch, heads, kvHeads, queries, keys, headDim] = sizes;
    const shapes = {
      q: [batch, heads, queries, headDim],
      k: [batch, kvHeads, keys, headDim],
      v: [batch, kvHeads, keys, headDim],
      mask: mask ?? [],
    };
    const values = Object.fromEntries(
      Object.entries(shapes).map(([name, shape], seed) => [
        name,
        numbers(
          shape.reduce((a, b) => a * b, 1),
          seed,
        ),
      ]),
    ) as Record<keyof typeof shapes, number[]>;
    change?.(values);
    const given = (name: keyof typeof shapes): Given => ({
      shape: shapes[name],
      values: values[name],
      dtype,
      ...(name !== "mask" && { layout: LAYOUTS[layout]! }),
    });
    const whole = [batch, heads, queries, keys];
    const repeat = Object.fromEntries(
      (mask ?? []).flatMap((size, axis) => (size === 1 ? [[axis, whole[axis]!]] : [])),
    );
    const inputs = [
      given("q"),
      given("k"),
      given("v"),
      ...(mask === undefined ? [] : [{ ...given("mask"), repeat }]),
    ];
    const attributes = { causal, mask: mask !== undefined };
    const out: Given = { shape: shapes.q, dtype };
    const rows: Given = { shape: shapes.q.slice(0, 3) };
    const forward: Direct = {
      parts: { kernel: "attention", attributes: { pass: "forward", ...attributes } },
      params: [scale],
      inputs,
      outputs: [out, rows],
    };
    await compareDirect(own, reference, forward, slack);
    const [result, logSums] = await runDirect(reference, forward);
    const g: Given = { shape: shapes.q, dtype, values: numbers(result!.length, 9) };
    await compareDirect(
      own,
      reference,
      {
        parts: { kernel: "attention", attributes: { pass: "backward", ...attributes } },
        params: [scale],
        inputs: [g, ...inputs, { ...out, values: result! }, { ...rows, values: logSums! }],
        outputs: [given("q"), given("k"), given("v")].map(({ shape }) => ({ shape, dtype })),
      },
      2 * slack,
    );
  }

  it("of every shape", async () => {
    await compare({ sizes: [2, 3, 3, 5, 7, 8] });
    await compare({ sizes: [1, 1, 1, 1, 1, 1] });
    await compare({ sizes: [1, 2, 2, 19, 33, 16] });
    await compare({ sizes: [1, 1, 1, 4, 9, 5] });
    await compare({ sizes: [1, 1, 1, 3, 70, 68] });
    await compare({ sizes: [1, 2, 1, 1, 300, 8] });
  });
  it("of so many products that keys are taken several at a time", async () => {
    await compare({ sizes: [1, 4, 2, 37, 71, 12], causal: true, mask: [1, 4, 37, 71] });
  });
  it("with masks, causality and shared heads", async () => {
    for (const causal of [false, true])
      for (const mask of [undefined, [2, 1, 9, 12], [1, 4, 1, 12]])
        await compare({ sizes: [2, 4, 2, 9, 12, 8], causal, ...(mask && { mask }) });
    await compare({ sizes: [1, 2, 2, 6, 4, 4], causal: true });
    await compare({ sizes: [1, 2, 1, 40, 40, 4], causal: true });
  });
  it("of every layout and dtype", async () => {
    for (const layout of ["offset", "everything at once"])
      await compare({ sizes: [2, 2, 2, 5, 6, 4], layout });
    for (const dtype of ["f16", "bf16"] as const)
      await compare({ sizes: [1, 2, 1, 5, 6, 8], mask: [1, 1, 5, 6], causal: true, dtype });
  });
  it("with every view in a buffer of its own binds as many as it says, fewer than the call has", async () => {
    const { gpu } = own as WebgpuBackend;
    const { binds } = makeAttention({ gpu });
    const x = { shape: [1, 2, 3, 8] };
    for (const [pass, mask, most] of [
      ["forward", true, 7],
      ["backward", false, 8],
      ["backward", true, 9],
    ] as const) {
      const inputs = [
        ...(pass === "backward" ? [x] : []),
        ...[x, x, x],
        ...(mask ? [{ shape: [1, 2, 3, 3] }] : []),
        ...(pass === "backward" ? [x, { shape: [1, 2, 3] }] : []),
      ];
      const outputs = pass === "forward" ? [x, { shape: [1, 2, 3] }] : [x, x, x];
      const [reads, writes] = [inputs, outputs].map((list) =>
        list.map(({ shape }) => layOut(own, "f32", nd(shape, numbers(48, 1).slice(0, sizeOf(shape))), DENSE)),
      );
      const attributes = { pass, causal: false, mask } as const;
      const views = [reads, writes].map((list) => list.map(({ view }) => view));
      const call = callOf({ kernel: "attention", attributes }, [0.5], views[0], views[1]) as AttentionCall;
      const dispatch = vi.spyOn(gpu, "dispatch");
      own.execute(call);
      const bound = Math.max(...dispatch.mock.calls.map(([, buffers]) => buffers.length));
      dispatch.mockRestore();
      expect(binds?.(call)).toBe(bound);
      // One less where registers hold sums.
      expect(bound).toBe(gpu.adapterClass === "software" ? most : most - 1);
      expect(own.supports(call)).toBe("yes");
      for (const { buffer } of [...reads, ...writes]) own.free(buffer);
    }
  });
  it("of large scores", async () => {
    const change: Case["change"] = ({ q, k }) => {
      // Whole numbers, so that scores are exact.
      for (const list of [q, k]) list.splice(0, list.length, ...list.map((value) => Math.round(value * 70)));
    };
    await compare({ sizes: [1, 2, 2, 9, 12, 8], scale: 1, change }, 4);
  });
  it("of rows with nothing to attend to, infinite and no numbers", async () => {
    const sizes = [1, 2, 1, 4, 5, 4] as const;
    const mask = [1, 2, 4, 5];
    const inMask =
      (row: number, value: number): NonNullable<Case["change"]> =>
      ({ mask: list }) =>
        list.fill(value, 5 * row, 5 * row + 5);
    await compare({ sizes, mask, change: inMask(2, -inf) });
    await compare({ sizes, mask, change: inMask(1, nan) });
    await compare({
      sizes,
      mask,
      causal: true,
      change: ({ mask: list }) =>
        list.splice(0, list.length, ...list.map((_, i) => (i % 3 === 0 ? -inf : 0))),
    });
    await compare({ sizes, causal: true, change: ({ q }) => q.fill(nan, 5, 5 + 1) });
    await compare({ sizes, causal: true, change: ({ k }) => k.fill(nan, 17, 17 + 1) });
    await compare({ sizes, causal: true, change: ({ v }) => v.fill(nan, 18, 18 + 1) });
  });
});
