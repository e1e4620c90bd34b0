/**
 * Exponential moving average with bias correction, so that the first values are not pulled towards zero:
 * `a_t = (1 - β) Σ β^(t-i) x_i / (1 - β^t)` (Kingma and Ba 2015, section 3, applied to a curve).
 *
 * @param values raw values in order
 * @param span number of values that the average reaches back over, at least 1; β = 1 - 1 / span
 * @returns one average a value
 */
export function smooth(values: readonly number[], span: number): number[] {
  const beta = 1 - 1 / Math.max(1, span);
  let average = 0;
  let weight = 0;
  return values.map((value) => {
    average = beta * average + (1 - beta) * value;
    weight = beta * weight + (1 - beta);
    return average / weight;
  });
}

/** Neighbouring values taken together. */
export interface Bucket {
  /** Position of its last value. */
  readonly last: number;
  readonly mean: number;
}

/**
 * Means of neighbouring values, `size` at a time; the last bucket may hold fewer.
 *
 * @param size at least 1
 */
export function bucketMeans(values: readonly number[], size: number): Bucket[] {
  const buckets: Bucket[] = [];
  for (let start = 0; start < values.length; start += size) {
    const part = values.slice(start, start + size);
    buckets.push({
      last: start + part.length - 1,
      mean: part.reduce((sum, value) => sum + value, 0) / part.length,
    });
  }
  return buckets;
}
