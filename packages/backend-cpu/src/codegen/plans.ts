import type { View } from "@nf/core";

/** Plans that one program keeps; a training step calls it with a handful of layouts. */
const MOST_PLANS = 16;

/** What a plan was made for. */
interface Signature {
  readonly dtypes: readonly string[];
  readonly shapes: readonly (readonly number[])[];
  readonly strides: readonly (readonly number[])[];
}

/**
 * Remembers what was worked out for views of the same dtypes, shapes and strides, so that a call that comes again
 * skips merging dimensions and looking for its compiled kernel.
 */
export class Plans<T> {
  private readonly known: { readonly signature: Signature; readonly plan: T }[] = [];
  private oldest = 0;

  /** The plan for views like these, if there is one and `fits` agrees. */
  find(inputs: readonly View[], outputs: readonly View[], fits?: (plan: T) => boolean): T | undefined {
    const { known } = this;
    for (let i = 0; i < known.length; i++) {
      const { signature, plan } = known[i] as (typeof known)[number];
      if (
        matches(signature, inputs, 0) &&
        matches(signature, outputs, inputs.length) &&
        (fits === undefined || fits(plan))
      ) {
        return plan;
      }
    }
    return undefined;
  }

  /** Remembers a plan, in the place of the oldest where there are many. */
  add(inputs: readonly View[], outputs: readonly View[], plan: T): void {
    const views = [...inputs, ...outputs];
    const signature: Signature = {
      dtypes: views.map((view) => view.dtype),
      shapes: views.map((view) => view.shape),
      strides: views.map((view) => view.strides),
    };
    this.known[this.oldest] = { signature, plan };
    this.oldest = (this.oldest + 1) % MOST_PLANS;
  }
}

function matches({ dtypes, shapes, strides }: Signature, views: readonly View[], first: number): boolean {
  for (let i = 0; i < views.length; i++) {
    const view = views[i] as View;
    if (view.dtype !== dtypes[first + i]) return false;
    if (!sameNumbers(view.strides, strides[first + i] as readonly number[])) return false;
    if (!sameNumbers(view.shape, shapes[first + i] as readonly number[])) return false;
  }
  return true;
}

/** Whether two lists of numbers are equal. */
export function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
