import { checkName } from "./child-names.ts";
import type { LayerLike } from "./layer.ts";
import { type EntryDemand, type LayersOf, Sequential } from "./sequential.ts";

/** Layers one after the other under a name of their own, which tables and messages show. Make one with {@link block}. */
export class Block<const L extends readonly LayerLike[] = readonly LayerLike[]> extends Sequential<L> {
  /** What it is called. */
  readonly title: string;

  constructor(title: string, ...layers: { readonly [P in keyof L]: L[P] | readonly [string, L[P]] }) {
    super(...layers);
    checkName("block", title);
    this.title = title;
  }

  /** @internal */
  override typeName(): string {
    return this.title;
  }

  protected override get place(): string {
    return `block ${this.title}`;
  }
}

/**
 * `sequential` under a name: the inspector shows `Stem` in the place of `Sequential`.
 *
 * @example
 * ```ts no-run
 * import { BatchNorm2d, block, Conv2d, ReLU, sequential } from "@nf/nn";
 *
 * const stem = block("Stem", new Conv2d(3, 16, 3), new BatchNorm2d(16), new ReLU());
 * const model = sequential(stem, new Conv2d(16, 32, 3));
 * ```
 */
export function block<const E extends readonly unknown[]>(
  title: string,
  ...layers: { [P in keyof E]: E[P] & EntryDemand<E, P> }
): Block<LayersOf<E>> {
  return new Block<LayersOf<E>>(title, ...(layers as readonly unknown[] as LayersOf<E>));
}
