import {
  type DType,
  type Elements,
  forEachBlock,
  fromBfloatBits,
  fromHalfBits,
  type GatherCall,
  mergeDimensions,
  type ScatterCall,
  toBfloatBits,
  toHalfBits,
  type View,
} from "@nf/core";
import { elementsOf } from "../buffer.ts";

/**
 * `gather` and `scatter` walk the same space: the index's shape. `fixed` is the view that is addressed through the
 * index: along the axis it moves by the index instead of by the position.
 */
interface Walk {
  readonly shape: readonly number[];
  readonly strides: readonly (readonly number[])[];
  /** The dimension inside which whole rows move at once, or 1 where elements move singly. */
  readonly rowLength: number;
}

/** Splits off the innermost dimensions along which the index stands still and both other views are gapless. */
function planWalk(index: View, moving: View, fixed: View, axis: number): Walk {
  const fixedStrides = fixed.strides.map((stride, i) => (i === axis ? 0 : stride));
  // The axis must not merge with dimensions inside it by accident of strides: the fixed view stands still along it.
  const { shape, strides } = mergeDimensions(index.shape, [index.strides, moving.strides, fixedStrides]);
  const last = shape.length - 1;
  const [indexStrides, movingStrides, rest] = strides as readonly [
    readonly number[],
    readonly number[],
    readonly number[],
  ];
  const isRow = indexStrides[last] === 0 && movingStrides[last] === 1 && rest[last] === 1;
  if (!isRow) return { shape, strides, rowLength: 1 };
  const outerShape = last === 0 ? [1] : shape.slice(0, last);
  const outer = strides.map((list) => (last === 0 ? [0] : list.slice(0, last)));
  return { shape: outerShape, strides: outer, rowLength: shape[last] as number };
}

/** The `gather` kernel. Whole rows are copied at once where the index selects rows, as in an embedding. */
export function gather({ inputs, outputs, attributes }: GatherCall): void {
  const [source, index] = inputs as readonly [View, View];
  const output = outputs[0] as View;
  const { shape, strides, rowLength } = planWalk(index, output, source, attributes.axis);
  const step = source.strides[attributes.axis] as number;
  const indices = elementsOf(index);
  const from = elementsOf(source);
  const to = elementsOf(output);
  forEachBlock(shape, strides, [index.offset, output.offset, source.offset], (count, positions) => {
    const [indexAt, outputAt, sourceAt] = positions as readonly [Float64Array, Float64Array, Float64Array];
    for (let i = 0; i < count; i++) {
      const start = sourceAt[i] + indices[indexAt[i]] * step;
      const at = outputAt[i];
      for (let k = 0; k < rowLength; k++) to[at + k] = from[start + k];
    }
  });
}

/** The `scatter` kernel; duplicates are taken in row-major order of the updates. */
export function scatter({ inputs, outputs, attributes }: ScatterCall): void {
  const [updates, index] = inputs as readonly [View, View];
  const output = outputs[0] as View;
  const { shape, strides, rowLength } = planWalk(index, updates, output, attributes.axis);
  const step = output.strides[attributes.axis] as number;
  const indices = elementsOf(index);
  const from = elementsOf(updates);
  const to = elementsOf(output);
  const apply = combiner(attributes.mode, output.dtype);
  forEachBlock(shape, strides, [index.offset, updates.offset, output.offset], (count, positions) => {
    const [indexAt, updateAt, outputAt] = positions as readonly [Float64Array, Float64Array, Float64Array];
    for (let i = 0; i < count; i++) {
      apply(to, outputAt[i] + indices[indexAt[i]] * step, from, updateAt[i], rowLength);
    }
  });
}

/** Puts a run of updates onto a run of the output. */
type Combine = (to: Elements, at: number, from: Elements, start: number, length: number) => void;

function combiner(mode: "add" | "set" | "max", dtype: DType): Combine {
  if (mode === "set") {
    return (to, at, from, start, length) => {
      for (let k = 0; k < length; k++) to[at + k] = from[start + k];
    };
  }
  const combine = mode === "max" ? Math.max : (a: number, b: number): number => a + b;
  if (dtype === "f16" || dtype === "bf16") {
    const [decode, encode] = dtype === "f16" ? [fromHalfBits, toHalfBits] : [fromBfloatBits, toBfloatBits];
    return (to, at, from, start, length) => {
      for (let k = 0; k < length; k++)
        to[at + k] = encode(combine(decode(to[at + k]), decode(from[start + k])));
    };
  }
  if (mode === "add" && dtype !== "bool") {
    return (to, at, from, start, length) => {
      for (let k = 0; k < length; k++) to[at + k] += from[start + k];
    };
  }
  return (to, at, from, start, length) => {
    // For bool, adding is "or", which is the maximum.
    for (let k = 0; k < length; k++) to[at + k] = Math.max(to[at + k], from[start + k]);
  };
}
