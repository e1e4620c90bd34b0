import {
  type Backend,
  type Call,
  contiguousView,
  DTYPES,
  type DType,
  fromBfloatBits,
  fromHalfBits,
  makeView,
  type Program,
  sizeOf,
  toBfloatBits,
  toHalfBits,
  type View,
} from "@nf/core";
import fc from "fast-check";

/** Examples of each property: more at night. */
export const RUNS: number = process.env["NF_NIGHTLY"] === "1" ? 10_000 : 200;

/** Packs numbers into the bytes of a dtype. */
export function encode(dtype: DType, values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * DTYPES[dtype].bytes);
  const { buffer } = bytes;
  if (dtype === "f32") new Float32Array(buffer).set(values);
  else if (dtype === "f64") new Float64Array(buffer).set(values);
  else if (dtype === "f16") new Uint16Array(buffer).set(values.map(toHalfBits));
  else if (dtype === "bf16") new Uint16Array(buffer).set(values.map(toBfloatBits));
  else if (dtype === "i32") new Int32Array(buffer).set(values);
  else if (dtype === "u32") new Uint32Array(buffer).set(values);
  else if (dtype === "i8") new Int8Array(buffer).set(values);
  else bytes.set(values);
  return bytes;
}

/** The numbers that bytes of a dtype stand for. */
export function decode(dtype: DType, bytes: Uint8Array): number[] {
  const { buffer } = bytes.slice();
  if (dtype === "f32") return [...new Float32Array(buffer)];
  if (dtype === "f64") return [...new Float64Array(buffer)];
  if (dtype === "f16") return [...new Uint16Array(buffer)].map(fromHalfBits);
  if (dtype === "bf16") return [...new Uint16Array(buffer)].map(fromBfloatBits);
  if (dtype === "i32") return [...new Int32Array(buffer)];
  if (dtype === "u32") return [...new Uint32Array(buffer)];
  if (dtype === "i8") return [...new Int8Array(buffer)];
  return [...bytes];
}

/** A row-major view over a new buffer that holds `values`. */
export function upload(
  backend: Backend,
  dtype: DType,
  shape: readonly number[],
  values: readonly number[],
): View {
  const buffer = backend.allocate(Math.max(1, values.length) * DTYPES[dtype].bytes);
  backend.write(buffer, 0, encode(dtype, values));
  return contiguousView(buffer, dtype, shape);
}

/** A row-major view over a new buffer full of a value that no test expects. */
export function blank(backend: Backend, dtype: DType, shape: readonly number[]): View {
  return upload(backend, dtype, shape, new Array<number>(sizeOf(shape)).fill(dtype === "bool" ? 1 : 99));
}

/** Element positions of a view in row-major order. */
export function positionsOf(view: View): number[] {
  let positions = [view.offset];
  view.shape.forEach((size, axis) => {
    const stride = view.strides[axis] as number;
    positions = positions.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * stride));
  });
  return positions;
}

/** All elements of a view in row-major order. */
export function download(backend: Backend, view: View): number[] {
  const all = decode(
    view.dtype,
    (backend.readSync as NonNullable<Backend["readSync"]>).call(
      backend,
      view.buffer,
      0,
      view.buffer.byteLength,
    ),
  );
  return positionsOf(view).map((at) => all[at] as number);
}

/** How a strided view lies in its buffer. */
export interface LayoutChoice {
  /** Order of the axes in memory, outermost first. */
  readonly order: readonly number[];
  /** Per axis: walked backwards. */
  readonly flip: readonly boolean[];
  /** Per axis: stride 0, so that only the first slice exists. */
  readonly still: readonly boolean[];
  /** Unused elements before the first. */
  readonly lead: number;
  /** Memory elements between neighbours of the innermost axis. */
  readonly gap: number;
}

/** Layouts of views of a rank: half of them plain or with repeated axes, as fast paths expect, half anything. */
export function layoutOf(rank: number): fc.Arbitrary<LayoutChoice> {
  const axes = [...Array(rank).keys()];
  const booleans = fc.array(fc.boolean(), { minLength: rank, maxLength: rank });
  const none = fc.constant(axes.map(() => false));
  return fc.oneof(
    fc.record({
      order: fc.constant(axes),
      flip: none,
      still: fc.oneof(none, booleans),
      lead: fc.nat(2),
      gap: fc.constant(1),
    }),
    fc.record({
      order: fc.shuffledSubarray(axes, { minLength: rank, maxLength: rank }),
      flip: booleans,
      still: booleans,
      lead: fc.nat(3),
      gap: fc.integer({ min: 1, max: 2 }),
    }),
  );
}

/** A view of a shape laid out as chosen, over a new buffer holding `fill(position)` everywhere. */
export function lay(
  backend: Backend,
  dtype: DType,
  shape: readonly number[],
  choice: LayoutChoice,
  fill: (position: number) => number,
): View {
  const strides = new Array<number>(shape.length).fill(0);
  let step = choice.gap;
  for (const axis of [...choice.order].reverse()) {
    if (choice.still[axis]) continue;
    strides[axis] = step;
    step *= shape[axis] as number;
  }
  let offset = choice.lead;
  shape.forEach((size, axis) => {
    if (!choice.flip[axis] || strides[axis] === 0) return;
    offset += (size - 1) * (strides[axis] as number);
    strides[axis] = -(strides[axis] as number);
  });
  const length = choice.lead + step;
  const buffer = backend.allocate(length * DTYPES[dtype].bytes);
  backend.write(
    buffer,
    0,
    encode(
      dtype,
      Array.from({ length }, (_, position) => fill(position)),
    ),
  );
  return makeView(buffer, dtype, shape, strides, offset);
}

type Loose = {
  [K in Call["kernel"]]: Omit<Extract<Call, { kernel: K }>, "buffers" | "params"> & {
    readonly params?: readonly number[];
  };
}[Call["kernel"]];

/** Completes a call with its distinct buffers. */
export function callOf(call: Loose): Call {
  const buffers = [...new Set([...call.inputs, ...call.outputs].map((view) => view.buffer))];
  return { ...call, buffers, params: call.params ?? [] } as Call;
}

/** Runs a call. */
export function run(backend: Backend, call: Loose): void {
  backend.execute(callOf(call));
}

/** Runs a program over views. */
export function runMap(
  backend: Backend,
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
  params: readonly number[] = [],
): void {
  run(backend, { kernel: "map", program, inputs, outputs, params });
}
