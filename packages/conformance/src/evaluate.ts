import { add, type DType, fromData, isFloat, mul, Scope, sum, Tensor } from "@nf/core";
import { ROUNDING } from "./compare-values.ts";
import { DENSE, hostValues, type Layout, lay, settle } from "./layout.ts";
import type { Instance, Operand } from "./model.ts";
import { count, type Nd, nd } from "./reference/nd.ts";
import { Source } from "./source.ts";
import { valuesFor } from "./values.ts";

/** An instance with values: what references and tensors are made of. */
export interface Point {
  readonly instance: Instance;
  readonly dtype: DType;
  /** Values by operand, as the layouts can hold them. */
  readonly inputs: readonly Nd[];
  readonly layouts: readonly Layout[];
}

/** Chooses values for an instance. Layouts repeat from the first where there are fewer than operands. */
export function pointOf(instance: Instance, dtype: DType, layouts: readonly Layout[], source: Source): Point {
  const chosen = instance.operands.map((operand, i) =>
    layoutFor(operand, layouts[i % layouts.length] ?? DENSE),
  );
  const inputs = instance.operands.map((operand, i) => {
    const values = valuesFor(operand, dtype, source.split());
    return settle(nd(operand.shape, values), chosen[i]!);
  });
  return { instance, dtype, inputs, layouts: chosen };
}

function layoutFor(operand: Operand, layout: Layout): Layout {
  if (operand.dense === true) return DENSE;
  // Repeating a slice would make equal values of distinct ones, or rows of repeated indices.
  const repeats = operand.domain?.distinct !== true && operand.values === undefined;
  return repeats || layout.still === 0 ? layout : { ...layout, still: 0 };
}

/** Whether an operand's gradient is looked at. */
export function differentiated(operand: Operand, dtype: DType): boolean {
  return operand.gradient ?? (operand.dtype === undefined && isFloat(dtype));
}

/** The operands of a point as tensors of the backend in use. */
export function tensorsOf({ instance, dtype, inputs, layouts }: Point): Tensor[] {
  return instance.operands.map((operand, i) => lay(inputs[i]!, operand.dtype ?? dtype, layouts[i]!));
}

/** One tensor or several as a list. */
export function listOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return result instanceof Tensor ? [result] : result;
}

function ndList(result: Nd | readonly Nd[]): readonly Nd[] {
  return "shape" in result ? [result] : result;
}

/** What an instance should give. */
export function expectedOf({ instance, inputs, dtype }: Point): readonly Nd[] {
  return ndList(instance.reference(inputs, dtype));
}

/** Moves of all operands at once, by random signs. */
const MOVES = 16;

/**
 * How far each result of the reference moves when every float operand is off by half a step of the dtype one way or the
 * other: the root of the mean square over some choices of signs. An algorithm that is as good as its inputs misses by
 * about as much, and by the root of n times as much after n roundings that follow one another. Each element has its
 * own, so that a small result is not excused by a large one beside it.
 */
export function movementOf(point: Point): readonly Float64Array[] {
  const { instance, dtype } = point;
  const at = expectedOf(point);
  const squares = at.map(({ data }) => new Float64Array(data.length));
  const source = new Source(instance.operands.length);
  for (let move = 0; move < MOVES; move++) {
    expectedOf(movedPoint(point, 1, source)).forEach(({ data }, k) => {
      const sums = squares[k]!;
      for (let i = 0; i < sums.length; i++) {
        const step = data[i]! - at[k]!.data[i]!;
        if (Number.isFinite(step)) sums[i] = sums[i]! + step * step;
      }
    });
  }
  // 16-bit floats are computed in f32, where a chain loses nothing that they would notice.
  const chain = dtype === "f32" || dtype === "f64" ? (instance.chain ?? 1) : 1;
  return squares.map((sums) => sums.map((total) => Math.sqrt((total / MOVES) * chain)));
}

/** A point whose float operands are off by some half steps of the dtype, each one way or the other. */
export function movedPoint(point: Point, halfSteps: number, source: Source): Point {
  const { instance, dtype, inputs } = point;
  // Integers become f32 where floats come out of them.
  const by = halfSteps * (ROUNDING[isFloat(dtype) ? dtype : "f32"] as number);
  const rounds = (operand: Operand): boolean => operand.dtype === undefined || isFloat(operand.dtype);
  const moved = inputs.map((x, i) => {
    if (!rounds(instance.operands[i]!)) return x;
    return nd(
      x.shape,
      x.data.map((value) => value * (1 + (source.chance(2) ? by : -by))),
    );
  });
  return { ...point, inputs: moved };
}

/** A result that was read. */
export interface Read {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: ArrayLike<number>;
}

/** Reads tensors all at once. */
export async function readAll(tensors: readonly Tensor[]): Promise<readonly Read[]> {
  const shapes = tensors.map(({ shape, dtype }) => ({ shape, dtype }));
  const data = await Promise.all(tensors.map((tensor) => tensor.data()));
  return shapes.map((facts, i) => ({ ...facts, data: data[i]! }));
}

/** Runs synchronous work in a scope, reads what it returns, and ends everything. */
export async function scoped<T>(work: () => T, read: (result: T) => Promise<void>): Promise<void> {
  const scope = new Scope();
  try {
    await read(scope.run(work));
  } finally {
    scope.dispose();
  }
}

/** A tensor of float64 values in a dtype. */
export function tensorOf(x: Nd, dtype: DType): Tensor {
  return fromData(hostValues(x.data), x.shape, { dtype });
}

/** Weights for results or gradients: multiples of 1/8 in ±2, none of them 0. */
export function weights(shape: readonly number[], source: Source): Nd {
  return nd(
    shape,
    Array.from({ length: count(shape) }, () => (source.chance(2) ? 1 : -1) * (source.between(2, 16) / 8)),
  );
}

/** The sum of results weighed element by element; results without a weight do not count. */
export function weigh(results: readonly Tensor[], by: readonly (Nd | undefined)[]): Tensor {
  const terms = results.flatMap((result, i) => {
    const weight = by[i];
    return weight === undefined ? [] : [sum(mul(result, tensorOf(weight, result.dtype)))];
  });
  return terms.reduce((total, term) => add(total, term));
}
