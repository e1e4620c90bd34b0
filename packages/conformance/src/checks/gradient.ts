import { GradientError } from "@nf/core";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { difference } from "../compare-values.ts";
import {
  curvature,
  derive,
  GRADIENT_LIMITS,
  isFinitePoint,
  slope,
  unit,
  type Weights,
} from "../derivatives.ts";
import { differentiated, expectedOf, type Point, pointOf, scoped, weights } from "../evaluate.ts";
import { LAYOUTS } from "../layout.ts";
import { type Row, rowName } from "../model.ts";
import { lacking } from "../needs.ts";
import { nd } from "../reference/nd.ts";
import { Source } from "../source.ts";

/** The dtype a row's gradients are looked at in: f64 where the backend computes it. */
export function gradientType(context: Context, row: Row): "f64" | "f32" {
  const types = (["f64", "f32"] as const).filter((dtype) => row.dtypes.includes(dtype));
  const found = types.find((dtype) => lacking(context.backend, row, dtype, ["reduce"]) === undefined);
  if (found === undefined)
    throw new NotApplicable(lacking(context.backend, row, "f32", ["reduce"]) ?? "no float dtype");
  return found;
}

/** Weights for a point's results, and for its gradients where the second order is wanted. */
export function weightsFor(point: Point, row: Row, order: 1 | 2, source: Source): Weights {
  const results = expectedOf(point).map(({ shape }, k) => {
    const weight = weights(shape, source);
    const dtype = row.result(point.dtype, k);
    return dtype === point.dtype ? weight : undefined;
  });
  if (order === 1) return { results };
  return { results, gradients: point.inputs.map(({ shape }) => weights(shape, source)) };
}

/** Elements that are looked at one by one; beyond them the derivative along a random direction has to do. */
const MOST_ELEMENTS = 12;
/** The same in large instances, whose reference takes its time. */
const FEW_ELEMENTS = 2;

/**
 * Gradients against difference quotients of the reference: element by element in small operands, some of them in
 * larger ones, and along a random direction, which every element has a part in.
 */
export async function checkGradients(
  context: Context,
  row: Row,
  point: Point,
  label: string,
  order: 1 | 2,
  source: Source,
): Promise<void> {
  const by = weightsFor(point, row, order, source);
  const dtype = point.dtype as "f64" | "f32";
  if (!isFinitePoint(point, by)) return;
  await scoped(
    () => derive(point, by),
    async ({ gradients: found }) => {
      const limits = GRADIENT_LIMITS[dtype][order];
      const numeric = order === 1 ? slope : curvature;
      const values: (ArrayLike<number> | undefined)[] = [];
      for (const [i, operand] of point.instance.operands.entries()) {
        const gradient = found[i];
        if (!differentiated(operand, dtype) || gradient === undefined) {
          values.push(undefined);
          continue;
        }
        const what = `${label}: ${order === 1 ? "gradient" : "second gradient"} ${i}`;
        const input = point.inputs[i]!;
        if (gradient.shape.join() !== input.shape.join())
          context.fail(`${what} has shape [${gradient.shape.join()}] instead of [${input.shape.join()}]`);
        if (gradient.dtype !== dtype) context.fail(`${what} is ${gradient.dtype} instead of ${dtype}`);
        const got = await gradient.data();
        values.push(got);
        const elements = source
          .shuffle([...input.data.keys()])
          .slice(0, row.fixed === true ? FEW_ELEMENTS : MOST_ELEMENTS);
        for (const element of elements) {
          const wanted = numeric(point, by, unit(point, i, element));
          const { problem } = difference([got[element]!], [wanted], dtype, limits);
          if (problem !== undefined) context.fail(`${what}, element ${element}, ${problem}`);
        }
      }
      judgeSlope(context, point, by, order, values, source, label);
    },
  );
}

/** The derivative along a random direction: one number that every element of every gradient has a part in. */
export function judgeSlope(
  context: Context,
  point: Point,
  by: Weights,
  order: 1 | 2,
  got: readonly (ArrayLike<number> | undefined)[],
  source: Source,
  label = "",
): void {
  const dtype = point.dtype as "f64" | "f32";
  if (!isFinitePoint(point, by)) return;
  const direction = point.instance.operands.map((operand, i) => {
    const { shape, data } = point.inputs[i]!;
    if (!differentiated(operand, dtype)) return undefined;
    const random = weights(shape, source);
    return nd(
      shape,
      data.map((_, k) => random.data[k]! / Math.sqrt(data.length)),
    );
  });
  let along = 0;
  let terms = 0;
  direction.forEach((one, i) => {
    const gradient = got[i];
    if (one === undefined || gradient === undefined) return;
    for (let k = 0; k < one.data.length; k++) {
      const term = one.data[k]! * gradient[k]!;
      along += term;
      terms += Math.abs(term);
    }
  });
  const wanted = order === 1 ? slope(point, by, direction) : curvature(point, by, direction);
  const { relative, absolute } = GRADIENT_LIMITS[dtype][order];
  const limit = relative * terms + absolute;
  if (Math.abs(along - wanted) <= limit) return;
  const what = order === 1 ? "gradient" : "second gradient";
  context.fail(
    `${label}: ${what} along a random direction: ${along} instead of ${wanted} (allowed ${limit})`,
  );
}

async function gradients(context: Context, row: Row, order: 1 | 2): Promise<void> {
  const dtype = gradientType(context, row);
  const source = new Source(context.seed);
  const layouts = [LAYOUTS["contiguous"]!, LAYOUTS["everything at once"]!];
  for (const instance of row.instances) {
    if (!instance.operands.some((operand) => differentiated(operand, dtype))) continue;
    for (const layout of layouts) {
      const point = pointOf(instance, dtype, [layout], source.split());
      try {
        await checkGradients(context, row, point, instance.label, order, source.split());
      } catch (error) {
        if (error instanceof GradientError) context.fail(`${instance.label}: ${error.message}`);
        throw error;
      }
    }
  }
}

/** Checks of a row's first and second derivatives. */
export function gradientChecks(row: Row): Check[] {
  const common = { family: row.family, subject: row.op, level: "training" } as const;
  const orders = ([1, 2] as const).filter((order) => order <= row.order);
  return orders.map((order) => ({
    ...common,
    name: `${rowName(row)} ${order === 1 ? "gradient" : "second gradient"}`,
    run: (context) => gradients(context, row, order),
  }));
}
