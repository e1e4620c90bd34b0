import { slice, type Tensor } from "@nf/core";

/**
 * What stands at each index of the first dimension, as views. Cut in halves again and again: the gradient of a slice is as
 * large as what it was cut from, and of all steps of a long sequence that would be its length squared; so it is its length
 * times the logarithm of that.
 */
export function rowsOf(x: Tensor): readonly Tensor[] {
  const count = x.shape[0] as number;
  if (count < 3) return Array.from({ length: count }, (_, row) => slice(x, row));
  const half = Math.floor(count / 2);
  return [...rowsOf(slice(x, [0, half])), ...rowsOf(slice(x, [half, count]))];
}
