import { showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { fromData } from "./create.ts";
import { indexSelect } from "./index-ops.ts";
import { checkAxis, checkInteger, checkList, checkOptions, checkTensor } from "./options.ts";
import { concat } from "./place.ts";
import { expandTo } from "./programs.ts";
import { reshape, slice } from "./shape.ts";
import { ownResult, withUnitDims } from "./views.ts";

/** Repeats the whole of x along each dimension; missing counts in front are 1, further ones make new dimensions. */
export function tile(x: Tensor, repeats: readonly number[]): Tensor {
  checkTensor("tile", x);
  checkList("tile", "repeats", repeats);
  for (const count of repeats) checkInteger("tile", "each count", count, 0);
  const rank = Math.max(x.rank, repeats.length);
  const padded = (values: Shape): Shape => [...new Array<number>(rank - values.length).fill(1), ...values];
  const [counts, shape] = [padded(repeats), padded(x.shape)];
  return composite([x], () => {
    const apart = withUnitDims(
      x,
      shape.flatMap((size) => [1, size]),
    );
    const repeated = expandTo(
      apart,
      shape.flatMap((size, axis) => [counts[axis] as number, size]),
    );
    return reshape(
      repeated,
      shape.map((size, axis) => size * (counts[axis] as number)),
    );
  });
}

/** Options of {@link repeatInterleave}. */
export interface RepeatOptions {
  /** Axis along which elements are repeated; default none, which reads x as if flat. */
  readonly axis?: number;
}

/** Repeats each element along an axis, one after the other: all equally often, or each as often as told. */
export function repeatInterleave(
  x: Tensor,
  repeats: number | readonly number[],
  options: RepeatOptions = {},
): Tensor {
  checkTensor("repeatInterleave", x);
  checkOptions("repeatInterleave", options, ["axis"]);
  if (typeof repeats !== "number") checkList("repeatInterleave", "repeats", repeats);
  for (const count of typeof repeats === "number" ? [repeats] : repeats)
    checkInteger("repeatInterleave", typeof repeats === "number" ? "repeats" : "each count", count, 0);
  const axis = options.axis === undefined ? 0 : checkAxis("repeatInterleave", options.axis, x.rank);
  const length = options.axis === undefined ? x.size : (x.shape[axis] as number);
  if (typeof repeats !== "number" && repeats.length !== length) {
    throw new ShapeError(
      `repeatInterleave: ${repeats.length} counts for ${length} elements${options.axis === undefined ? "" : ` of dimension ${axis}`}.`,
    );
  }
  return composite([x], () => {
    const source = options.axis === undefined ? reshape(x, [-1]) : x;
    if (typeof repeats !== "number") {
      const index = Int32Array.from(repeats.flatMap((count, at) => new Array<number>(count).fill(at)));
      return indexSelect(source, axis, fromData(index, [index.length], { backend: x.backend }));
    }
    const [lead, rest] = [source.shape.slice(0, axis + 1), source.shape.slice(axis + 1)];
    const repeated = expandTo(withUnitDims(source, [...lead, 1, ...rest]), [...lead, repeats, ...rest]);
    return reshape(repeated, [...lead.slice(0, axis), length * repeats, ...rest]);
  });
}

/** Options of {@link roll}. */
export interface RollOptions {
  /** By how many places elements move towards the end; negative ones move to the front. One for each axis named. */
  readonly shifts: number | readonly number[];
  /** Axis or axes; default none, which rolls x as if flat. */
  readonly axis?: number | readonly number[];
}

/** Moves elements along axes; what leaves at one end comes in at the other. */
export function roll(x: Tensor, options: RollOptions): Tensor {
  checkTensor("roll", x);
  checkOptions("roll", options ?? null, ["shifts", "axis"]);
  const shifts = [options.shifts].flat();
  for (const shift of shifts) checkInteger("roll", "shifts", shift as number, Number.MIN_SAFE_INTEGER);
  const axes = options.axis === undefined ? undefined : [options.axis].flat();
  if (shifts.length !== (axes?.length ?? 1)) {
    throw new OptionError(
      `roll: ${showShape(shifts as number[])} gives ${shifts.length} shifts for ${axes === undefined ? "x read as flat, which takes 1" : `${axes.length} axes`}.`,
    );
  }
  return composite([x], () => {
    if (axes === undefined)
      return reshape(rolled(reshape(x, [sizeOf(x.shape)]), shifts[0] as number, 0), x.shape);
    const moved = axes.reduce<Tensor>(
      (partial, axis, i) => rolled(partial, shifts[i] as number, checkAxis("roll", axis as number, x.rank)),
      x,
    );
    return ownResult(x, moved);
  });
}

function rolled(x: Tensor, shift: number, axis: number): Tensor {
  const length = x.shape[axis] as number;
  const start = length === 0 ? 0 : ((-shift % length) + length) % length;
  if (start === 0) return x;
  const part = (from: number, to: number): Tensor =>
    slice(x, ...x.shape.map((_, position) => (position === axis ? ([from, to] as const) : null)));
  return concat([part(start, length), part(0, start)], axis);
}
