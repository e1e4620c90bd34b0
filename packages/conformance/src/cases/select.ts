import * as nf from "@nf/core";
import { DTYPE_NAMES, DTYPES, type DType, isFloat } from "@nf/core";
import fc from "fast-check";
import type { Domain, Instance, Row } from "../model.ts";
import { asReal } from "../reference/integers.ts";
import * as reference from "../reference/nd.ts";
import { maximum, minimum } from "../reference/special.ts";
import { CORNERS, roundTo } from "../values.ts";
import {
  ALL,
  always,
  broadcastable,
  cornersOf,
  data,
  each,
  edge,
  mask,
  NUMBERS,
  optionsText,
  row,
  SHAPES,
  shapes,
  shapesText,
} from "./define.ts";

const FAMILY = "select";

function where(): Row {
  const instance = ([condition, a, b]: readonly (readonly number[])[]): Instance => ({
    label: shapesText(condition!, a!, b!),
    operands: [mask(condition!), data(a!), data(b!)],
    run: ([c, x, y]) => nf.where(c!, x!, y!),
    reference: ([c, x, y]) => reference.map((test, left, right) => (test !== 0 ? left : right), c!, x!, y!),
  });
  const fixed = [
    [
      [3, 4],
      [3, 4],
      [3, 4],
    ],
    [[4], [3, 1], [1, 4]],
    [[], [2], []],
    [[3, 1], [], []],
    [[0], [1], [0]],
    [
      [2, 1, 3, 1, 2],
      [1, 2],
      [3, 1, 2],
    ],
  ];
  return row(FAMILY, {
    op: "where",
    dtypes: ALL,
    tolerance: "exact",
    instances: each(fixed, instance),
    arbitrary: broadcastable(3).map(instance),
    edges: [
      edge(
        "the branch not taken has no say",
        ([c, x, y]) => nf.where(c!, x!, y!),
        [
          [1, 0, 1],
          [1, NaN, Infinity],
          [NaN, 2, NaN],
        ],
        [1, 2, Infinity],
        {
          dtypes: ["bool", undefined, undefined],
          grads: [undefined, [1, 0, 1], [0, 1, 0]],
        },
      ),
    ],
  });
}

/** The greatest integer of a dtype; any number where there is none. */
const greatestOf = (dtype: DType): number => DTYPES[dtype].range?.[1] ?? 9;

function maskedFill(): Row {
  const instance =
    (value: number | "the greatest") =>
    ([x, m]: readonly (readonly number[])[]): Instance => {
      const fill = (dtype: DType): number => (value === "the greatest" ? greatestOf(dtype) : value);
      return {
        label: `${shapesText(x!, m!)} with ${value}`,
        operands: [data(reference.broadcastShape(x!, m!)), mask(m!)],
        run: ([input, where], dtype) => nf.maskedFill(input!, where!, fill(dtype)),
        reference: ([input, where], dtype) =>
          reference.map((left, test) => (test !== 0 ? fill(dtype) : left), input!, where!),
      };
    };
  return row(FAMILY, {
    op: "maskedFill",
    dtypes: NUMBERS,
    tolerance: "exact",
    instances: [
      ...[
        [[2, 3], [3]],
        [[4], [4]],
        [[0], [1]],
        [[], []],
      ].map(instance(7)),
      instance("the greatest")([[5], [5]]),
    ],
    arbitrary: fc
      .tuple(broadcastable(2), fc.integer({ min: 0, max: 9 }))
      .map(([pair, value]) => instance(value)(pair)),
    edges: [
      edge(
        "-Infinity",
        ([x, m]) => nf.maskedFill(x!, m!, -Infinity),
        [
          [1, 2],
          [0, 1],
        ],
        [1, -Infinity],
        { dtypes: [undefined, "bool"], grads: [[1, 0], undefined] },
      ),
    ],
  });
}

