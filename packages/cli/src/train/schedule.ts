/** Share of the run in which the learning rate rises. */
const WARM_UP = 0.1;

/**
 * Learning rate of a step: linear warm-up over the first tenth of the run, then half a cosine down to 0 (Loshchilov and
 * Hutter 2017, without restarts). A short run gets further with it than with a constant rate.
 *
 * @param peak highest learning rate
 * @param step steps done before this one, from 0
 * @param steps of the whole run
 */
export function warmUpCosine(peak: number, step: number, steps: number): number {
  const done = step / steps;
  if (done < WARM_UP) return (peak * (step + 1)) / Math.ceil(WARM_UP * steps + 1);
  return peak * 0.5 * (1 + Math.cos((Math.PI * (done - WARM_UP)) / (1 - WARM_UP)));
}
