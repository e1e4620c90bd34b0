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
import {
  at,
  build,
  count,
  groups,
  indexAt,
  lines,
  matmul,
  type Nd,
  nd,
  position,
  sum,
} from "../reference/nd.ts";
import { maximum, minimum } from "../reference/special.ts";
import type { Source } from "../source.ts";
import { roundTo } from "../values.ts";
import type { KernelCase, Operand } from "./run.ts";
import { accumulated, factors, multiplied, ordered, summed, terms } from "./terms.ts";

/** Which of the many calls of a shape a case makes: every number below {@link CHOICES} is one. */
export type Choice = number;

/** Number of choices: five bits for axes, the rest for kinds and forms. */
export const CHOICES: number = 32 * 12;

const kindBits = (choice: Choice): number => choice >> 5;

const blank = (dtype: DType, shape: readonly number[]): Operand => ({
  dtype,
  values: nd(shape, new Array<number>(count(shape)).fill(dtype === "bool" ? 1 : 9)),
});
const wrapped = (dtype: DType, value: number): number =>
  isFloat(dtype) || dtype === "bool" ? value : roundTo(dtype, value);

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

function axesFor(rank: number, choice: Choice): number[] {
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => ((choice >> axis) & 1) === 1);
  return axes.length === 0 ? [rank - 1] : axes;
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
        lists.map((list) =>
          used[k] === "prod"
            ? multiplied(dtype, COMBINE.prod(dtype, list), list.length)
            : summed(dtype, list),
        ),
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

const sizeOfProduct = (a: number, b: number): number => Math.abs(a * b);

/**
 * Products of batches of matrices; the sizes come from a shape of up to five.
 *
 * @param weights dtype of the second operand, where that is not the tested one
 */
export function matmulCase(
  dtype: DType,
  shape: readonly number[],
  choice: Choice,
  source: Source,
  weights: DType = dtype,
): KernelCase {
  const [m = 3, k = 4, n = 2, ...batch] = [...shape].reverse();
  const shapes = { a: [...batch, m, k], b: [...batch, k, n], out: [...batch, m, n] };
  const special = kindBits(choice) % 4 === 3;
  return {
    label: `matmul of ${weights === dtype ? dtype : `${dtype} and ${weights}`} [${shapes.a.join(", ")}] [${shapes.b.join(", ")}]`,
    parts: { kernel: "matmul" },
    inputs: [
      { dtype, values: terms(dtype, shapes.a, source, special) },
      { dtype: weights, values: terms(weights, shapes.b, source, special) },
    ],
    outputs: [blank(dtype, shapes.out)],
    expected: ([a, b]) => [matmul(a!, b!, multiplyIn(dtype)).data.map((value) => wrapped(dtype, value))],
    tolerance: isFloat(dtype) ? "summed" : "exact",
    movement: ([a, b]) => [matmul(a!, b!, sizeOfProduct).data.map((size) => summed(dtype, [size]))],
  };
}

function positions(shape: readonly number[], size: number, source: Source): Operand {
  return { dtype: "i32", values: build(shape, () => source.below(size)) };
}

const moved = (index: readonly number[], axis: number, to: number): number[] =>
  index.map((i, one) => (one === axis ? to : i));

/** Values at positions along an axis. */
export function gatherCase(
  dtype: DType,
  shape: readonly number[],
  choice: Choice,
  source: Source,
): KernelCase {
  const axis = choice % shape.length;
  const length = 1 + (kindBits(choice) % 5);
  const outShape = moved(shape, axis, length);
  return {
    label: `gather of ${dtype} [${shape.join(", ")}] axis ${axis} to ${length}`,
    parts: { kernel: "gather", attributes: { axis } },
    inputs: [{ dtype, values: terms(dtype, shape, source, true) }, positions(outShape, shape[axis]!, source)],
    outputs: [blank(dtype, outShape)],
    expected: ([x, index]) => [
      build(outShape, (place, i) => at(x!, moved(place, axis, index!.data[i]!))).data,
    ],
    tolerance: "exact",
    signedZeros: true,
  };
}

