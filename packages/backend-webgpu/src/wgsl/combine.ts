import type { ComputeDType, ReduceKind } from "@nf/core";
import { VALUE_TYPE } from "./access.ts";

/** How values of one output are combined, as WGSL of the prelude's types. */
export interface Combination {
  /** Type of a value. */
  readonly type: string;
  /** What changes no value that it is combined with. */
  readonly start: string;
  /** Two values combined. */
  combine(a: string, b: string): string;
  /** Whether it is a sum that rounds, so that terms must not be added one after the other without end. */
  readonly rounds: boolean;
}

const LEAST: Readonly<Record<ComputeDType, string>> = {
  f32: "(-inf())",
  f64: "(-inf())",
  i32: "I(-2147483648)",
  u32: "U(0u)",
  bool: "B(false)",
};
const GREATEST: Readonly<Record<ComputeDType, string>> = {
  f32: "inf()",
  f64: "inf()",
  i32: "I(2147483647)",
  u32: "U(4294967295u)",
  bool: "B(true)",
};

/** The combination of a kind for values of a dtype. Sums and maxima of bools are "or", products and minima "and". */
export function combinationOf(kind: ReduceKind, dtype: ComputeDType): Combination {
  const type = VALUE_TYPE[dtype];
  const floats = dtype === "f32" || dtype === "f64";
  if (dtype === "bool") {
    const or = kind === "any" || kind === "sum" || kind === "max";
    return {
      type,
      start: `B(${!or})`,
      combine: (a, b) => `(${a} ${or ? "|" : "&"} ${b})`,
      rounds: false,
    };
  }
  switch (kind) {
    case "sum":
      return { type, start: `${type}(0)`, combine: (a, b) => `(${a} + ${b})`, rounds: floats };
    case "prod":
      return { type, start: `${type}(1)`, combine: (a, b) => `(${a} * ${b})`, rounds: false };
    case "max":
      return {
        type,
        start: LEAST[dtype],
        combine: (a, b) => (floats ? `maxNan(${a}, ${b})` : `max(${a}, ${b})`),
        rounds: false,
      };
    case "min":
      return {
        type,
        start: GREATEST[dtype],
        combine: (a, b) => (floats ? `minNan(${a}, ${b})` : `min(${a}, ${b})`),
        rounds: false,
      };
    default:
      throw new Error(`${kind} is for bools, not for ${dtype}`);
  }
}
