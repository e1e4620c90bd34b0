import { showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { IndexError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { add, mul } from "./binary.ts";
import { arange, full, zeros } from "./create.ts";
import { scatterAdd } from "./index-ops.ts";
import { checkInteger, checkList, checkTensor } from "./options.ts";
import { contiguous } from "./programs.ts";
import { reshape } from "./shape.ts";
import { viewOp, withUnitDims } from "./views.ts";

interface StridedAttributes {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Where each element of the view lies in the flat input, as i32. */
function positionsOf(x: Tensor, { shape, strides, offset }: StridedAttributes): Tensor {
  const { backend } = x;
  return shape.reduce<Tensor>(
    (sum, size, axis) => {
      const along = mul(arange(0, size, 1, { dtype: "i32", backend }), strides[axis] as number);
      return add(sum, withUnitDims(along, [size, ...shape.slice(axis + 1).map(() => 1)]));
    },
    full([], offset, { dtype: "i32", backend }),
  );
}

const AS_STRIDED = /* @__PURE__ */ viewOp<StridedAttributes>(
  "asStrided",
  (view, { shape, strides, offset }) => ({ shape, strides, offset: view.offset + offset }),
  (gradient, inputShape, attributes) => {
    const flat = zeros([sizeOf(inputShape)], { dtype: gradient.dtype, backend: gradient.backend });
    const positions = reshape(positionsOf(gradient, attributes), [-1]);
    return reshape(scatterAdd(flat, 0, positions, reshape(gradient, [-1])), inputShape);
  },
);

/**
 * Another look at the elements of x, numbered row by row whatever its own strides are: element `(i, j, …)` of the result
 * is number `offset + i*strides[0] + j*strides[1] + …`. Elements may come up several times, as in windows that overlap;
 * their gradients add up. Shares memory with x where x lies without gaps.
 *
 * ```ts
 * import { arange, asStrided } from "@nf/core";
 * asStrided(arange(5), [3, 3], [1, 1]);   // [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
 * ```
 * @throws IndexError if the result would reach outside of x
 */
export function asStrided(x: Tensor, shape: Shape, strides: readonly number[], offset: number = 0): Tensor {
  checkTensor("asStrided", x);
  checkList("asStrided", "shape", shape);
  checkList("asStrided", "strides", strides);
  for (const size of shape) checkInteger("asStrided", "each size", size, 0);
  for (const stride of strides) checkInteger("asStrided", "each stride", stride, Number.MIN_SAFE_INTEGER);
  checkInteger("asStrided", "offset", offset, 0);
  if (strides.length !== shape.length) {
    throw new ShapeError(
      `asStrided: the shape ${showShape(shape)} needs ${shape.length} strides, got ${showShape(strides)}.`,
    );
  }
  const reach = shape.map((size, axis) => (size - 1) * (strides[axis] as number));
  const first = offset + reach.reduce((sum, far) => sum + Math.min(0, far), 0);
  const last = offset + reach.reduce((sum, far) => sum + Math.max(0, far), 0);
  if (sizeOf(shape) > 0 && (first < 0 || last >= x.size)) {
    throw new IndexError(
      `asStrided: the shape ${showShape(shape)} with strides ${showShape(strides)} from ${offset} on reaches elements ${first} to ${last}, x ${showShape(x.shape)} has 0 to ${x.size - 1}.`,
    );
  }
  return composite([x], () => apply(AS_STRIDED, [contiguous(x)], { shape, strides, offset })[0] as Tensor);
}
