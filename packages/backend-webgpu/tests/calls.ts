import { type Backend, type DType, makeView, type View } from "@nf/core";
import { expect } from "vitest";
import { decode, elementsOf, layOut } from "../../conformance/src/kernels/memory.ts";
import { type CallParts, callOf } from "../../conformance/src/kernels/run.ts";
import { DENSE, type Layout } from "../../conformance/src/layout.ts";
import { nd } from "../../conformance/src/reference/nd.ts";

/** A tensor of a call: its values, or only its shape where the kernel writes it. */
export interface Given {
  readonly shape: readonly number[];
  readonly values?: readonly number[];
  readonly dtype?: DType;
  readonly layout?: Layout;
  /** Axes repeated to a size, with stride 0. */
  readonly repeat?: Readonly<Record<number, number>>;
}

/** A direct call of a kernel. */
export interface Direct {
  readonly parts: CallParts;
  readonly params?: readonly number[];
  readonly inputs: readonly Given[];
  readonly outputs: readonly Given[];
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Runs a call, and reads what it wrote. Finds what it wrote elsewhere. */
export async function runDirect(
  backend: Backend,
  { parts, params = [], inputs, outputs }: Direct,
): Promise<number[][]> {
  const lay = ({ shape, values, dtype = "f32", layout = DENSE }: Given) =>
    layOut(backend, dtype, nd(shape, values ?? new Array<number>(sizeOf(shape)).fill(5)), layout);
  const [ins, outs] = [inputs.map(lay), outputs.map(lay)];
  const views = ins.map(({ view }, i) => repeated(view, inputs[i]!.repeat));
  backend.execute(
    callOf(
      parts,
      params,
      views,
      outs.map(({ view }) => view),
    ),
  );
  const results: number[][] = [];
  for (const { buffer, memory, view } of outs) {
    const own = decode(view.dtype, await backend.read(buffer, 0, buffer.byteLength)).slice(0, memory.length);
    const { values, places } = elementsOf(view, own);
    expect(memory.findIndex((value, place) => !places.has(place) && own[place] !== value)).toBe(-1);
    results.push(values);
  }
  for (const { buffer } of [...ins, ...outs]) backend.free(buffer);
  return results;
}

function repeated(view: View, repeat: Given["repeat"]): View {
  if (repeat === undefined) return view;
  const shape = view.shape.map((size, axis) => repeat[axis] ?? size);
  const strides = view.strides.map((stride, axis) => (repeat[axis] === undefined ? stride : 0));
  return makeView(view.buffer, view.dtype, shape, strides, view.offset);
}

/** Relative to the greatest finite value of a result. */
const TOLERANCE: Readonly<Partial<Record<DType, number>>> = { f32: 4e-6, f16: 2e-3, bf16: 2e-2 };

/** The same call on two backends. */
export async function compareDirect(
  own: Backend,
  reference: Backend,
  call: Direct,
  slack = 1,
): Promise<void> {
  const [got, wanted] = [await runDirect(own, call), await runDirect(reference, call)];
  call.outputs.forEach(({ dtype = "f32" }, k) => {
    const finite = wanted[k]!.filter(Number.isFinite).map(Math.abs);
    const limit = (TOLERANCE[dtype] as number) * slack * Math.max(1e-3, ...finite);
    wanted[k]!.forEach((value, i) => {
      const is = got[k]![i]!;
      const right = Number.isFinite(value) ? Math.abs(is - value) <= limit : Object.is(is, value);
      if (!right) {
        const { program: _, ...rest } = call.parts as { program?: unknown };
        expect.fail(
          `${JSON.stringify(rest)} ${JSON.stringify(call.inputs.map(({ shape }) => shape))}: output ${k}, element ${i} is ${is}, expected ${value} ± ${limit}`,
        );
      }
    });
  });
}

/** Repeatable numbers, roughly normal. */
export function numbers(count: number, seed: number, scale = 1): number[] {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, () =>
    Math.fround(scale * (next() + next() + next() + next() - 2) * 1.7),
  );
}
