import type { BackendBuffer, DType, View } from "@nf/core";
import type { ShaderBuffer } from "../device/shader.ts";
import { isWord, loadElement, storeElement } from "./access.ts";
import { FAULTS } from "./printer.ts";

/** The views of a call, or some of them. */
export interface Viewed {
  readonly buffers: readonly BackendBuffer[];
  readonly inputs: readonly View[];
  readonly outputs: readonly View[];
}

/**
 * What of a call's views is part of a shader that reaches them element by element: dtypes, and which buffer each lies in.
 * Sizes, strides and offsets are geometry.
 */
export function viewsKey({ buffers, inputs, outputs }: Viewed): string {
  let key = "";
  for (let i = 0; i < inputs.length; i++) key += `${inputs[i].dtype}${buffers.indexOf(inputs[i].buffer)} `;
  key += ">";
  for (let i = 0; i < outputs.length; i++) key += ` ${outputs[i].dtype}${buffers.indexOf(outputs[i].buffer)}`;
  return key;
}

/** Buffers of words, named `b0`, `b1`, …, and how elements of the call's views are read from and stored to them. */
export interface ViewAccess {
  readonly buffers: readonly ShaderBuffer[];
  /** The element of an input at an index counted from the start of its buffer, in its compute dtype. */
  load(input: number, at: string): string;
  /** The element of an output, as {@link ViewAccess.load}. */
  loadOutput(output: number, at: string): string;
  /** Statements that store an element of an output; `at` is a name. */
  store(output: number, at: string, value: string): string;
}

/**
 * Declares a call's buffers for access by element.
 *
 * @param faults whether a word for failed checks is bound after them
 */
export function accessViews({ buffers, inputs, outputs }: Viewed, faults = false): ViewAccess {
  const name = (view: View): string => `b${buffers.indexOf(view.buffer)}`;
  const shared = new Set(outputs.filter(({ dtype }) => !isWord(dtype)).map(({ buffer }) => buffer));
  const written = new Set(outputs.map(({ buffer }) => buffer));
  const declared: ShaderBuffer[] = buffers.map((buffer, index) => ({
    name: `b${index}`,
    type: shared.has(buffer) ? "atomic<u32>" : "u32",
    access: written.has(buffer) ? "write" : "read",
  }));
  if (faults) declared.push({ name: FAULTS, type: "atomic<u32>", access: "write" });
  const read = (view: View, at: string): string =>
    loadElement(
      view.dtype,
      (index) =>
        shared.has(view.buffer) ? `atomicLoad(&${name(view)}[${index}])` : `${name(view)}[${index}]`,
      at,
    );
  return {
    buffers: declared,
    load: (input, at) => read(inputs[input], at),
    loadOutput: (output, at) => read(outputs[output], at),
    store: (output, at, value) => {
      const view = outputs[output];
      const stored = storeElement(view.dtype, name(view), at, value);
      // A buffer that also holds elements below a word is atomic throughout.
      if (isWord(view.dtype) && shared.has(view.buffer))
        return stored.replace(/^(\w+\[\w+\]) = (.*);$/, "atomicStore(&$1, $2);");
      return stored;
    },
  };
}

/** Names of a strided space's geometry: `n0` … for sizes, then for each view `o0` and `s0_0` … . */
export function spaceNames(rank: number, views: number): readonly string[] {
  const names: string[] = [];
  for (let axis = 0; axis < rank; axis++) names.push(`n${axis}`);
  for (let view = 0; view < views; view++) {
    names.push(`o${view}`);
    for (let axis = 0; axis < rank; axis++) names.push(`s${view}_${axis}`);
  }
  return names;
}

/** The numbers that go with {@link spaceNames}. */
export function spaceNumbers(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  offsets: readonly number[],
): number[] {
  const numbers = [...shape];
  for (let view = 0; view < strides.length; view++) numbers.push(offsets[view], ...strides[view]);
  return numbers;
}

/**
 * Statements that take a point's number apart into coordinates `c0`, `c1`, … of a space, outermost first.
 *
 * @param point an expression of type `i32`
 */
export function coordinatesOf(rank: number, point: string): string {
  const lines = [`var rest = ${point};`];
  for (let axis = rank - 1; axis > 0; axis--)
    lines.push(`let c${axis} = rest % geometry.n${axis}; rest = rest / geometry.n${axis};`);
  lines.push("let c0 = rest;");
  return lines.join("\n");
}

/** The index of a view's element at the coordinates. */
export function indexOf(rank: number, view: number): string {
  const terms = Array.from({ length: rank }, (_, axis) => ` + c${axis} * geometry.s${view}_${axis}`);
  return `geometry.o${view}${terms.join("")}`;
}

/** Dtypes that are stored and reached by element here: all but `f64`, which WGSL does not have. */
export const STORED: readonly DType[] = ["f32", "i32", "u32", "bool", "f16", "bf16", "i8", "u8"];
