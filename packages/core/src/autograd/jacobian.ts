import { scope } from "../memory/scope.ts";
import { eye } from "../ops/create.ts";
import { checkFunction, checkTensor } from "../ops/options.ts";
import { stack } from "../ops/place.ts";
import { filled } from "../ops/programs.ts";
import { reshape, slice } from "../ops/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { sweep } from "./backward.ts";
import { checkedResult } from "./jvp.ts";
import { edgeOf } from "./tape.ts";
import { grad, stand, traced, wantsGraph } from "./transforms.ts";

/**
 * All derivatives of a function's result by its first argument, as a function of the same arguments: shape
 * `[...result, ...argument]`. One reverse pass for each element of the result.
 */
export function jacobian<R extends readonly unknown[]>(
  fn: (x: Tensor, ...rest: R) => Tensor,
): (x: Tensor, ...rest: R) => Tensor {
  checkFunction("jacobian", fn);
  return (x, ...rest) => jacobianAt("jacobian", (point) => fn(point, ...rest), x);
}

/**
 * All second derivatives of a function that returns a scalar by its first argument, as a function of the same arguments:
 * shape `[...argument, ...argument]`.
 */
export function hessian<R extends readonly unknown[]>(
  fn: (x: Tensor, ...rest: R) => Tensor,
): (x: Tensor, ...rest: R) => Tensor {
  checkFunction("hessian", fn);
  const gradient = grad(fn);
  return (x, ...rest) => jacobianAt("hessian", (point) => gradient(point, ...rest), x);
}

function jacobianAt(op: string, fn: (point: Tensor) => Tensor, x: Tensor): Tensor {
  checkTensor(op, x);
  return scope(() => {
    const createGraph = wantsGraph();
    const point = stand(x, createGraph, op);
    const value = checkedResult(
      op,
      traced(op, () => fn(point)),
    );
    const shape = [...value.shape, ...x.shape];
    if (!value.requiresGrad || shape.includes(0)) return filled(x.device, shape, x.dtype, 0);
    const seeds = eye(value.size, value.size, { dtype: value.dtype, backend: value.backend });
    const rows = Array.from({ length: value.size }, (_, i) => {
      let row: Tensor | undefined;
      const seed = reshape(slice(seeds, i), value.shape);
      const options = { retainGraph: createGraph || i + 1 < value.size, createGraph };
      sweep([value], [seed], [edgeOf(point)], options, (_leaf, gradient) => {
        row = gradient;
      });
      return row ?? filled(x.device, x.shape, x.dtype, 0);
    });
    return reshape(stack(rows), shape);
  });
}
