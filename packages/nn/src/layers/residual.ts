import { add, OptionError, ShapeError, type Tensor } from "@nf/core";
import { checkInput, shapeText, show } from "../check.ts";
import { Module } from "../module/module.ts";
import { Layer, type LayerLike, type Same, type SameKind, type TakenBy } from "./layer.ts";

/**
 * x + f(x): a block and a way around it, which keeps the shape. He et al. 2015, arXiv:1512.03385.
 *
 * @example
 * ```ts no-run
 * import { Linear, ReLU, Residual, sequential } from "@nf/nn";
 *
 * const model = sequential(new Residual(sequential(new Linear(32, 32), new ReLU())), new Linear(32, 10));
 * ```
 */
export class Residual<const L extends LayerLike = LayerLike> extends Layer<TakenBy<L>, Same> {
  /** f: what is added to its own input. */
  readonly block: L;

  /** @throws OptionError for what is no module. */
  constructor(block: L & SameKind<L>) {
    super();
    if (!(block instanceof Module)) throw new OptionError(`Residual: expected a module, got ${show(block)}.`);
    this.block = block;
  }

  /** @throws ShapeError where f changes the shape. */
  override forward<K extends TakenBy<L>>(input: Tensor<K>): Tensor<K>;
  override forward(input: Tensor): Tensor {
    checkInput(this, input);
    const change = this.block.forward(input);
    if (change.rank !== input.rank || change.shape.some((size, axis) => size !== input.shape[axis])) {
      throw new ShapeError(
        `${this}: its block makes ${shapeText(change)} of ${shapeText(input)}, and must keep the shape.`,
      );
    }
    return add(input, change);
  }
}
