import { OptionError, ShapeError, type Tensor } from "@nf/core";
import { show } from "../check.ts";
import { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import {
  type ChainGives,
  type ChainResult,
  type ChainTakes,
  type Demand,
  Layer,
  type LayerLike,
} from "./layer.ts";

/** Layers one after the other. Make one with {@link sequential}, which checks that they fit. */
export class Sequential<const L extends readonly LayerLike[] = readonly LayerLike[]> extends Layer<
  ChainTakes<L>,
  ChainGives<L>
> {
  /** The layers in order. Their parameters are named by position, as in PyTorch: `0.weight`. */
  readonly layers: L;

  /** @throws OptionError for a layer that is no module. */
  constructor(...layers: L) {
    super();
    for (const [position, layer] of layers.entries()) {
      if (layer instanceof Module) continue;
      const advice = Array.isArray(layer) ? " Spread it: sequential(...layers)." : "";
      throw new OptionError(`sequential: layer ${position} must be a module, got ${show(layer)}.${advice}`);
    }
    this.layers = layers;
  }

  /** Number of layers. */
  get length(): number {
    return this.layers.length;
  }

  override forward(input: Tensor<ChainTakes<L>>): Tensor<ChainResult<L>>;
  override forward(input: Tensor): Tensor {
    let x = input;
    for (const [position, layer] of this.layers.entries()) {
      try {
        x = layer.forward(x);
      } catch (error) {
        // Which of several equal layers it was is what the reader wants to know first.
        if (error instanceof ShapeError)
          throw new ShapeError(`layer ${position} of sequential: ${error.message}`);
        throw error;
      }
    }
    return x;
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return super.slots().map((slot) => ({ ...slot, name: slot.name.replace(/^layers\./, "") }));
  }
}

/**
 * Puts layers one after the other. The compiler checks that each fits the one before it: number of spatial
 * dimensions, flat or not, and channels and features where they are known; a layer that does not fit is reported as
 * a {@link Mismatch} that says why.
 *
 * @example
 * ```ts no-run
 * import { Conv2d, Flatten, Linear, MaxPool2d, ReLU, sequential } from "@nf/nn";
 *
 * const model = sequential(new Conv2d(1, 6, 5), new ReLU(), new MaxPool2d(2), new Flatten(), new Linear(864, 10));
 * ```
 */
export function sequential<const L extends readonly LayerLike[]>(
  ...layers: { [P in keyof L]: L[P] & Demand<L, P> }
): Sequential<L> {
  return new Sequential<L>(...layers);
}