/** Values written to positions along an axis: added up, the greatest kept, or (without duplicates) set. */
export function scatterCase(
  dtype: DType,
  shape: readonly number[],
  choice: Choice,
  source: Source,
): KernelCase {
  const modes = dtype === "bool" ? (["set"] as const) : (["add", "set", "max"] as const);
  const mode = modes[kindBits(choice) % modes.length]!;
  const axis = choice % shape.length;
  const size = shape[axis]!;
  const length = mode === "set" ? 1 + (kindBits(choice) % size) : 1 + (kindBits(choice) % 6);
  const from = moved(shape, axis, length);
  const orders = new Map<string, number[]>();
  const distinct = build(from, (place) => {
    const key = moved(place, axis, 0).join();
    const order = orders.get(key) ?? source.shuffle(Array.from({ length: size }, (_, i) => i));
    orders.set(key, order);
    return order[place[axis]!]!;
  });
  return {
    label: `scatter ${mode} of ${dtype} [${from.join(", ")}] axis ${axis} into ${size}`,
    parts: { kernel: "scatter", attributes: { axis, mode } },
    inputs: [
      { dtype, values: terms(dtype, from, source, mode !== "add") },
      mode === "set" ? { dtype: "i32", values: distinct, distinct: true } : positions(from, size, source),
    ],
    outputs: [{ dtype, values: terms(dtype, shape, source, mode !== "add") }],
    expected: ([updates, index], [before]) => {
      const result = [...before!.data];
      updates!.data.forEach((value, i) => {
        const target = position(shape, moved(indexAt(from, i), axis, index!.data[i]!));
        const old = result[target]!;
        result[target] =
          mode === "set" ? value : mode === "max" ? maximum(old, value) : wrapped(dtype, old + value);
      });
      return [result];
    },
    tolerance: isFloat(dtype) && mode === "add" ? "summed" : "exact",
    signedZeros: mode === "set",
    movement: ([updates, index], [before]) => {
      const met = before!.data.map((value) => [value]);
      updates!.data.forEach((value, i) => {
        met[position(shape, moved(indexAt(from, i), axis, index!.data[i]!))]!.push(value);
      });
      return [met.map((values) => accumulated(dtype, values))];
    },
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

/** Order along an axis, with ties and NaN. */
export function sortCase(dtype: DType, shape: readonly number[], choice: Choice, source: Source): KernelCase {
  const axis = choice % shape.length;
  const descending = kindBits(choice) % 2 === 1;
  const rank = (value: number): number => (Number.isNaN(value) ? 1 : 0);
  const orderOf = (line: readonly number[]): number[] =>
    [...line.keys()].sort((i, j) => {
      const [a, b] = [line[i]!, line[j]!];
      if (rank(a) !== rank(b)) return rank(a) - rank(b);
      const way = a === b || rank(a) === 1 ? 0 : a < b ? -1 : 1;
      return (descending ? -way : way) || i - j;
    });
  return {
    label: `sort ${descending ? "descending" : "ascending"} of ${dtype} [${shape.join(", ")}] axis ${axis}`,
    parts: { kernel: "sort", attributes: { axis, descending } },
    inputs: [{ dtype, values: ordered(dtype, shape, source) }],
    outputs: [blank(dtype, shape), blank("i32", shape)],
    expected: ([x]) => [
      lines(x!, axis, (line) => orderOf(line).map((i) => line[i]!)).data,
      lines(x!, axis, orderOf).data,
    ],
    tolerance: "exact",
  };
}

/** A product with a program at its end, where a backend takes it. */
export function epilogueCase(dtype: DType, shape: readonly number[], source: Source): KernelCase {
  const compute = DTYPES[dtype].compute;
  const [m = 3, k = 4, n = 2, ...batch] = [...shape].reverse();
  const out = [...batch, m, n];
  const made = program("bias, relu", [compute, compute], [], ([x, bias]) =>
    s.max(s.add(x as Expr, bias as Expr), 0),
  );
  return {
    label: `matmul with an epilogue of ${dtype} [${out.join(", ")}]`,
    parts: { kernel: "matmul", program: made },
    inputs: [
      { dtype, values: terms(dtype, [...batch, m, k], source) },
      { dtype, values: terms(dtype, [...batch, k, n], source) },
      { dtype, values: terms(dtype, out, source) },
    ],
    outputs: [blank(dtype, out)],
    expected: ([a, b, bias]) => [
      matmul(a!, b!).data.map((value, i) => maximum(wrapped(dtype, value + bias!.data[i]!), 0)),
    ],
    tolerance: isFloat(dtype) ? "summed" : "exact",
    movement: ([a, b, bias]) => [
      matmul(a!, b!, sizeOfProduct).data.map((size, i) => summed(dtype, [size, bias!.data[i]!])),
    ],
  };
}
