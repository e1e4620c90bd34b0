import type { ValueType } from "../autograd/tape.ts";
import type { View } from "../backend/view.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a derivative gets to see. */
export interface GradientContext<A> {
  /** The values that `save` chose, in its order. */
  readonly saved: readonly Tensor[];
  /** Gradients that arrived at the outputs; undefined for outputs that nothing depended on. At least one is there. */
  readonly gradients: readonly (Tensor | undefined)[];
  /** Which inputs want a gradient. */
  readonly needs: readonly boolean[];
  readonly attributes: A;
  /** Inputs without their values: shapes, dtypes, layouts. */
  readonly inputs: readonly View[];
  readonly outputs: readonly ValueType[];
  /** Whether the gradients themselves will be differentiated, so that only differentiable operations may be used. */
  readonly createGraph: boolean;
}

/** The derivative of an operation, written with tensor operations, so that it can be differentiated again. */
export interface Gradient<A> {
  /** The values that `vjp` will read: nothing else is kept alive. */
  save(
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    needs: readonly boolean[],
    attributes: A,
  ): readonly Tensor[];
  /** Gradients of the inputs that need one, given those of the outputs (vector-Jacobian product). */
  vjp(context: GradientContext<A>): readonly (Tensor | undefined)[];
}

/**
 * One operation, with every fact about it in one place. `apply` is the only way to run one.
 *
 * A primitive has `forward` and always runs. A fused operation also has `decompose`: when `forward` finds that the
 * backend does not take this call it returns undefined, and the decomposition runs (and is recorded) instead.
 */
export interface Op<A> {
  readonly name: string;
  /** Checks, infers, allocates and runs. Results have no owner and no place on the tape yet. */
  forward(inputs: readonly Tensor[], attributes: A, device: Device): readonly Tensor[] | undefined;
  /** The same result from other operations; what fused kernels are checked against. */
  decompose?(inputs: readonly Tensor[], attributes: A): readonly Tensor[];
  /** Absent where the result has no gradient by nature (indices, booleans). */
  readonly gradient?: Gradient<A>;
}

/**
 * `save` of an operation that is linear in each of its first two inputs: each is kept where the other's gradient is wanted.
 * `[saved[0], saved.at(-1)]` gives them back: one that was kept alone is both, and only its own place is read.
 */
export function saveFactors(
  inputs: readonly Tensor[],
  _outputs: readonly Tensor[],
  needs: readonly boolean[],
): readonly Tensor[] {
  return inputs.slice(needs[1] === true ? 0 : 1, needs[0] === true ? 2 : 1);
}
