import * as nf from "@nf/core";
import { type DType, isFloat, type Tensor } from "@nf/core";
import fc from "fast-check";
import type { Domain, Instance, Row } from "../model.ts";
import { asReal, multiplyIn } from "../reference/integers.ts";
import * as reference from "../reference/nd.ts";
import { CORNERS } from "../values.ts";
import {
  always,
  between,
  broadcastable,
  cornersOf,
  data,
  INTEGERS,
  NUMBERS,
  row,
  SHAPE_PAIRS,
  shapesText,
} from "./define.ts";

const FAMILY = "binary";

/** What PyTorch computes a dtype in that meets an integer, or no entry where the integer's own has it all. */
const COMMON: Readonly<Record<"i32" | "u8" | "bool", Readonly<Partial<Record<DType, DType>>>>> = {
  i32: { i8: "i32", u8: "i32" },
  u8: { i8: "i32" },
  bool: {},
};

/** An operation of two dtypes: both become the common one first, integers an f32 beside a 16-bit float. */
function mixedRow(
  op: "add" | "less",
  call: (a: Tensor, b: Tensor) => Tensor,
  other: keyof typeof COMMON,
  dtypes: readonly DType[],
): Row {
  const common = (dtype: DType): DType => COMMON[other][dtype] ?? dtype;
  const taken = (dtype: DType, value: number): number =>
    isFloat(dtype) && dtype !== "f64" ? asReal(other, value) : value;
  const f = op === "add" ? (a: number, b: number) => a + b : (a: number, b: number) => (a < b ? 1 : 0);
  const instance = (a: readonly number[], b: readonly number[], domain: Domain = {}): Instance => ({
    label: shapesText(a, b),
    operands: [data(a, domain), { ...data(b, domain), dtype: other }],
    run: ([x, y]) => call(x!, y!),
    reference: ([x, y], dtype) => reference.map((one, two) => f(one, taken(dtype, two)), x!, y!),
  });
  return row(FAMILY, {
    op,
    variant: `beside ${other}`,
    dtypes,
    result: op === "add" ? common : always("bool"),
    order: 0,
    tolerance: op === "add" ? "summed" : "exact",
    instances: [
      ...SHAPE_PAIRS.map(([a, b]) => instance(a, b)),
      instance([CORNERS, 1], [CORNERS], cornersOf()),
    ],
    arbitrary: broadcastable(2).map(([a, b]) => instance(a!, b!)),
  });
}

/** More integers than kernels take at once, added, multiplied and compared. */
function longRow(): Row {
  const instance = (a: readonly number[], b: readonly number[]): Instance => ({
    label: shapesText(a, b),
    operands: [data(a), data(b)],
    run: ([x, y]) => [nf.add(x!, y!), nf.mul(x!, y!), nf.less(x!, y!)],
    reference: ([x, y], dtype) => [
      reference.map((one, two) => one + two, x!, y!),
      reference.map(multiplyIn(dtype), x!, y!),
      reference.map((one, two) => (one < two ? 1 : 0), x!, y!),
    ],
  });
  return row(FAMILY, {
    op: "add",
    variant: "of integers beyond a block",
    also: ["mul", "less"],
    dtypes: INTEGERS,
    result: (dtype, output) => (output === 2 ? "bool" : dtype),
    order: 0,
    tolerance: "exact",
    instances: [instance([2051], [2051]), instance([33, 67], [67]), instance([35, 1], [35, 65])],
    arbitrary: fc
      .tuple(between(1, 40), between(1, 40))
      .map(([rows, columns]) => instance([rows, columns], [columns])),
  });
}

/** Integers beside other dtypes, and many of them. */
export function integerRows(): readonly Row[] {
  const with32 = NUMBERS.filter((dtype) => dtype !== "u32" && dtype !== "i32");
  const with8 = NUMBERS.filter((dtype) => dtype !== "u8");
  return [
    mixedRow("add", nf.add, "i32", with32),
    mixedRow("less", nf.less, "i32", with32),
    mixedRow("add", nf.add, "u8", with8),
    mixedRow("less", nf.less, "u8", with8),
    mixedRow("add", nf.add, "bool", NUMBERS),
    longRow(),
  ];
}
