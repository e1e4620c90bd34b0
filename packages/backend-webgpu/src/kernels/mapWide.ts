import { type BackendBuffer, DTYPES, type DType, type MapCall, type MergedSpace, type View } from "@nf/core";
import type { ShaderBuffer, ShaderSource } from "../device/shader.ts";
import { computeDtype, isWord, VALUE_TYPE } from "../wgsl/access.ts";
import { hasChecks, printWgsl } from "../wgsl/printer.ts";
import { coordinatesOf, indexOf, spaceNames, spaceNumbers } from "../wgsl/views.ts";

/*
 * `map`, four neighbours along the innermost dimension at a time. A vector of words is one element of its buffer, four
 * bytes are one word; nobody else writes to either, so nothing is atomic.
 */

const isByte = (dtype: DType): boolean => DTYPES[dtype].bytes === 1;

/** Whether each view can be walked in whole vectors, or stands still along the innermost dimension. */
export function isWide({ program, inputs, outputs }: MapCall, { shape, strides }: MergedSpace): boolean {
  const rank = shape.length;
  if (rank > 1 && shape[rank - 1] % 4 !== 0) return false;
  if (shape[rank - 1] < 4 || hasChecks(program)) return false;
  for (let i = 0; i < strides.length; i++) {
    const view = i < inputs.length ? inputs[i] : outputs[i - inputs.length];
    if (!isWord(view.dtype) && !isByte(view.dtype)) return false;
    const inner = strides[i][rank - 1];
    if (inner === 0 && i < inputs.length) continue;
    if (inner !== 1 || view.offset % 4 !== 0) return false;
    for (let axis = 0; axis < rank - 1; axis++) if (strides[i][axis] % 4 !== 0) return false;
  }
  return oneWidthEach([...inputs, ...outputs]);
}

/** Whether views of one buffer have elements of one size. */
function oneWidthEach(views: readonly View[]): boolean {
  const bytes = new Map<BackendBuffer, number>();
  for (const { buffer, dtype } of views) {
    const own = DTYPES[dtype].bytes;
    if ((bytes.get(buffer) ?? own) !== own) return false;
    bytes.set(buffer, own);
  }
  return true;
}

const hasTail = ({ shape }: MergedSpace): boolean => shape.length === 1 && shape[0] % 4 !== 0;

/** What of a space is part of the shader: which views stand still along the innermost dimension, and whether it ends within a vector. */
export function wideKey(space: MergedSpace): string {
  const inner = space.shape.length - 1;
  return space.strides.map((strides) => strides[inner]).join("") + (hasTail(space) ? "t" : "");
}

/** Geometry with lengths counted in vectors, except for views that stand still along the innermost dimension. */
export function wideNumbers(
  { inputs, outputs }: MapCall,
  { shape, strides }: MergedSpace,
  perInvocation: number,
): number[] {
  const inner = shape.length - 1;
  const size = outputs[0].size;
  const offsets: number[] = [];
  const steps: (readonly number[])[] = [];
  for (let i = 0; i < strides.length; i++) {
    const { offset } = i < inputs.length ? inputs[i] : outputs[i - inputs.length];
    if (strides[i][inner] === 0) {
      offsets.push(offset);
      steps.push(strides[i]);
    } else {
      offsets.push(offset / 4);
      steps.push(strides[i].map((stride, axis) => (axis === inner ? 1 : stride / 4)));
    }
  }
  const counted = shape.map((length, axis) => (axis === inner ? Math.ceil(length / 4) : length));
  return [Math.ceil(size / 4), size, perInvocation, ...spaceNumbers(counted, steps, offsets)];
}

/**
 * The shader of four points at a time.
 *
 * @param each how many vectors an invocation takes, as an expression
 */
export function wideSource(call: MapCall, space: MergedSpace, workgroup: number, each: string): ShaderSource {
  const { program, inputs, outputs, buffers } = call;
  const rank = space.shape.length;
  const tail = hasTail(space);
  const written = new Set(outputs.map(({ buffer }) => buffer));
  const views = [...inputs, ...outputs];
  const declared = buffers.map(
    (buffer, index): ShaderBuffer => ({
      name: `b${index}`,
      type: isWord((views.find((view) => view.buffer === buffer) as View).dtype) ? "vec4<u32>" : "u32",
      access: written.has(buffer) ? "write" : "read",
    }),
  );
  const name = (view: View): string => `b${buffers.indexOf(view.buffer)}`;
  const body = printWgsl(program, {
    load: (index) => {
      const still = space.strides[index][rank - 1] === 0;
      return loadWide(inputs[index].dtype, name(inputs[index]), indexOf(rank, index), still);
    },
    coordinate: (axis) => {
      const dimension = space.dimensions[program.coordinates.indexOf(axis)];
      if (dimension < 0) return "I(0)";
      return dimension === rank - 1 ? `(I(4 * c${dimension}) + I(0, 1, 2, 3))` : `I(c${dimension})`;
    },
    store: (index, value) =>
      storeWide(outputs[index].dtype, name(outputs[index]), `at${index}`, value, tail).replace(
        /^/,
        `let at${index} = ${indexOf(rank, inputs.length + index)};\n`,
      ),
  });
  return {
    label: `map ${program.name}`,
    buffers: declared,
    geometry: ["count", "points", "each", ...spaceNames(rank, views.length)],
    params: program.params,
    workgroup,
    width: 4,
    body: `for (var k = 0; k < ${each}; k++) {
let point = i32(invocation) * ${each} + k;
if (point >= geometry.count) { return; }
let left = geometry.points - 4 * point;
${coordinatesOf(rank, "point")}
${body}
}`,
  };
}

function loadWide(dtype: DType, buffer: string, at: string, still: boolean): string {
  const type = VALUE_TYPE[computeDtype(dtype)];
  if (isWord(dtype)) {
    if (!still) return `bitcast<${type}>(${buffer}[${at}])`;
    return `bitcast<${type}>(U(${buffer}[(${at}) >> 2u][u32(${at}) & 3u]))`;
  }
  const bytes = still
    ? `U((${buffer}[(${at}) >> 2u] >> ((u32(${at}) & 3u) << 3u)) & 0xffu)`
    : `((U(${buffer}[${at}]) >> U(0u, 8u, 16u, 24u)) & U(0xffu))`;
  if (dtype === "bool") return `(${bytes} != U(0u))`;
  return dtype === "i8" ? `((bitcast<I>(${bytes}) << U(24u)) >> U(24u))` : bytes;
}

function storeWide(dtype: DType, buffer: string, at: string, value: string, tail: boolean): string {
  if (isWord(dtype)) {
    const whole = `${buffer}[${at}] = bitcast<U>(${value});`;
    if (!tail) return whole;
    return `if (left >= 4) { ${whole} } else {
  let last = bitcast<U>(${value});
  for (var n = 0; n < left; n++) { ${buffer}[${at}][n] = last[n]; }
}`;
  }
  const bytes = dtype === "bool" ? `select(U(0u), U(1u), ${value})` : `(bitcast<U>(${value}) & U(0xffu))`;
  const word = `dot(${bytes}, U(1u, 0x100u, 0x10000u, 0x1000000u))`;
  if (!tail) return `${buffer}[${at}] = ${word};`;
  return `{
  let keep = select(0u, 0xffffffffu << (u32(left & 3) << 3u), left < 4);
  ${buffer}[${at}] = (${buffer}[${at}] & keep) | (${word} & ~keep);
}`;
}
