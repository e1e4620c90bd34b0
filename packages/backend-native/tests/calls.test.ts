import { type Backend, type Call, contiguousView, makeView, type View } from "@nf/core";
import { describe, expect, it } from "vitest";
import { native } from "../src/index.ts";
import { kernels } from "../src/kernels/table.ts";
import { missing } from "./built.ts";
import { blank, callOf, download, run, upload } from "./helper.ts";
import { samples } from "./samples.ts";

type Mutation = [string, Partial<{ inputs: View[]; outputs: View[] }>];

/** The list with another entry at a place, or without it. */
function swap(views: readonly View[], at: number, ...by: View[]): View[] {
  return views.toSpliced(at, 1, ...by);
}

/** Calls that differ from a good one by one view: none of them may reach a kernel. */
function mutations(backend: Backend, sample: ReturnType<typeof samples>[number]): Mutation[] {
  const { call, freeSize = [], freeDtype = [], freeRank = [], optional = [] } = sample;
  const longer = ({ dtype, shape }: View): View =>
    blank(backend, dtype, [...shape.slice(0, -1), (shape.at(-1) as number) + 1]);
  const deeper = ({ dtype, shape }: View): View => blank(backend, dtype, [1, ...shape]);
  const other = ({ buffer, dtype, shape, strides }: View): View =>
    makeView(buffer, dtype === "f32" ? "i32" : "f32", shape, strides, 0);
  const found: Mutation[] = [];
  for (const side of ["inputs", "outputs"] as const) {
    call[side].forEach((view, i) => {
      const add = (what: string, ...by: View[]): void =>
        void found.push([`${side} ${i}: ${what}`, { [side]: swap(call[side], i, ...by) }]);
      const isInput = side === "inputs";
      if (!(isInput && freeSize.includes(i))) add("a wrong size", longer(view));
      if (!(isInput && freeDtype.includes(i))) add("a wrong dtype", other(view));
      if (!(isInput && optional.includes(i))) add("missing");
      if (!(isInput && freeRank.includes(i))) add("a dimension more", deeper(view));
    });
  }
  return found;
}

describe.skipIf(missing !== undefined)("calls that are none of a kernel's", () => {
  it("are refused: each view of each kernel with a wrong size, rank or dtype, or missing", async () => {
    const backend = await native({ threads: 2 });
    const list = samples(backend, 6, 4);
    expect(new Set(list.map(({ call }) => call.kernel))).toEqual(new Set(Object.keys(kernels)));
    let refused = 0;
    for (const sample of list) {
      expect(() => run(backend, sample.call), sample.name).not.toThrow();
      for (const [what, change] of mutations(backend, sample)) {
        expect(
          () => backend.execute({ ...callOf({ ...sample.call, ...change }) } as Call),
          `${sample.name}, ${what}`,
        ).toThrow(
          expect.objectContaining({
            code: "NF_BACKEND",
            message: expect.not.stringMatching(/leaves buffer|panic|index out of/),
          }),
        );
        refused++;
      }
      expect(() => run(backend, sample.call), sample.name).not.toThrow();
    }
    expect(refused).toBeGreaterThan(250);
    await backend.dispose();
  });

  it("are refused where an output is far larger than its input", async () => {
    const backend = await native({ threads: 2 });
    const x = upload(backend, "f32", [1, 4], [1, 2, 3, 4]);
    const y = contiguousView(backend.allocate(200_000 * 256 * 4), "f32", [200_000, 256]);
    const attributes = { pass: "forward", log: false } as const;
    expect(() => run(backend, { kernel: "softmax", inputs: [x], outputs: [y], attributes })).toThrow(
      /shape \[200000, 256\], \[1, 4\] was expected/,
    );
    await backend.dispose();
  });

  it("are refused for names and numbers that do not exist, and leave nothing behind", async () => {
    const backend = await native({ threads: 2 });
    const wrong: Record<string, object[]> = {
      reduce: [{ kinds: ["mean"] }, { axes: [2] }, { axes: [0, 0] }, { axes: [] }, { axes: [0.5] }],
      argReduce: [{ kind: "median" }, { axes: [Number.NaN] }],
      gather: [{ axis: 2 }, { axis: -1 }],
      "scatter add": [{ mode: "min" }, { mode: "toString" }, { axis: undefined }],
      scan: [{ kind: "min" }, { axis: 7 }],
      sort: [{ axis: 2 }],
      mapMany: [{ groups: 0 }, { groups: 2 }, { groups: 6 }],
      softmax: [{ pass: "sideways" }],
      norm: [{ pass: "inputGrad" }, { centered: false }, { weight: false }],
      crossEntropy: [{ pass: undefined }],
      conv: [{ pass: "backward" }, { groups: 0 }, { groups: 3 }, { stride: [0, 1] }, { dilation: [0, 0] }],
      "pool max": [{ pass: "both" }, { kind: "median" }, { stride: [0, 0] }, { kernelSize: [0, 2] }],
      attention: [{ pass: "again" }, { mask: false }],
      "quantizedMatmul q8_0": [{ format: "q4_0" }, { format: "q8_1" }, { format: undefined }],
    };
    for (const { name, call } of samples(backend, 6, 4)) {
      for (const change of wrong[name] ?? []) {
        const attributes = { ...("attributes" in call ? call.attributes : {}), ...change };
        expect(
          () => backend.execute({ ...callOf(call), attributes } as Call),
          `${name} ${JSON.stringify(change)}`,
        ).toThrow(expect.objectContaining({ code: "NF_BACKEND" }));
        // What the refused call had written so far is no part of the next one.
        expect(() => run(backend, call), name).not.toThrow();
      }
    }
    const x = upload(backend, "f32", [2], [1, 2]);
    expect(() =>
      run(backend, {
        kernel: "sort",
        inputs: [{ ...x, dtype: "f31" as "f32" }],
        outputs: [x, x],
        attributes: { axis: 0, descending: false },
      }),
    ).toThrow(/is no count/);
    expect(download(backend, x)).toEqual([1, 2]);
    await backend.dispose();
  });

  it("and those that are give the same bits on 1, 2, 4 and 8 threads", async () => {
    const results = async (threads: number): Promise<[string, Uint8Array][]> => {
      const backend = await native({ threads });
      const kept: [string, Uint8Array][] = [];
      for (const { name, call } of samples(backend, 193, 18)) {
        run(backend, call);
        call.outputs.forEach(({ buffer }, i) => {
          kept.push([`${name} ${i}`, backend.readSync?.(buffer, 0, buffer.byteLength) as Uint8Array]);
        });
      }
      await backend.dispose();
      return kept;
    };
    const wanted = await results(1);
    expect(wanted.length).toBeGreaterThan(35);
    for (const threads of [2, 4, 8]) {
      for (const [i, [name, bytes]] of (await results(threads)).entries())
        expect(Buffer.compare(bytes, wanted[i]?.[1] as Uint8Array), `${threads} threads, ${name}`).toBe(0);
    }
  });
});
