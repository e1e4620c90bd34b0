import { DTYPES, type DType, type Expr, isFloat, program, scalar as s } from "@nf/core";
import { multiplyIn } from "../reference/integers.ts";
import { at, build, indexAt, lines, matmul, position } from "../reference/nd.ts";
import { maximum } from "../reference/special.ts";
import type { Source } from "../source.ts";
import { blank, type Choice, kindBits, wrapped } from "./choices.ts";
import type { KernelCase, Operand } from "./run.ts";
import { accumulated, ordered, summed, terms } from "./terms.ts";

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
    signedZeros: true,
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
