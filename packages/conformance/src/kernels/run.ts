import { type Backend, type Call, DTYPES, type DType, isFloat, type Kernel, type View } from "@nf/core";
import type { Context } from "../check.ts";
import { DENSE, type Layout, settle } from "../layout.ts";
import type { Tolerance } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import { decode, elementsOf, type Laid, layOut } from "./memory.ts";

/** What is particular to a kernel's call beside its views. */
export type CallParts = {
  [K in Kernel]: Omit<Extract<Call, { kernel: K }>, "buffers" | "inputs" | "outputs" | "params">;
}[Kernel];

/** A view of a case: its values, and whether its layout may repeat slices. */
export interface Operand {
  readonly dtype: DType;
  readonly values: Nd;
  /** Never with stride 0: distinct values, or positions. */
  readonly distinct?: boolean;
}

/** A direct call of a kernel, and what should come out. */
export interface KernelCase {
  readonly label: string;
  readonly parts: CallParts;
  readonly params?: readonly number[];
  readonly inputs: readonly Operand[];
  /** Outputs with what they hold before. */
  readonly outputs: readonly Operand[];
  /** Expected values of each output, given the inputs as their layouts hold them. */
  readonly expected: (inputs: readonly Nd[], before: readonly Nd[]) => readonly (readonly number[])[];
  /** Of all outputs, or one for each. */
  readonly tolerance: Tolerance | readonly Tolerance[];
  /**
   * How far roundings on the way to it move each element of each output, given the inputs likewise. For sums, whose
   * terms may be much larger than they are.
   */
  readonly movement?: (inputs: readonly Nd[], before: readonly Nd[]) => readonly (readonly number[])[];
  /** Whether zeros have the sign of the expected ones: values that are moved, and functions of one element. */
  readonly signedZeros?: boolean;
  /** Input that output number `alias[1]` is written over. */
  readonly alias?: readonly [input: number, output: number];
}

/** A call of laid out views. */
export function laidCall(
  parts: CallParts,
  params: readonly number[],
  inputs: readonly Laid[],
  outputs: readonly Laid[],
): Call {
  return callOf(
    parts,
    params,
    inputs.map(({ view }) => view),
    outputs.map(({ view }) => view),
  );
}

/** A call of views, with each of their buffers once. */
export function callOf(
  parts: CallParts,
  params: readonly number[],
  inputs: readonly View[],
  outputs: readonly View[],
): Call {
  const buffers = [...new Set([...inputs, ...outputs].map(({ buffer }) => buffer))];
  return { ...parts, buffers, inputs, outputs, params } as Call;
}

/** Runs a case with its views laid out, input i as `layouts[i]`, outputs as those after; compares; frees everything. */
export async function runCase(
  context: Context,
  test: KernelCase,
  layouts: readonly Layout[],
  label: string,
): Promise<void> {
  const { backend } = context;
  const choose = (i: number): Layout => layouts[i % layouts.length] ?? DENSE;
  const inputLayouts = test.inputs.map((operand, i) =>
    operand.distinct === true || i === test.alias?.[0] ? { ...choose(i), still: 0 } : choose(i),
  );
  const inputs = test.inputs.map(({ dtype, values }, i) =>
    layOut(backend, dtype, settle(values, inputLayouts[i]!), inputLayouts[i]!),
  );
  const outputs = test.outputs.map(({ dtype, values }, k) => {
    if (test.alias?.[1] === k) return inputs[test.alias[0]]!;
    return layOut(backend, dtype, values, { ...choose(test.inputs.length + k), still: 0 });
  });
  try {
    const call = laidCall(test.parts, test.params ?? [], inputs, outputs);
    const settled = test.inputs.map(({ values }, i) => settle(values, inputLayouts[i]!));
    const before = test.outputs.map(({ values }) => values);
    const expected = test.expected(settled, before);
    backend.execute(call);
    const reads = await readBuffers(backend, outputs);
    outputs.forEach(({ view, memory }, k) => {
      const own = decode(view.dtype, reads[k]!).slice(0, memory.length);
      const { values, places } = elementsOf(view, own);
      const wanted = expected[k]!;
      const { tolerance, movement, signedZeros = false } = test;
      context.compare(`${test.label}, ${label}, output ${k}`, values, wanted, {
        dtype: view.dtype,
        tolerance: typeof tolerance === "string" ? tolerance : tolerance[k]!,
        scale: 0,
        signedZeros,
        ...(movement !== undefined && { movement: () => movement(settled, before)[k]! }),
      });
      const strayed = memory.findIndex((value, place) => !places.has(place) && own[place] !== value);
      if (strayed >= 0)
        context.fail(
          `${test.label}, ${label}: element ${strayed} of the buffer was written to, outside output ${k}`,
        );
    });
  } finally {
    for (const buffer of new Set([...inputs, ...outputs].map(({ buffer: one }) => one))) backend.free(buffer);
  }
}

/** All bytes of the buffers. */
async function readBuffers(backend: Backend, laid: readonly Laid[]): Promise<readonly Uint8Array[]> {
  return Promise.all(
    laid.map(({ buffer, view, memory }) => backend.read(buffer, 0, memory.length * DTYPES[view.dtype].bytes)),
  );
}

/** Whether a sum of this dtype wraps around. */
export function wraps(dtype: DType): boolean {
  return !isFloat(dtype) && dtype !== "bool";
}
