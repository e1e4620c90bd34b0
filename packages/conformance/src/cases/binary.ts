import type { BinaryFunction, DType, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import type { Domain, Edge, Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { maximum, minimum, remainder } from "../reference/special.ts";
import {
  ALL,
  always,
  between,
  broadcastable,
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

const FAMILY = "binary";

interface BinarySpec {
  readonly domains?: readonly [Domain, Domain];
  readonly dtypes?: readonly DType[];
  readonly result?: Row["result"];
  readonly order?: Row["order"];
  readonly tolerance?: Row["tolerance"];
  readonly magnitude?: number;
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

function binaryRow(
  op: string,
  call: BinaryFunction,
  f: (a: number, b: number) => number,
  spec: BinarySpec = {},
): Row {
  const run = ([a, b]: readonly Tensor[]): Tensor => call(a!, b!);
  const [first, second] = spec.domains ?? [{}, {}];
  const pair = (a: readonly number[], b: readonly number[]): Instance => ({
    label: shapesText(a, b),
    operands: [data(a, first), data(b, second)],
    run,
    reference: ([x, y]) => reference.map(f, x!, y!),
  });
  const withNumber = (shape: readonly number[], number: number): Instance => ({
    label: `${shapesText(shape)} with ${number}`,
    operands: [data(shape, first)],
    run: ([a]) => call(a!, number),
    reference: ([x]) => reference.map((a) => f(a, number), x!),
  });
  const numberFirst = (shape: readonly number[], number: number): Instance => ({
    label: `${number} with ${shapesText(shape)}`,
    operands: [data(shape, second)],
    run: ([b]) => call(number, b!),
    reference: ([y]) => reference.map((b) => f(number, b), y!),
  });
  const { points = [], numbers = [2, 3], domains: _, ...rest } = spec;
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
  const numbered = numbers.flatMap((number) => [withNumber([3, 2], number), numberFirst([4], number)]);
  return row(FAMILY, {
    op,
    instances: [...SHAPE_PAIRS.map(([a, b]) => pair(a, b)), ...numbered],
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
const few: Domain = { low: -0.03125, high: 0.03125, integers: [-1, 1] };

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
  const whole: BinarySpec = { dtypes: NUMBERS };
  const divisor: Domain = { low: 0.25, high: 4, integers: [1, 5] };
  const apart: readonly [Domain, Domain] = [
    { low: -3.96875, high: 4, integers: [-6, 6] },
    { low: 0.40625, high: 0.59375, integers: [1, 5] },
  ];
  const steps: Domain = { low: 0.0625, high: 0.375, integers: [0, 6] };
  const floats = (a: number, b: number): number => a / b;
  return [
    binaryRow("add", nf.add, (a, b) => a + b, { ...whole, dtypes: [...FLOATS, "i32", "i8"] }),
    binaryRow("add", nf.add, (a, b) => (a + b) >>> 0, { dtypes: ["u32"], order: 0, variant: "of u32" }),
    binaryRow("sub", nf.sub, (a, b) => a - b, {
      dtypes: [...FLOATS, "i32", "i8"],
      tolerance: "summed",
      magnitude: 4,
    }),
    binaryRow("sub", nf.sub, (a, b) => (a - b) >>> 0, { dtypes: ["u32"], order: 0, variant: "of u32" }),
    binaryRow("mul", nf.mul, (a, b) => a * b, { dtypes: [...FLOATS, "i32", "i8"] }),
    binaryRow("mul", nf.mul, (a, b) => Math.imul(a, b), {
      dtypes: ["i32"],
      order: 0,
      tolerance: "exact",
      variant: "that overflows",
      domains: [{ integers: [40000, 90000] }, { integers: [40000, 90000] }],
    }),
    changingNumbers(),
    binaryRow("div", nf.div, floats, {
      dtypes: NUMBERS,
      result: toFloat,
      domains: [{}, divisor],
      magnitude: 8,
      points: [
        [1, 0, INF],
        [-1, 0, -INF],
        [0, 0, NAN],
        [1, INF, 0],
        [NAN, 1, NAN],
      ],
    }),
    binaryRow("pow", nf.pow, (a, b) => (a === 1 ? 1 : a ** b), {
      // As in PyTorch, the gradient of the base is a plain 0 where the exponent is 0, and so is its derivative.
      domains: [{ low: 0.5, high: 2 }, { joints: [0] }],
      magnitude: 16,
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
      magnitude: 16,
      points: [
        [0, -1, Math.PI],
        [1, 0, Math.PI / 2],
        [0, 1, 0],
        [INF, INF, Math.PI / 4],
      ],
    }),
    binaryRow("remainder", nf.remainder, remainder, {
      dtypes: NUMBERS,
      domains: [steps, apart[1]],
      order: 1,
      numbers: [],
      tolerance: "summed",
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
      tolerance: "summed",
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
      domains: [steps, apart[1]],
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
    binaryRow("squaredDifference", nf.squaredDifference, (a, b) => (a - b) ** 2, {
      dtypes: [...FLOATS, "i32"],
      magnitude: 16,
      tolerance: "summed",
    }),
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
      dtypes: ["i32"],
      order: 0,
      tolerance: "exact",
      domains: [{ integers: [-9, 9] }, { integers: [0, 28] }],
    }),
    binaryRow("rightShift", nf.rightShift, (a, b) => a >> b, {
      dtypes: ["i32", "i8"],
      order: 0,
      tolerance: "exact",
      domains: [{ integers: [-99, 99] }, { integers: [0, 5] }],
    }),
    binaryRow("rightShift", nf.rightShift, (a, b) => a >>> b, {
      dtypes: ["u32", "u8"],
      order: 0,
      tolerance: "exact",
      variant: "unsigned",
      domains: [{ integers: [0, 99] }, { integers: [0, 5] }],
    }),
  ].map(withoutFloats);
}

/** Rows of integers have no derivatives, whatever their order says. */
function withoutFloats(one: Row): Row {
  return one.dtypes.every((dtype) => INTEGERS.includes(dtype) || dtype === "bool")
    ? { ...one, order: 0 }
    : one;
}
