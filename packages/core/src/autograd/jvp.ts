import { sameShape, showShape } from "../backend/geometry.ts";
import { GradientError, OptionError, ShapeError } from "../errors.ts";
import { scope } from "../memory/scope.ts";
import { checkFunction, checkTensor, show } from "../ops/options.ts";
import { filled } from "../ops/programs.ts";
import { Tensor } from "../tensor/tensor.ts";
import { sweep } from "./backward.ts";
import { edgeOf } from "./tape.ts";
import { ownHandle, stand, traced, wantsGraph } from "./transforms.ts";

/**
 * The value of a function and its Jacobian-vector product, `[value, tangent]`: how the value moves when the primals move
 * along the tangents. Computed by two reverse passes: the vector-Jacobian product is linear in its vector, and its
 * derivative by that vector, weighed with the tangents, is the Jacobian-vector product.
 */
export function jvp(
  fn: (...primals: Tensor[]) => Tensor,
  primals: readonly Tensor[],
  tangents: readonly Tensor[],
): [value: Tensor, tangent: Tensor] {
  checkFunction("jvp", fn);
  checkTangents(primals, tangents);
  return scope(() => {
    const createGraph = wantsGraph();
    const stands = primals.map((primal) => stand(primal, createGraph, "jvp"));
    const value = checkedResult(
      "jvp",
      traced("jvp", () => fn(...stands)),
    );
    let tangent: Tensor | undefined;
    if (value.requiresGrad) {
      const vector = filled(value.device, value.shape, value.dtype, 0);
      vector.leafGradient = true;
      const roots: Tensor[] = [];
      const seeds: Tensor[] = [];
      const both = { retainGraph: true, createGraph: true };
      sweep([value], [vector], stands.map(edgeOf), both, (_leaf, product, position) => {
        if (!product.requiresGrad) return;
        roots.push(product);
        seeds.push(tangents[position] as Tensor);
      });
      const options = { retainGraph: createGraph, createGraph };
      sweep(roots, seeds, [edgeOf(vector)], options, (_leaf, result) => {
        tangent = result;
      });
    }
    tangent ??= filled(value.device, value.shape, value.dtype, 0);
    return [ownHandle(value, createGraph), ownHandle(tangent, createGraph)];
  });
}

function checkTangents(primals: readonly Tensor[], tangents: readonly Tensor[]): void {
  if (!Array.isArray(primals) || !Array.isArray(tangents) || primals.length !== tangents.length)
    throw new OptionError("jvp: expected arrays of primals and tangents of one length, jvp(fn, [x], [t]).");
  primals.forEach((primal: Tensor, i: number) => {
    const tangent = tangents[i] as Tensor;
    for (const x of [primal, tangent]) checkTensor("jvp", x);
    if (!sameShape(primal.shape, tangent.shape) || primal.dtype !== tangent.dtype) {
      throw new ShapeError(
        `jvp: tangent ${i} is ${tangent.dtype} ${showShape(tangent.shape)}, its primal ${primal.dtype} ${showShape(primal.shape)}; they must be alike.`,
      );
    }
  });
}

/** Refuses what is not a tensor as the result of a function to differentiate. */
export function checkedResult(op: string, value: unknown): Tensor {
  if (!(value instanceof Tensor))
    throw new GradientError(`${op}: the function must return a tensor, got ${show(value)}.`);
  return value;
}
