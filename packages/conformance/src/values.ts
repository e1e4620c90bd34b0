import {
  DTYPE_NAMES,
  DTYPES,
  type DType,
  fromBfloatBits,
  fromHalfBits,
  isFloat,
  isInteger,
  toBfloatBits,
  toHalfBits,
} from "@nf/core";
import type { Domain, Operand } from "./model.ts";
import { count } from "./reference/nd.ts";
import type { Source } from "./source.ts";

const GRID = 64;
const CLEARANCE = 1 / 16;

/** The nearest number that a dtype holds. Integers wrap around. */
export function roundTo(dtype: DType, value: number): number {
  switch (dtype) {
    case "f64":
      return value;
    case "f32":
      return Math.fround(value);
    case "f16":
      return fromHalfBits(toHalfBits(value));
    case "bf16":
      return fromBfloatBits(toBfloatBits(value));
    case "bool":
      return value !== 0 ? 1 : 0;
    case "i32":
      return value | 0;
    case "u32":
      return value >>> 0;
    case "i8":
      return (value << 24) >> 24;
    case "u8":
      return value & 255;
  }
}

function floats(length: number, domain: Domain, source: Source): number[] {
  const { low = -2, high = 2, joints = [], distinct = false } = domain;
  const free = (x: number): boolean => joints.every((joint) => Math.abs(x - joint) >= CLEARANCE);
  if (distinct) {
    const steps = Math.max(GRID * (high - low), 2 * length);
    const grid = Array.from({ length: steps }, (_, i) => low + ((i + 0.5) / steps) * (high - low)).filter(
      free,
    );
    return source.shuffle(grid).slice(0, length);
  }
  const cells = Math.floor((high - low) * GRID);
  const zeros = low <= 0 && high >= 0 && free(0);
  return Array.from({ length }, () => {
    // Both zeros come up, also where they are rare.
    if (zeros && source.chance(24)) return source.chance(2) ? 0 : -0;
    for (let tries = 0; tries < 100; tries++) {
      // Half of the numbers lie on a grid, where ties and exact results come up; the others use every digit of f32.
      const cell = source.between(0, cells);
      const x = low + (cell < cells && source.chance(2) ? cell + source.bits() / 2 ** 32 : cell) / GRID;
      if (free(x)) return x;
    }
    throw new RangeError(`no value between ${low} and ${high} is clear of the joints ${joints.join()}`);
  });
}

/** Past this f32 has no place for every whole number: through f32, 2^24 + 1 is 2^24. */
const F32_WHOLE = 2 ** 24;
const SMALL: readonly [number, number] = [-6, 6];

type Range = readonly [least: number, greatest: number];

/** The part of a range that a dtype holds. */
const within = ([low, high]: Range, [least, greatest]: Range): Range => [
  Math.max(low, least),
  Math.min(high, greatest),
];

/**
 * Values where integers go wrong: the limits, their neighbours, where f32 rounds, and what is negative, or has an empty
 * last byte, when it is read as another integer.
 */
function corners([least, greatest]: Range): readonly number[] {
  const around = [F32_WHOLE - 1, F32_WHOLE, F32_WHOLE + 1, -F32_WHOLE - 1, -F32_WHOLE];
  const limits = [least, least + 1, greatest - 1, greatest, 2 ** 31 - 1, 2 ** 31, -1, 0, 1];
  return [...new Set([...limits, ...around])].filter((value) => value >= least && value <= greatest);
}

/** How the values of one operand are drawn. */
function integerDraw(dtype: DType, { integers: bounds }: Domain, source: Source): () => number {
  const range = DTYPES[dtype].range as Range;
  const special = corners(range);
  if (bounds === "corners") {
    let next = 0;
    return () => special[next++ % special.length]!;
  }
  if (bounds === "close") return () => (source.chance(4) ? 0 : source.pick(special));
  if (bounds !== undefined) {
    const [low, high] = within(bounds, range);
    return () => source.between(low, high);
  }
  const small = (): number => source.between(...within(SMALL, range));
  // A quarter of the operands are small, where ties and zeros come up; a quarter lie where f32 begins to round.
  const kind = source.below(4);
  if (kind === 0) return small;
  if (kind === 1 && range[1] > F32_WHOLE) {
    const side = (): number => (range[0] < 0 && source.chance(2) ? -1 : 1);
    return () => (source.chance(4) ? small() : side() * (F32_WHOLE + source.between(-9, 9)));
  }
  return () => [small, () => source.pick(special), () => source.between(...range)][source.below(3)]!();
}

function integers(length: number, dtype: DType, domain: Domain, source: Source): number[] {
  const draw = integerDraw(dtype, domain, source);
  if (domain.distinct === true) return distinctIntegers(length, DTYPES[dtype].range as Range, draw, source);
  const odd = domain.odd === true && source.chance(2);
  return Array.from({ length }, () => {
    const value = draw();
    return odd || (domain.nonzero === true && value === 0) ? value | 1 : value;
  });
}

/** As long as a dtype has enough of them, all differ. */
function distinctIntegers(
  length: number,
  [least, greatest]: Range,
  draw: () => number,
  source: Source,
): number[] {
  const found = new Set<number>();
  const wanted = Math.min(length, greatest - least + 1);
  for (let tries = 0; found.size < wanted && tries < 4 * wanted; tries++) found.add(draw());
  // What the draws left out, from anywhere in the range.
  for (
    let next = source.between(least, greatest);
    found.size < wanted;
    next = next < greatest ? next + 1 : least
  )
    found.add(next);
  const values = [...found];
  return source.shuffle(Array.from({ length }, (_, i) => values[i % values.length]!));
}

/** How many corners the dtype with the most has. */
export const CORNERS: number = Math.max(
  ...DTYPE_NAMES.filter(isInteger).map((dtype) => corners(DTYPES[dtype].range as Range).length),
);

/** Values for an operand, as its dtype holds them. */
export function valuesFor(operand: Operand, tested: DType, source: Source): readonly number[] {
  const dtype = operand.dtype ?? tested;
  const length = count(operand.shape);
  const raw =
    operand.values !== undefined
      ? operand.values(source)
      : dtype === "bool"
        ? Array.from({ length }, () => source.below(2))
        : isFloat(dtype)
          ? floats(length, operand.domain ?? {}, source)
          : integers(length, dtype, operand.domain ?? {}, source);
  return raw.map((value) => roundTo(dtype, value));
}
