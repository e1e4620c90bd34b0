import type { Shape } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { fromBfloatBits, fromHalfBits, toBfloatBits, toHalfBits } from "../scalar/half.ts";
import type { HostArray } from "./host.ts";

const EDGE = 3;
const THRESHOLD = 1000;
/** Digits after the point. */
const PRECISION = 4;
/** Columns that a line may take, and those that `Tensor(` takes before each. */
const LINE = 75;
const MARGIN = "Tensor(".length;

/**
 * Text of values as NumPy prints them with `precision=4`: aligned columns, long dimensions shortened to their ends, long
 * rows broken; powers of ten where fixed digits would say little. Booleans are JavaScript's words.
 */
export function formatValues(values: HostArray, shape: Shape, dtype: DType): string {
  if (values.length === 0) return shape.length === 0 ? "" : "[]";
  const shorten = values.length > THRESHOLD;
  const shown = shownIndices(shape, shorten).map((index) => values[index] as number);
  const write = writer(shown, dtype);
  const render = (axis: number, offset: number): string => {
    if (axis === shape.length) return write(values[offset] as number);
    const step = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    const rows = positions(shape[axis] as number, shorten).map((index) =>
      index === undefined ? "..." : render(axis + 1, offset + index * step),
    );
    const below = shape.length - axis - 1;
    const inner = below === 0 ? wrap(rows, axis) : rows.join(`,${"\n".repeat(below)}${" ".repeat(axis + 1)}`);
    return `[${inner}]`;
  };
  return render(0, 0);
}

/** The entries of a row behind `axis` brackets, on as many lines as they need. */
function wrap(entries: readonly string[], axis: number): string {
  const indent = " ".repeat(axis + 1);
  const room = LINE - MARGIN - axis - 1;
  const lines: string[] = [];
  let line = indent;
  entries.forEach((entry, index) => {
    if (line.length + entry.length > room && line !== indent) {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += index === entries.length - 1 ? entry : `${entry}, `;
  });
  return [...lines, line].join("\n").slice(indent.length);
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

type Writer = (value: number) => string;

function writer(shown: readonly number[], dtype: DType): Writer {
  const write =
    dtype === "bool" ? (value: number) => (value !== 0 ? "true" : "false") : numbers(shown, dtype);
  const width = greatest(shown.map((value) => write(value).length));
  return (value) => write(value).padStart(width);
}

function numbers(shown: readonly number[], dtype: DType): Writer {
  const float = FLOATS[dtype];
  if (float === undefined) return String;
  const finite = shown.filter(Number.isFinite);
  const write = isWide(finite, float) ? powers(finite, float) : fixed(finite, float);
  return (value) => {
    if (Number.isFinite(value)) return write(value);
    return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  };
}

/** What printing needs to know of a float dtype. */
interface FloatFacts {
  /** Decimal digits that tell all its values apart; 0 where JavaScript finds the fewest by itself. */
  readonly distinct: number;
  /** From here on numbers are written with powers of ten: the dtype does not keep more digits than that, or 8. */
  readonly large: number;
  readonly round: (value: number) => number;
}

const FLOATS: Readonly<Partial<Record<DType, FloatFacts>>> = {
  f64: { distinct: 0, large: 1e8, round: (value) => value },
  f32: { distinct: 9, large: 1e6, round: Math.fround },
  f16: { distinct: 5, large: 1e3, round: (value) => fromHalfBits(toHalfBits(value)) },
  bf16: { distinct: 4, large: 1e2, round: (value) => fromBfloatBits(toBfloatBits(value)) },
};

/** Whether values are too large, too small or too far apart for a fixed number of digits. */
function isWide(finite: readonly number[], { large, round }: FloatFacts): boolean {
  const sizes = finite.map(Math.abs).filter((size) => size > 0);
  if (sizes.length === 0) return false;
  const most = greatest(sizes);
  const least = sizes.reduce((a, b) => Math.min(a, b));
  return most >= large || least < round(1e-4) || round(most / least) > 1000;
}

/** A number in digits: `-1.5`, `10. `; all have as many places behind the point. */
function fixed(finite: readonly number[], float: FloatFacts): Writer {
  const text = (value: number): string => {
    const size = Math.abs(value);
    const [whole, fraction = ""] = String(shortest(size, float)).split(".");
    if (fraction.length <= PRECISION) return `${signOf(value)}${whole}.${fraction}`;
    return signOf(value) + trimZeros(halfEven((digits) => size.toFixed(digits)));
  };
  const most = greatest(finite.map((value) => places(text(value))));
  return (value) => {
    const written = text(value);
    return written + " ".repeat(most - places(written));
  };
}

/** A number with a power of ten: `-1.50e+20`; all have as many digits, and as many in the exponent. */
function powers(finite: readonly number[], float: FloatFacts): Writer {
  const needed = finite.map((value) => {
    const [mantissa = ""] = shortest(Math.abs(value), float).toExponential().split("e");
    if (mantissa.length <= PRECISION + 2) return Math.max(0, mantissa.length - 2);
    const [cut = ""] = halfEven((digits) => Math.abs(value).toExponential(digits)).split("e");
    return trimZeros(cut).length - 2;
  });
  const count = greatest(needed);
  const parts = (value: number): readonly [mantissa: string, sign: string, exponent: string] => {
    const [mantissa = "", exponent = ""] = halfEven(
      (digits) => Math.abs(value).toExponential(digits),
      count,
    ).split("e");
    const pointed = count === 0 ? `${mantissa}.` : mantissa;
    return [signOf(value) + pointed, exponent.slice(0, 1), exponent.slice(1)];
  };
  const longest = Math.max(2, greatest(finite.map((value) => parts(value)[2].length)));
  return (value) => {
    const [mantissa, sign, exponent] = parts(value);
    return `${mantissa}e${sign}${exponent.padStart(longest, "0")}`;
  };
}

/** The greatest, or 0. Ends of many dimensions are more numbers than a call takes arguments. */
function greatest(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), 0);
}

function signOf(value: number): string {
  return value < 0 || Object.is(value, -0) ? "-" : "";
}

/** Characters from the point on. */
function places(written: string): number {
  return written.length - written.indexOf(".");
}

function trimZeros(written: string): string {
  return written.replace(/0+$/, "");
}

/** The number of fewest digits that the dtype rounds to `size`. */
function shortest(size: number, { distinct, round }: FloatFacts): number {
  for (let places = 0; places < distinct; places++) {
    const short = Number(halfEven((digits) => size.toExponential(digits), places));
    if (round(short) === size) return short;
  }
  return size;
}

/** A number to so many places. JavaScript rounds a half away from zero, NumPy to the even digit. */
function halfEven(write: (places: number) => string, count = PRECISION): string {
  const rounded = write(count);
  // A double that is this near a half is one.
  const exact = write(count + 40);
  const point = exact.indexOf(".") + 1;
  const [rest = ""] = exact.slice(point + count).split("e");
  if (!/^50*$/.test(rest)) return rounded;
  const [mantissa = "", exponent] = rounded.split("e");
  const last = Number(mantissa.at(-1));
  const even = last % 2 === 0 ? mantissa : mantissa.slice(0, -1) + String(last - 1);
  return exponent === undefined ? even : `${even}e${exponent}`;
}
