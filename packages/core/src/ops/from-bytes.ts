import { type Shape, sizeOf } from "../backend/view.ts";
import { DTYPES, isFloat } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { settle } from "./apply.ts";
import { asLeaf, type CreateOptions, checkShape, resolveCreate } from "./create.ts";
import { guarded } from "./programs.ts";
import { allocate } from "./run.ts";

/**
 * A tensor of the bytes of its elements, little-endian and row-major, as weight files hold them. They are copied as they
 * are: 16-bit floats are not widened on the way. Float dtypes only; default f32.
 *
 * @throws DTypeError for other dtypes, ShapeError if the bytes do not fill the shape
 *
 * @example
 * ```ts no-run
 * import { fromBytes } from "@nf/core";
 *
 * const x = fromBytes(new Uint8Array([0x80, 0x3f, 0x00, 0x40]), [2], { dtype: "bf16" }); // 1, 2
 * ```
 */
export function fromBytes(bytes: Uint8Array, shape: Shape, options: CreateOptions = {}): Tensor {
  const { device, dtype } = resolveCreate("fromBytes", options, "f32");
  if (!isFloat(dtype) || !(bytes instanceof Uint8Array))
    throw new DTypeError(
      `fromBytes: takes a Uint8Array and a float dtype, got ${dtype}. Use fromData for others.`,
    );
  const target = checkShape("fromBytes", shape);
  const expected = sizeOf(target) * DTYPES[dtype].bytes;
  if (bytes.length !== expected) {
    throw new ShapeError(
      `fromBytes: ${dtype} [${target.join(", ")}] takes ${expected} bytes, got ${bytes.length}.`,
    );
  }
  const result = allocate(device, dtype, target, "fromBytes");
  if (expected > 0) guarded([result], () => device.backend.write(result.view.buffer, 0, bytes));
  settle(result, []);
  return asLeaf(result, options);
}
