import { OptionError, ShapeError, type Tensor } from "@nf/core";
import { show } from "../check.ts";
import { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { checkName } from "./child-names.ts";
import {
  type ChainGives,
  type ChainResult,
  type ChainTakes,
  type Demand,
  Layer,
  type LayerLike,
  type Mismatch,
} from "./layer.ts";

/** A layer and the name that its parameters stand under. */
export type NamedLayer = readonly [name: string, layer: LayerLike];

/** The layers of entries, some of which have names. In the place of what is no layer, one of which nothing is known. */
export type LayersOf<E extends readonly unknown[]> = {
  readonly [P in keyof E]: E[P] extends readonly [string, infer M extends LayerLike]
    ? M
    : E[P] extends LayerLike
      ? E[P]
      : LayerLike;
};

/** What the entry at position `P` must also be: nothing more, or a {@link Mismatch} that says why it cannot stand there. */
export type EntryDemand<E extends readonly unknown[], P extends keyof E> = E[P] extends LayerLike | NamedLayer
  ? Demand<LayersOf<E>, P>
  : Mismatch<`layer ${P & string} ${NoLayer<E[P]>}`>;

/** What is wrong with something that is no layer. */
type NoLayer<T> = T extends abstract new (
  ...args: never
) => unknown
  ? "is a class: make a layer of it with new"
  : T extends readonly unknown[]
    ? "is a list: spread it, or name one layer with it"
    : "does not give one tensor for one: call it in a module of your own";

/** Layers one after the other. Make one with {@link sequential}, which checks that they fit. */
export class Sequential<const L extends readonly LayerLike[] = readonly LayerLike[]> extends Layer<
  ChainTakes<L>,
  ChainGives<L>
> {
  /** The layers in order. Their parameters are named by position, as in PyTorch (`0.weight`), or as {@link names} say. */
  readonly layers: L;
  /** Name of each layer. */
  readonly names: readonly string[];

  /**
   * @param layers layers, or pairs of a name and a layer.
   * @throws OptionError for a layer that is no module, and for a name that is empty, has a dot in it or comes twice.
   */
  constructor(...layers: { readonly [P in keyof L]: L[P] | readonly [string, L[P]] }) {
    super();
    const names: string[] = [];
    const modules = layers.map((entry, position) => {
      const named = Array.isArray(entry) && entry.length === 2 && typeof entry[0] === "string";
      const [name, layer]: readonly unknown[] = named ? entry : [String(position), entry];
      if (!(layer instanceof Module)) {
        const advice = Array.isArray(layer) ? " Spread it: sequential(...layers)." : "";
        throw new OptionError(`sequential: layer ${position} must be a module, got ${show(layer)}.${advice}`);
      }
      checkName("sequential", name as string, names);
      names.push(name as string);
      return layer;
    });
    this.layers = modules as readonly unknown[] as L;
    this.names = names;
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
          throw new ShapeError(`layer ${this.names[position]} of ${this.place}: ${error.message}`);
        throw error;
      }
    }
    return x;
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return super.slots().map((slot) => {
      const position = /^layers\.(\d+)$/.exec(slot.name)?.[1];
      return position === undefined ? slot : { ...slot, name: this.names[Number(position)] ?? position };
    });
  }

  /** What messages call it. */
  protected get place(): string {
    return "sequential";
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
 * const named = sequential(["hidden", new Linear(784, 32)], ["relu", new ReLU()], ["out", new Linear(32, 10)]);
 * console.log(Object.keys(named.stateDict())); // hidden.weight, hidden.bias, out.weight, out.bias
 * ```
 */
export function sequential<const E extends readonly unknown[]>(
  ...layers: { [P in keyof E]: E[P] & EntryDemand<E, P> }
): Sequential<LayersOf<E>> {
  return new Sequential<LayersOf<E>>(...(layers as readonly unknown[] as LayersOf<E>));
}
