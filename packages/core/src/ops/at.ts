import { IndexError } from "../errors.ts";
import { Tensor } from "../tensor/tensor.ts";
import { composite, together } from "./apply.ts";
import { selectSlices } from "./index-ops.ts";
import { type SliceIndex, sliceFor } from "./shape.ts";

/**
 * A part of a tensor by position, one index a dimension: what `slice` takes, and for one dimension a vector of
 * positions (an integer tensor), which chooses whole slices as `indexSelect` does. Dimensions not named stay whole.
 *
 * @example
 * ```ts no-run
 * import { arange, tensor } from "@nf/core";
 * const x = arange(12).reshape([3, 4]);
 * x.at(1, -1);                                        // the last element of row 1, a scalar
 * x.at(tensor([2, 0], { dtype: "i32" }));             // rows 2 and 0, shape [2, 4]
 * x.at(null, tensor([3, 3, 1], { dtype: "i32" }));    // columns 3, 3 and 1, shape [3, 3]
 * ```
 */
export function at(x: Tensor, ...indices: (SliceIndex | Tensor)[]): Tensor {
  const chosen = indices.flatMap((index, axis) => (index instanceof Tensor ? [{ index, axis }] : []));
  if (chosen.length > 1) {
    throw new IndexError(
      `at: takes one index tensor, got ${chosen.length}. Choose along one dimension after the other.`,
    );
  }
  const plain = indices.map((index) => (index instanceof Tensor ? null : index));
  const [first] = chosen;
  if (first === undefined) return sliceFor("at", x, plain);
  return composite(together("at", [x, first.index]), () => {
    const dropped = plain.slice(0, first.axis).filter((index) => typeof index === "number").length;
    return selectSlices("at", sliceFor("at", x, plain), first.axis - dropped, first.index);
  });
}
