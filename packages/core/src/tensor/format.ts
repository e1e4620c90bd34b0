import type { Shape } from "../backend/view.ts";
import { type DType, isFloat } from "../dtype.ts";
import type { HostArray } from "./host.ts";

const EDGE = 3;
const THRESHOLD = 1000;

/** Text of values as NumPy prints them: aligned columns, four decimals, long dimensions shortened to their ends. */
export function formatValues(values: HostArray, shape: Shape, dtype: DType): string {
  if (values.length === 0) return shape.length === 0 ? "" : "[]";
  const shorten = values.length > THRESHOLD;
  const shown = shownIndices(shape, shorten).map((index) => values[index] as number);
  const write = writer(shown, dtype);
  const width = Math.max(...shown.map((value) => write(value).length));
  const render = (axis: number, offset: number): string => {
    if (axis === shape.length) return write(values[offset] as number).padStart(width);
    const step = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    const rows = positions(shape[axis] as number, shorten).map((index) =>
      index === undefined ? "..." : render(axis + 1, offset + index * step),
    );
    const below = shape.length - axis - 1;
    const separator = below === 0 ? ", " : `,${"\n".repeat(below)}${" ".repeat(axis + 1)}`;
    return `[${rows.join(separator)}]`;
  };
  return render(0, 0);
}

/** Positions to show along a dimension; `undefined` stands for the gap. */
function positions(size: number, shorten: boolean): readonly (number | undefined)[] {
  const all = Array.from({ length: size }, (_, index) => index);
  if (!shorten || size <= 2 * EDGE) return all;
  return [...all.slice(0, EDGE), undefined, ...all.slice(-EDGE)];
}

function shownIndices(shape: Shape, shorten: boolean): readonly number[] {
  let indices = [0];
  for (const size of shape) {
    const here = positions(size, shorten).filter((index) => index !== undefined);
    indices = indices.flatMap((index) => here.map((position) => index * size + position));
  }
  return indices;
}

function writer(shown: readonly number[], dtype: DType): (value: number) => string {
  if (dtype === "bool") return (value) => (value !== 0 ? "true" : "false");
  if (!isFloat(dtype)) return String;
  const finite = shown.filter(Number.isFinite).map(Math.abs);
  const largest = Math.max(0, ...finite);
  const smallest = Math.min(Infinity, ...finite.filter((value) => value > 0));
  const special = (value: number): string => (value > 0 ? "inf" : value < 0 ? "-inf" : "nan");
  if (largest >= 1e8 || smallest < 1e-4)
    return (value) => (Number.isFinite(value) ? value.toExponential(4) : special(value));
  const decimals = Math.max(0, ...shown.filter(Number.isFinite).map(neededDecimals));
  return (value) => {
    if (!Number.isFinite(value)) return special(value);
    return decimals === 0 ? `${value.toFixed(0)}.` : value.toFixed(decimals);
  };
}

function neededDecimals(value: number): number {
  const trimmed = value.toFixed(4).replace(/0+$/, "");
  return trimmed.length - trimmed.indexOf(".") - 1;
}