function clip(): Row {
  const instance = (shape: readonly number[], options: { min?: number; max?: number }): Instance => ({
    label: shapesText(shape) + optionsText(options),
    operands: [data(shape, { joints: [options.min ?? 9, options.max ?? 9] })],
    run: ([x]) => nf.clip(x!, options),
    reference: ([x]) =>
      reference.map(
        (value) => minimum(maximum(value, options.min ?? -Infinity), options.max ?? Infinity),
        x!,
      ),
  });
  // The last ones lie where f32 rounds, or where no integer of the dtype gets.
  const choices = [
    { min: 0, max: 1 },
    { min: 1 },
    { max: 1 },
    { min: -16777217, max: 16777217 },
    { min: -1e10, max: 3e9 },
  ];
  const run = ([x]: readonly nf.Tensor[]): nf.Tensor => nf.clip(x!, { min: -1, max: 1 });
  return row(FAMILY, {
    op: "clip",
    dtypes: NUMBERS,
    tolerance: "exact",
    instances: [
      ...each(SHAPES, (shape) => instance(shape, choices[0]!)),
      ...each(choices.slice(1), (options) => instance([5], options)),
    ],
    arbitrary: fc
      .tuple(shapes(), fc.constantFrom(...choices))
      .map(([shape, options]) => instance(shape, options)),
    edges: [
      edge(
        "on the bounds the gradient is 0, NaN stays",
        run,
        [[-1, 1, 0.5, 2, -2, NaN]],
        [-1, 1, 0.5, 1, -1, NaN],
        { grads: [[0, 0, 1, 0, 0, 0]], only: ["f32", "f64"] },
      ),
      edge("infinities", run, [[Infinity, -Infinity]], [1, -1]),
    ],
  });
}

/** What a float becomes as an integer: truncated, saturated, NaN gives 0. */
function toInteger(value: number, dtype: DType): number {
  const [low, high] = DTYPES[dtype].range!;
  return Number.isNaN(value) ? 0 : Math.trunc(Math.min(Math.max(value, low), high));
}

function convert(value: number, from: DType, to: DType): number {
  if (to === "bool") return value !== 0 ? 1 : 0;
  if (isFloat(from) && !isFloat(to)) return toInteger(value, to);
  // 16-bit floats are made of f32.
  return roundTo(to, isFloat(to) && to !== "f64" ? asReal(from, value) : value);
}

function castTo(to: DType): Row {
  const instance = (shape: readonly number[], domain?: Domain): Instance => ({
    label: shapesText(shape),
    operands: [data(shape, domain)],
    run: ([x]) => nf.cast(x!, to),
    reference: ([x], from) => reference.map((value) => convert(value, from, to), x!),
  });
  const hard = [
    0,
    -0,
    0.5,
    -0.5,
    1.5,
    -1.5,
    127.9,
    128,
    255.5,
    256,
    -128.9,
    -129,
    65519,
    65520,
    2147483520,
    2147483648,
    -2147483648,
    -2147484000,
    4294967040,
    4294967296,
    1e10,
    -1e10,
    Infinity,
    -Infinity,
    NaN,
  ];
  return row(FAMILY, {
    op: "cast",
    variant: `to ${to}`,
    dtypes: ALL,
    result: always(to),
    // Results that are rounded have no difference quotients; an edge has the gradient.
    order: 0,
    tolerance: "exact",
    instances: [...each(SHAPES, (shape) => instance(shape)), instance([CORNERS], cornersOf())],
    arbitrary: shapes().map((shape) => instance(shape)),
    edges: [
      ...(["f32", "f64"] as const).map((from) => {
        const inputs = hard.map((value) => roundTo(from, value));
        return edge(
          `from ${from}`,
          ([x]) => nf.cast(x!, to),
          [inputs],
          inputs.map((value) => convert(value, from, to)),
          { only: [from] },
        );
      }),
      ...(isFloat(to)
        ? [edge("gradient passes", ([x]) => nf.cast(x!, to), [[1.5, -2]], [1.5, -2], { grads: [[1, 1]] })]
        : []),
    ],
  });
}

/** Selection, limits and conversions. */
export function selectRows(): readonly Row[] {
  return [where(), maskedFill(), clip(), ...DTYPE_NAMES.map(castTo)];
}
