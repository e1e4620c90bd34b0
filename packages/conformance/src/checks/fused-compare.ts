import { type DType, type FusionMode, type Tensor, withFusion } from "@nf/core";
import type { Context } from "../check.ts";
import { type Allowed, allowed, difference, ROUNDING, scaleOf } from "../compare-values.ts";
import { gradientsOf, type Weights } from "../derivatives.ts";
import {
  differentiated,
  listOf,
  movedPoint,
  movementOf,
  type Point,
  type Read,
  readAll,
  scoped,
  tensorsOf,
} from "../evaluate.ts";
import type { Row } from "../model.ts";
import { nd } from "../reference/nd.ts";
import type { Source } from "../source.ts";
import { roundTo } from "../values.ts";
import { weightsFor } from "./gradient.ts";

type Order = 0 | 1 | 2;

/** What is differentiated of a point, how it is weighed, and how often: what its derivatives are made of. */
interface Derived {
  readonly point: Point;
  readonly weights: Weights;
  readonly order: Order;
}

function valuesIn(mode: FusionMode, point: Point): readonly Tensor[] {
  const inputs = tensorsOf(point);
  return withFusion(mode, () => listOf(point.instance.run(inputs, point.dtype)));
}

/** First gradients by operand, then second ones. */
function derivativesIn(mode: FusionMode, { point, weights, order }: Derived): readonly Tensor[] {
  if (order === 0) return [];
  const inputs = tensorsOf(point);
  const run = (...operands: Tensor[]): readonly Tensor[] => listOf(point.instance.run(operands, point.dtype));
  const wanted = point.instance.operands.map((operand) => differentiated(operand, point.dtype));
  return withFusion(mode, () => [
    ...gradientsOf(run, inputs, wanted, { results: weights.results }),
    ...(order < 2 ? [] : gradientsOf(run, inputs, wanted, weights)),
  ]).filter((one) => one !== undefined);
}

const isHalf = (dtype: DType): boolean => dtype === "f16" || dtype === "bf16";

/** The same values in f32: what 16-bit operands hold, none of the roundings between kernels. */
function widened({ dtype, inputs, ...point }: Point): Point {
  const rounded = inputs.map((x, i) =>
    point.instance.operands[i]!.dtype === undefined
      ? nd(
          x.shape,
          x.data.map((value) => roundTo(dtype, value)),
        )
      : x,
  );
  return { ...point, inputs: rounded, dtype: "f32" };
}

/**
 * Compares what a point gives with fused kernels, where the backend takes them, with the decomposition. Each call is
 * free to be declined: what then stands beside a fused kernel is the decomposition of that call alone. Gradients of
 * 16-bit floats are held against those of the decomposition in f32, since the roundings between its kernels would hide
 * what a fused one loses.
 */
export async function agree(
  context: Context,
  row: Row,
  point: Point,
  source: Source,
  label: string,
): Promise<void> {
  const { dtype } = point;
  const half = isHalf(dtype);
  const highest: Order = half ? 1 : dtype === "f32" || dtype === "f64" ? 2 : 0;
  const order = Math.min(row.order, highest) as Order;
  const weights = weightsFor(point, row, 2, source);
  const plain: Derived = { point: half ? widened(point) : point, weights, order };
  await scoped(
    () =>
      [
        valuesIn("auto", point),
        valuesIn("off", point),
        derivativesIn("auto", { point, weights, order }),
        derivativesIn("off", plain),
      ] as const,
    async ([values, plainValues, derivatives, plainDerivatives]) => {
      await compareValues(context, row, point, label, await readAll(values), await readAll(plainValues));
      const [got, wanted] = [await readAll(derivatives), await readAll(plainDerivatives)];
      await compareDerivatives(context, plain, dtype, source, label, got, wanted);
    },
  );
}

