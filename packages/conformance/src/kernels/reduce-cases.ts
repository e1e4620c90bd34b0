import {
  type ComputeDType,
  DTYPES,
  type DType,
  type Expr,
  evaluate,
  isFloat,
  type Program,
  program,
  type ReduceKind,
  scalar as s,
} from "@nf/core";
import type { Tolerance } from "../model.ts";
import { multiplyIn } from "../reference/integers.ts";
import { count, groups, indexAt, lines, type Nd, nd, sum } from "../reference/nd.ts";
import { maximum, minimum } from "../reference/special.ts";
import type { Source } from "../source.ts";
import { axesFor, blank, type Choice, kindBits, wrapped } from "./choices.ts";
import type { KernelCase } from "./run.ts";
import { factors, multiplied, ordered, summed, terms } from "./terms.ts";

/** Before integers are wrapped around: sums of 32-bit ones are exact in float64, and products keep their last 32 bits. */
const COMBINE: Readonly<Record<ReduceKind, (dtype: DType, values: readonly number[]) => number>> = {
  sum: (_dtype, values) => sum(values),
  prod: (dtype, values) => values.reduce(multiplyIn(dtype)),
  max: (_dtype, values) => values.reduce(maximum),
  min: (_dtype, values) => values.reduce(minimum),
  any: (_dtype, values) => (values.some((value) => value !== 0) ? 1 : 0),
  all: (_dtype, values) => (values.every((value) => value !== 0) ? 1 : 0),
};

/** Kinds of reduction that a dtype has. */
export function kindsOf(dtype: DType): readonly ReduceKind[] {
  return dtype === "bool" ? ["any", "all"] : ["sum", "prod", "max", "min"];
}

const identities = new Map<ComputeDType, Program>();
function identity(compute: ComputeDType): Program {
  const known = identities.get(compute);
  if (known !== undefined) return known;
  const made = program("identity", [compute], [], ([x]) => x as Expr);
  identities.set(compute, made);
  return made;
}

/** A reduction of one kind, plain, with a program in front, or of two outputs at once. */
export function reduceCase(
  dtype: DType,
  shape: readonly number[],
  choice: Choice,
  source: Source,
): KernelCase {
  const compute = DTYPES[dtype].compute;
  const axes = axesFor(shape.length, choice);
  const kinds = kindsOf(dtype);
  const kind = kinds[kindBits(choice) % kinds.length]!;
  const form = Math.floor(kindBits(choice) / 4) % 3;
  const two = form === 2 && compute !== "bool";
  const scaled = form === 1 && compute !== "bool";
  const made = two
    ? program("square", [compute, compute], [], ([x, y]) => [s.mul(x as Expr, y as Expr), x as Expr])
    : scaled
      ? program("scale", [compute], [compute], ([x], [by]) => s.mul(x as Expr, by as Expr))
      : identity(compute);
  const params = scaled ? [!isFloat(dtype) ? 5 : kind === "prod" ? 1.02 : 1.7] : [];
  const used: ReduceKind[] = two ? ["sum", kind] : [kind];
  const outShape = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const chosen = used.map((one) => one === "max" || one === "min");
  // A factor of a program rounds once.
  const tolerances = chosen.map(
    (one): Tolerance => (!isFloat(dtype) ? "exact" : !one ? "summed" : scaled ? "rounded" : "exact"),
  );
  const results = (inputs: readonly Nd[]): number[][][] => {
    const points = Array.from({ length: count(shape) }, (_, i) =>
      evaluate(
        made,
        inputs.map(({ data }) => data[i]!),
        params,
        indexAt(shape, i),
      ),
    );
    return used.map(
      (_, k) =>
        groups(
          nd(
            shape,
            points.map((values) => values[k]!),
          ),
          axes,
        ).lists,
    );
  };
  return {
    label: `reduce ${used.join(", ")} of ${dtype} [${shape.join(", ")}] over ${axes.join(", ")} of ${made.name}`,
    parts: { kernel: "reduce", program: made, attributes: { kinds: used, axes } },
    params,
    inputs: made.inputs.map(() => ({
      dtype,
      values:
        kind === "prod"
          ? factors(dtype, shape, source)
          : terms(dtype, shape, source, chosen.every(Boolean) || choice % 3 === 0),
    })),
    outputs: used.map(() => blank(dtype, outShape)),
    expected: (inputs) =>
      results(inputs).map((lists, k) => lists.map((list) => wrapped(dtype, COMBINE[used[k]!](dtype, list)))),
    tolerance: tolerances,
    movement: (inputs) =>
      results(inputs).map((lists, k) =>
        lists.map((list) => {
          // The greatest and the least are terms themselves: no other term moves them.
          if (chosen[k] === true) return 0;
          return used[k] === "prod"
            ? multiplied(dtype, COMBINE.prod(dtype, list), list.length)
            : summed(dtype, list);
        }),
      ),
  };
}

