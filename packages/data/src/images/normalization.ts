import { checkOptions, OptionError } from "@nf/core";

/** Mean and standard deviation that pixels are normalised with, `(x - mean) / std`: one for all channels, or one for each. */
export interface Normalization {
  readonly mean: number | readonly number[];
  readonly std: number | readonly number[];
}

/**
 * Means and standard deviations as lists of equal length.
 *
 * @throws OptionError unless all means are finite, all deviations finite and above 0, and there are as many.
 */
export function checkNormalization(
  normalization: Normalization,
): readonly [means: readonly number[], stds: readonly number[]] {
  checkOptions("normalize", normalization, ["mean", "std"]);
  const { mean, std } = normalization;
  const means = typeof mean === "number" ? [mean] : mean;
  const stds = typeof std === "number" ? [std] : std;
  const sound =
    Array.isArray(means) &&
    Array.isArray(stds) &&
    means.length > 0 &&
    means.length === stds.length &&
    means.every(Number.isFinite) &&
    stds.every((one) => Number.isFinite(one) && one > 0);
  if (!sound) {
    throw new OptionError(
      `normalize: expected a finite mean and a std above 0, one for all channels or as many as there are, got mean ` +
        `${String(mean)}, std ${String(std)}.`,
    );
  }
  return [means, stds];
}
