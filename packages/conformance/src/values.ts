import {
  DTYPES,
  type DType,
  fromBfloatBits,
  fromHalfBits,
  isFloat,
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
  return Array.from({ length }, () => {
    for (let tries = 0; tries < 100; tries++) {
      // Half of the numbers lie on a grid, where ties and exact results come up; the others use every digit of f32.
      const cell = source.between(0, cells);
      const x = low + (cell < cells && source.chance(2) ? cell + source.bits() / 2 ** 32 : cell) / GRID;
      if (free(x)) return x;
    }
    throw new RangeError(`no value between ${low} and ${high} is clear of the joints ${joints.join()}`);
  });
}

function integers(length: number, dtype: DType, domain: Domain, source: Source): number[] {
  const [least] = DTYPES[dtype].range as readonly [number, number];
  const [low, high] = domain.integers ?? [-6, 6];
  const from = Math.max(low, least);
  if (domain.distinct !== true) return Array.from({ length }, () => source.between(from, high));
  const span = Math.max(high - from + 1, length);
  return source.shuffle(Array.from({ length: span }, (_, i) => from + i)).slice(0, length);
}

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
