import type { BinaryFunction, DType, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import type { Domain, Edge, Instance, Row } from "../model.ts";
import { asReal, multiplyIn } from "../reference/integers.ts";
import * as reference from "../reference/nd.ts";
import { maximum, minimum, power, remainder } from "../reference/special.ts";
import { CORNERS } from "../values.ts";
import {
  ALL,
  always,
  between,
  broadcastable,
  cornersOf,
  data,
  edge,
  FLOATS,
  INTEGERS,
  NUMBERS,
  row,
  SHAPE_PAIRS,
  shapes,
  shapesText,
  toFloat,
} from "./define.ts";
import { rangeOfBinary } from "./ranges.ts";

const FAMILY = "binary";

interface BinarySpec {
  readonly domains?: readonly [Domain, Domain];
  readonly dtypes?: readonly DType[];
  readonly result?: Row["result"];
  readonly order?: Row["order"];
  readonly tolerance?: Row["tolerance"];
  readonly variant?: string;
  /** Points: operands, value, and gradients where they are a convention. */
  readonly points?: readonly (readonly [
    a: number,
    b: number,
    y: number,
    gradients?: readonly [number, number],
  ])[];
  /** Numbers that stand for the second operand; none where they make no sense. */
  readonly numbers?: readonly number[];
}

/** A number beside a tensor of some dtype. */
interface NumberOperand {
  readonly label: string;
  readonly of: (dtype: DType) => number;
}

const rangeOf = (dtype: DType): readonly [number, number] | undefined =>
  nf.isInteger(dtype) ? nf.DTYPES[dtype].range : undefined;
/** Numbers at the limits of integers, one of which f32 does not hold; any number where there are no limits. */
const LIMITS: readonly NumberOperand[] = [
  { label: "the least", of: (dtype) => rangeOf(dtype)?.[0] ?? 4 },
  { label: "the greatest but one", of: (dtype) => (rangeOf(dtype)?.[1] ?? 6) - 1 },
];

function binaryRow(
  op: string,
  call: BinaryFunction,
  f: (a: number, b: number, dtype: DType) => number,
  spec: BinarySpec = {},
): Row {
  const run = ([a, b]: readonly Tensor[]): Tensor => call(a!, b!);
  const [first, second] = spec.domains ?? [{}, {}];
  const pair = (
    a: readonly number[],
    b: readonly number[],
    from = (domain: Domain): Domain => domain,
  ): Instance => ({
    label: shapesText(a, b),
    operands: [data(a, from(first)), data(b, from(second))],
    run,
    reference: ([x, y], dtype) => reference.map((one, other) => f(one, other, dtype), x!, y!),
  });
  const withNumber = (shape: readonly number[], { label, of }: NumberOperand): Instance => ({
    label: `${shapesText(shape)} with ${label}`,
    operands: [data(shape, first)],
    run: ([a], dtype) => call(a!, of(dtype)),
    reference: ([x], dtype) => reference.map((a) => f(a, of(dtype), dtype), x!),
  });
  const numberFirst = (shape: readonly number[], { label, of }: NumberOperand): Instance => ({
    label: `${label} with ${shapesText(shape)}`,
    operands: [data(shape, second)],
    run: ([b], dtype) => call(of(dtype), b!),
    reference: ([y], dtype) => reference.map((b) => f(of(dtype), b, dtype), y!),
  });
  const { points = [], numbers: plain = [2, 3], domains: _, ...rest } = spec;
  const whole = (rest.dtypes ?? []).some((dtype) => INTEGERS.includes(dtype));
  const numbers = [
    ...plain.map((number): NumberOperand => ({ label: `${number}`, of: () => number })),
    ...(whole && plain.length > 0 ? LIMITS : []),
  ];
  const edges: Edge[] = [];
  if (points.length > 0) {
    const grads = points.some(([, , , gradients]) => gradients !== undefined);
    const column = (i: 0 | 1): number[] => points.map(([, , , gradients]) => gradients?.[i] ?? NaN);
    edges.push(
      edge(
        "joints",
        run,
        [points.map(([a]) => a), points.map(([, b]) => b)],
        points.map(([, , y]) => y),
        { only: ["f32", "f64"], ...(grads && { grads: [column(0), column(1)] }) },
      ),
    );
  }
  const range = rangeOfBinary(op);
  const overRange: Instance = {
    ...pair([range.length], [range.length]),
    label: "over its range",
    operands: [0, 1].map((side) => ({ shape: [range.length], values: () => range.map((one) => one[side]!) })),
  };
  const numbered = numbers.flatMap((number) => [withNumber([3, 2], number), numberFirst([4], number)]);
  return row(FAMILY, {
    op,
    instances: [
      ...SHAPE_PAIRS.map(([a, b]) => pair(a, b)),
      ...(whole ? [pair([CORNERS, 1], [CORNERS], cornersOf)] : []),
      ...(range.length > 0 ? [overRange] : []),
      ...numbered,
    ],
    arbitrary: broadcastable(2).map(([a, b]) => pair(a!, b!)),
    edges,
    ...rest,
  });
}

const NAN = NaN;
const INF = Infinity;
const truth = (condition: boolean): number => (condition ? 1 : 0);
/** Two ties, an order either way, and NaN. */
const pairs = (f: (a: number, b: number) => boolean): BinarySpec["points"] => [
  [1, 1, truth(f(1, 1))],
  [0, -0, truth(f(0, -0))],
  [1, 2, truth(f(1, 2))],
  [2, 1, truth(f(2, 1))],
  [NAN, 1, truth(f(NAN, 1))],
  [1, NAN, truth(f(1, NAN))],
  [NAN, NAN, truth(f(NAN, NAN))],
  [INF, INF, truth(f(INF, INF))],
  [-INF, INF, truth(f(-INF, INF))],
];
/** Fixed values make ties common. */
const few: Domain = { low: -0.03125, high: 0.03125, integers: "close" };

function comparison(op: string, call: BinaryFunction, f: (a: number, b: number) => boolean): Row {
  return binaryRow(op, call, (a, b) => truth(f(a, b)), {
    dtypes: ALL,
    result: always("bool"),
    order: 0,
    tolerance: "exact",
    domains: [few, few],
    points: pairs(f) ?? [],
    numbers: [0, 1],
  });
}

function bits(op: string, call: BinaryFunction, f: (a: number, b: number) => number): readonly Row[] {
  const common = { order: 0, tolerance: "exact", numbers: [] } as const;
  return [
    binaryRow(op, call, f, { ...common, dtypes: ["i32", "i8", "bool"] }),
    binaryRow(op, call, (a, b) => f(a, b) >>> 0, { ...common, dtypes: ["u32", "u8"], variant: "unsigned" }),
  ];
}

/** The instance of one number as an exponent that changes between calls: nothing may be kept from the first one. */
function changingNumbers(): Row {
  const instance = (shape: readonly number[], numbers: readonly number[]): Instance => ({
    label: `${shapesText(shape)} times ${numbers.join(", ")}`,
    operands: [data(shape)],
    run: ([x]) => numbers.map((number) => nf.mul(x!, number)),
    reference: ([x]) => numbers.map((number) => reference.map((value) => value * number, x!)),
  });
  return row(FAMILY, {
    op: "mul",
    variant: "by numbers that change",
    instances: [instance([3], [2, 3, 0.5, -1]), instance([2, 2], [1, 0])],
    arbitrary: shapes(0, 2).chain((shape) => between(1, 8).map((n) => instance(shape, [n / 2, n / 4, -n]))),
  });
}

/** Elementwise operations of two operands: broadcasting, numbers as operands, ties, NaN. */
export function binaryRows(): readonly Row[] {
  const divisor: Domain = { low: 0.25, high: 4 };
  const between1: Domain = { low: 0.40625, high: 0.59375, nonzero: true };
  const steps: Domain = { low: 0.0625, high: 0.375 };
  const shift: Domain = { integers: [0, 31] };
  const difference = (a: number, b: number, dtype: DType): number => multiplyIn(dtype)(a - b, a - b);
  return [
    binaryRow("add", nf.add, (a, b) => a + b, { dtypes: NUMBERS }),
    binaryRow("sub", nf.sub, (a, b) => a - b, { dtypes: NUMBERS }),
    binaryRow("mul", nf.mul, (a, b, dtype) => multiplyIn(dtype)(a, b), { dtypes: NUMBERS }),
    changingNumbers(),
    binaryRow("div", nf.div, (a, b, dtype) => asReal(dtype, a) / asReal(dtype, b), {
      dtypes: NUMBERS,
      result: toFloat,
      domains: [{}, divisor],
      points: [
        [1, 0, INF],
        [-1, 0, -INF],
        [0, 0, NAN],
        [1, INF, 0],
        [NAN, 1, NAN],
      ],
    }),
    binaryRow("pow", nf.pow, power, {
      // As in PyTorch, the gradient of the base is a plain 0 where the exponent is 0, and so is its derivative.
      domains: [{ low: 0.5, high: 2 }, { joints: [0] }],
      points: [
        [2, 0, 1],
        [0, 2, 0],
        [0, 0, 1],
        [-2, 3, -8],
        [-2, 0.5, NAN],
        [1, NAN, 1],
        [NAN, 0, 1],
        [0, -1, INF],
        [INF, -1, 0],
      ],
    }),
    binaryRow("pow", nf.pow, (a, b, dtype) => power(asReal(dtype, a), asReal(dtype, b)), {
      dtypes: INTEGERS,
      result: toFloat,
      variant: "of integers",
      domains: [{}, { integers: [-3, 5] }],
    }),
    binaryRow("maximum", nf.maximum, maximum, {
      dtypes: NUMBERS,
      tolerance: "exact",
      domains: [
        { low: -2, high: -0.0625 },
        { low: 0.0625, high: 2 },
      ],
      points: [
        [1, 1, 1, [0.5, 0.5]],
        [1, 2, 2, [0, 1]],
        [2, 1, 2, [1, 0]],
        [-INF, 0, 0, [0, 1]],
      ],
    }),
    binaryRow("maximum", nf.maximum, maximum, {
      dtypes: FLOATS,
      order: 0,
      tolerance: "exact",
      variant: "NaN",
      numbers: [],
      points: [
        [NAN, 1, NAN],
        [1, NAN, NAN],
        [NAN, NAN, NAN],
        [INF, NAN, NAN],
      ],
    }),
    binaryRow("minimum", nf.minimum, minimum, {
      dtypes: NUMBERS,
      tolerance: "exact",
      domains: [
        { low: -2, high: -0.0625 },
        { low: 0.0625, high: 2 },
      ],
      points: [
        [1, 1, 1, [0.5, 0.5]],
        [1, 2, 1, [1, 0]],
        [2, 1, 1, [0, 1]],
      ],
    }),
    binaryRow("minimum", nf.minimum, minimum, {
      dtypes: FLOATS,
      order: 0,
      tolerance: "exact",
      variant: "NaN",
      numbers: [],
      points: [
        [NAN, 1, NAN],
        [1, NAN, NAN],
        [-INF, NAN, NAN],
      ],
    }),
    binaryRow("atan2", nf.atan2, Math.atan2, {
      domains: [{ joints: [0] }, { joints: [0] }],
      points: [
        [0, -1, Math.PI],
        [1, 0, Math.PI / 2],
        [0, 1, 0],
        [INF, INF, Math.PI / 4],
      ],
    }),
    binaryRow("atan2", nf.atan2, (a, b, dtype) => Math.atan2(asReal(dtype, a), asReal(dtype, b)), {
      dtypes: INTEGERS,
      result: toFloat,
      variant: "of integers",
    }),
    binaryRow("remainder", nf.remainder, remainder, {
      dtypes: NUMBERS,
      domains: [steps, between1],
      order: 1,
      numbers: [],
      points: [
        [-1, 3, 2],
        [1, -3, -2],
        [5, 3, 2],
        [-5, -3, -2],
        [1, 0, NAN],
        [INF, 1, NAN],
        [3, INF, 3],
      ],
    }),
    binaryRow("remainder", nf.remainder, remainder, {
      dtypes: ["i32", "f32"],
      order: 0,
      variant: "of whole numbers",
      domains: [
        { low: -4, high: 4, integers: [-9, 9] },
        { low: 1, high: 3, integers: [1, 7] },
      ],
      numbers: [5, -7],
    }),
    binaryRow("remainder", nf.remainder, remainder, {
      dtypes: ["i32", "i8"],
      order: 0,
      variant: "of either sign",
      domains: [{ integers: [-9, 9] }, { integers: [-7, -1] }],
      numbers: [],
    }),
    binaryRow("floorDivide", nf.floorDivide, (a, b) => Math.floor(a / b), {
      dtypes: NUMBERS,
      domains: [steps, between1],
      order: 1,
      numbers: [],
      tolerance: "exact",
      points: [
        [-1, 3, -1],
        [1, -3, -1],
        [7, 2, 3],
        [-7, 2, -4],
        [1, 0, INF],
      ],
    }),
    binaryRow("floorDivide", nf.floorDivide, (a, b) => Math.floor(a / b), {
      dtypes: ["i32", "i8"],
      order: 0,
      variant: "of either sign",
      domains: [{ integers: [-9, 9] }, { integers: [-7, -1] }],
      numbers: [],
    }),
    binaryRow("squaredDifference", nf.squaredDifference, difference, { dtypes: NUMBERS }),
    comparison("equal", nf.equal, (a, b) => a === b),
    comparison("notEqual", nf.notEqual, (a, b) => a !== b),
    comparison("less", nf.less, (a, b) => a < b),
    comparison("lessEqual", nf.lessEqual, (a, b) => a <= b),
    comparison("greater", nf.greater, (a, b) => a > b),
    comparison("greaterEqual", nf.greaterEqual, (a, b) => a >= b),
    comparison("logicalAnd", nf.logicalAnd, (a, b) => a !== 0 && b !== 0),
    comparison("logicalOr", nf.logicalOr, (a, b) => a !== 0 || b !== 0),
    comparison("logicalXor", nf.logicalXor, (a, b) => (a !== 0) !== (b !== 0)),
    ...bits("bitwiseAnd", nf.bitwiseAnd, (a, b) => a & b),
    ...bits("bitwiseOr", nf.bitwiseOr, (a, b) => a | b),
    ...bits("bitwiseXor", nf.bitwiseXor, (a, b) => a ^ b),
    binaryRow("leftShift", nf.leftShift, (a, b) => a << b, {
      dtypes: INTEGERS,
      order: 0,
      tolerance: "exact",
      domains: [{}, shift],
      numbers: [],
    }),
    binaryRow("rightShift", nf.rightShift, (a, b) => a >> b, {
      dtypes: ["i32", "i8"],
      order: 0,
      tolerance: "exact",
      domains: [{}, shift],
      numbers: [],
    }),
    binaryRow("rightShift", nf.rightShift, (a, b) => a >>> b, {
      dtypes: ["u32", "u8"],
      order: 0,
      tolerance: "exact",
      variant: "unsigned",
      domains: [{}, shift],
      numbers: [],
    }),
  ].map(withoutFloats);
}

/** Rows of integers have no derivatives, whatever their order says. */
function withoutFloats(one: Row): Row {
  return one.dtypes.every((dtype) => INTEGERS.includes(dtype) || dtype === "bool")
    ? { ...one, order: 0 }
    : one;
}