async function compareValues(
  context: Context,
  row: Row,
  point: Point,
  label: string,
  got: readonly Read[],
  wanted: readonly Read[],
): Promise<void> {
  let moved: readonly Float64Array[] | undefined;
  // Either way may be off by what the reference allows; the decomposition rounds 16-bit floats between its kernels.
  const tolerance = isHalf(point.dtype) && row.tolerance !== "exact" ? "composed" : row.tolerance;
  for (const [i, { data, dtype }] of got.entries()) {
    context.compare(`${label}, fused result`, data, wanted[i]!.data, {
      dtype,
      tolerance,
      roundings: 2 * (point.instance.roundings ?? 0),
      movement: () => {
        moved ??= movementOf(point);
        return moved[i]!.map((value) => 2 * value);
      },
    });
  }
}

async function compareDerivatives(
  context: Context,
  plain: Derived,
  tested: DType,
  source: Source,
  label: string,
  got: readonly Read[],
  wanted: readonly Read[],
): Promise<void> {
  const firsts = plain.order === 2 ? got.length / 2 : got.length;
  let spread: readonly Float64Array[] | undefined;
  for (const [i, { data: own, dtype }] of got.entries()) {
    const { data } = wanted[i]!;
    const limit = isHalf(tested)
      ? allowedInHalf(tested, data, plain.weights, context.widened())
      : allowed("composed", dtype, TERMS * scaleOf(data), context.widened());
    if (difference(own, data, dtype, limit).problem !== undefined)
      spread ??= await spreadOf(plain, tested, source, context.widened());
    const found = difference(own, data, dtype, { ...limit, ...(spread && { elements: spread[i]! }) });
    context.note(found, dtype);
    const what = i < firsts ? "gradient" : "second gradient";
    if (found.problem !== undefined) context.fail(`${label}, fused ${what}: ${found.problem}`);
  }
}

/**
 * For gradients of 16-bit floats: these are computed in f32, where terms that cancel leave little, so that nothing is
 * allowed for terms beyond the largest gradient; but what the forward saved has been rounded. In a softmax of two values
 * whose gradients are equal all of the result is what that leaves.
 */
function allowedInHalf(dtype: DType, data: ArrayLike<number>, { results }: Weights, widen: number): Allowed {
  const { relative, absolute } = allowed("composed", dtype, scaleOf(data, 0), widen);
  const incoming = Math.max(...results.map((weight) => (weight === undefined ? 0 : scaleOf(weight.data, 0))));
  return { relative, absolute: absolute + widen * SAVED * (ROUNDING[dtype] as number) * incoming };
}

/** Roundings of saved values, each times a gradient that comes in, that meet in a gradient. */
const SAVED = 2;
/** How much larger than the largest derivative the terms may be that cancel in it: those of a norm of two values do. */
const TERMS = 16;
/** Neighbours of a point that show what its derivatives lose. */
const NEIGHBOURS = 6;
/** How many times the largest of those differences two ways to compute a derivative may be apart. */
const APART = 4;

/**
 * What the decomposition's own derivatives differ by when operands are off by a step of the tested dtype: where a
 * derivative loses digits (differences of nearly equal values, their powers), any way to compute it does.
 */
async function spreadOf(
  plain: Derived,
  tested: DType,
  source: Source,
  widen: number,
): Promise<readonly Float64Array[]> {
  const run = async (point: Point): Promise<readonly Read[]> => {
    let reads: readonly Read[] = [];
    await scoped(
      () => derivativesIn("off", { ...plain, point }),
      async (results) => {
        reads = await readAll(results);
      },
    );
    return reads;
  };
  const here = await run(plain.point);
  const spread = here.map(({ data }) => new Float64Array(data.length));
  for (let i = 0; i < NEIGHBOURS; i++) {
    const neighbour = movedPoint({ ...plain.point, dtype: tested }, 2, source);
    const there = await run({ ...neighbour, dtype: plain.point.dtype });
    for (const [k, { data }] of there.entries()) {
      const most = spread[k]!;
      for (let j = 0; j < most.length; j++) {
        const step = APART * widen * Math.abs(data[j]! - here[k]!.data[j]!);
        if (step > most[j]! && step < Infinity) most[j] = step;
      }
    }
  }
  return spread;
}
