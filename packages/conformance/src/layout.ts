import { type DType, expand, flip, fromData, isFloat, permute, slice, type Tensor } from "@nf/core";
import fc from "fast-check";
import { at, build, type Nd } from "./reference/nd.ts";

/**
 * How a strided view lies in memory. Numbers are read bit by bit, one bit an axis, so that one layout serves every
 * rank; 0 everywhere is a dense tensor, and what fast-check shrinks to.
 */
export interface Layout {
  /** Number of the order of the axes in memory. */
  readonly order: number;
  /** Axes walked backwards (negative strides). */
  readonly flip: number;
  /** Axes of which every second element is left out. */
  readonly gap: number;
  /** Axes that repeat one slice (stride 0). */
  readonly still: number;
  /** Unused slices before the first on every axis that is not still (an offset). */
  readonly lead: number;
}

/** Dense and row-major. */
export const DENSE: Layout = { order: 0, flip: 0, gap: 0, still: 0, lead: 0 };

/** One layout of each kind, for fixed cases. */
export const LAYOUTS: Readonly<Record<string, Layout>> = {
  contiguous: DENSE,
  offset: { ...DENSE, lead: 1 },
  permuted: { ...DENSE, order: 4321 },
  sliced: { ...DENSE, gap: 0b10101, lead: 1 },
  flipped: { ...DENSE, flip: 0b11011 },
  "stride 0": { ...DENSE, still: 0b10010 },
  "everything at once": { order: 1237, flip: 0b01101, gap: 0b10110, still: 0, lead: 1 },
};

/** Any layout; a third of them dense, as fast paths expect. */
export const anyLayout: fc.Arbitrary<Layout> = fc.oneof(
  fc.constant(DENSE),
  fc.record({
    order: fc.nat(5039),
    flip: fc.nat(31),
    gap: fc.nat(31),
    still: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(31) }),
    lead: fc.nat(1),
  }),
);

const bit = (bits: number, axis: number): boolean => ((bits >> axis) & 1) === 1;

/** The permutation with a number, in the factorial number system. */
export function permutation(rank: number, number: number): number[] {
  const left = Array.from({ length: rank }, (_, axis) => axis);
  let rest = number;
  return Array.from({ length: rank }, () => {
    const choice = rest % left.length;
    rest = Math.floor(rest / left.length);
    return left.splice(choice, 1)[0]!;
  });
}

/** Values as a layout can hold them: along still axes the first slice counts. */
export function settle(x: Nd, layout: Layout): Nd {
  if (layout.still === 0) return x;
  return build(x.shape, (index) =>
    at(
      x,
      index.map((i, axis) => (bit(layout.still, axis) ? 0 : i)),
    ),
  );
}

/**
 * A tensor of settled values, laid out as chosen. What lies between its elements is poison: NaN, or a large integer.
 */
export function lay(x: Nd, dtype: DType, layout: Layout): Tensor {
  const { shape } = x;
  if (x.data.length === 0 || layout === DENSE) return fromData(hostValues(x.data), shape, { dtype });
  const order = permutation(shape.length, layout.order);
  const gap = (axis: number): number => (bit(layout.gap, axis) ? 2 : 1);
  const still = (axis: number): boolean => bit(layout.still, axis);
  const extent = (axis: number): number => (still(axis) ? 1 : layout.lead + shape[axis]! * gap(axis));
  const poison = isFloat(dtype) ? NaN : dtype === "bool" ? 1 : 99;
  const stored = build(order.map(extent), (index) => {
    const logical = new Array<number>(shape.length);
    for (let place = 0; place < order.length; place++) {
      const axis = order[place]!;
      const from = still(axis) ? index[place]! : index[place]! - layout.lead;
      if (from < 0 || from % gap(axis) !== 0) return poison;
      const step = from / gap(axis);
      if (step >= shape[axis]!) return poison;
      logical[axis] = bit(layout.flip, axis) && !still(axis) ? shape[axis]! - 1 - step : step;
    }
    return at(x, logical);
  });
  const base = fromData(hostValues(stored.data), stored.shape, { dtype });
  const ordered = permute(
    base,
    shape.map((_, axis) => order.indexOf(axis)),
  );
  const thinned = slice(
    ordered,
    ...shape.map((_, axis) => (still(axis) ? null : { start: layout.lead, step: gap(axis) })),
  );
  const turned = flip(
    thinned,
    shape.flatMap((_, axis) => (bit(layout.flip, axis) && !still(axis) ? [axis] : [])),
  );
  return expand(turned, shape);
}

/** Plain numbers as an array that core takes for any dtype. */
export function hostValues(values: readonly number[]): Float64Array {
  return Float64Array.from(values);
}
