import { broadcastShapes } from "../backend/geometry.ts";
import type { Shape } from "../backend/view.ts";
import { DTypeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite, together } from "./apply.ts";
import { fromData } from "./create.ts";
import { take } from "./index-ops.ts";
import { checkTensor } from "./options.ts";
import { expandTo } from "./programs.ts";

/*
 * Operations whose shape depends on values, and which therefore have to wait for the values: the only asynchronous ones.
 */

/** Row-major positions of the elements that are not 0. */
async function positionsOf(x: Tensor): Promise<Int32Array<ArrayBuffer>> {
  const values = await x.data();
  let count = 0;
  for (const value of values) if (value !== 0) count++;
  const positions = new Int32Array(count);
  let next = 0;
  values.forEach((value: number, position: number) => {
    if (value !== 0) positions[next++] = position;
  });
  return positions;
}

/** The indices of all elements that are not 0 (NaN is not), row-major: i32 `[count, rank]`. */
export async function nonzero(x: Tensor): Promise<Tensor> {
  checkTensor("nonzero", x);
  const { shape, rank, backend } = x;
  const positions = await positionsOf(x);
  const indices = new Int32Array(positions.length * rank);
  positions.forEach((position, row) => {
    coordinatesInto(indices, row * rank, position, shape);
  });
  return composite([x], () => fromData(indices, [positions.length, rank], { backend }));
}

function coordinatesInto(indices: Int32Array, start: number, position: number, shape: Shape): void {
  let rest = position;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    indices[start + axis] = rest % size;
    rest = Math.floor(rest / size);
  }
}

/** The elements of x where the mask (bool) holds, as a vector, row-major. Both broadcast. */
export async function maskedSelect(x: Tensor, mask: Tensor): Promise<Tensor> {
  together("maskedSelect", [x, mask]);
  if (mask.dtype !== "bool") {
    throw new DTypeError(
      `maskedSelect: the mask must be bool, got ${mask.dtype}. Compare first, for example x.greater(0).`,
    );
  }
  const shape = broadcastShapes("maskedSelect", x.shape, mask.shape);
  const wide = expandTo(mask, shape);
  let positions: Int32Array<ArrayBuffer>;
  try {
    positions = await positionsOf(wide);
  } finally {
    if (wide !== mask) wide.dispose();
  }
  return composite([x], () =>
    take(expandTo(x, shape), fromData(positions, [positions.length], { backend: x.backend })),
  );
}