/** A plain sum of given values of one sign over one axis, held against its own size. */
export function sumCase(dtype: DType, values: Nd, axis: number): KernelCase {
  const { shape } = values;
  return {
    label: `reduce sum of ${dtype} [${shape.join(", ")}] over ${axis}`,
    parts: {
      kernel: "reduce",
      program: identity(DTYPES[dtype].compute),
      attributes: { kinds: ["sum"], axes: [axis] },
    },
    inputs: [{ dtype, values }],
    outputs: [
      blank(
        dtype,
        shape.map((size, one) => (one === axis ? 1 : size)),
      ),
    ],
    expected: ([x]) => [groups(x!, [axis]).lists.map(sum)],
    tolerance: "rounded",
  };
}

/** Positions of extremes, with ties and NaN. */
export function argReduceCase(
  dtype: DType,
  shape: readonly number[],
  choice: Choice,
  source: Source,
): KernelCase {
  const axes = axesFor(shape.length, choice);
  const kind = kindBits(choice) % 2 === 0 ? "max" : "min";
  const better = kind === "max" ? (a: number, b: number) => a > b : (a: number, b: number) => a < b;
  const outShape = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  return {
    label: `argReduce ${kind} of ${dtype} [${shape.join(", ")}] over ${axes.join(", ")}`,
    parts: { kernel: "argReduce", attributes: { kind, axes } },
    inputs: [{ dtype, values: ordered(dtype, shape, source) }],
    outputs: [blank("i32", outShape)],
    expected: ([x]) => [
      groups(x!, axes).lists.map((list) => {
        let best = 0;
        list.forEach((value, i) => {
          const leader = list[best]!;
          if (!Number.isNaN(leader) && (Number.isNaN(value) || better(value, leader))) best = i;
        });
        return best;
      }),
    ],
    tolerance: "exact",
  };
}

/** Running sums, products and maxima. */
export function scanCase(dtype: DType, shape: readonly number[], choice: Choice, source: Source): KernelCase {
  const kind = (["sum", "prod", "max"] as const)[kindBits(choice) % 3]!;
  const axis = choice % shape.length;
  const reverse = Math.floor(kindBits(choice) / 3) % 2 === 1;
  const combine = (a: number, b: number): number => {
    if (kind === "max") return maximum(a, b);
    return wrapped(dtype, kind === "sum" ? a + b : multiplyIn(dtype)(a, b));
  };
  // Lines as they are walked.
  const walk = (x: Nd, f: (walked: readonly number[]) => readonly number[]): readonly number[] =>
    lines(x, axis, (line) => (reverse ? [...f([...line].reverse())].reverse() : f(line))).data;
  return {
    label: `scan ${kind} of ${dtype} [${shape.join(", ")}] axis ${axis}${reverse ? " reversed" : ""}`,
    parts: { kernel: "scan", attributes: { kind, axis, reverse } },
    inputs: [
      {
        dtype,
        values:
          kind === "prod"
            ? factors(dtype, shape, source)
            : terms(dtype, shape, source, kind === "max" || choice % 3 === 0),
      },
    ],
    outputs: [blank(dtype, shape)],
    expected: ([x]) => [
      walk(x!, (line) => {
        const result = [...line];
        for (let i = 1; i < result.length; i++) result[i] = combine(result[i - 1]!, result[i]!);
        return result;
      }),
    ],
    tolerance: isFloat(dtype) && kind !== "max" ? "summed" : "exact",
    movement: ([x]) => [
      walk(x!, (line) => {
        let size = kind === "prod" ? 1 : 0;
        return line.map((value, i) => {
          size = kind === "prod" ? size * value : size + Math.abs(value);
          return kind === "prod" ? multiplied(dtype, size, i + 1) : summed(dtype, [size]);
        });
      }),
    ],
  };
}
