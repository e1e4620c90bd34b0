import { assign, type Backend, noGrad, slice, type Tensor, zeros } from "@nf/core";
import type { GptConfig } from "./gpt.ts";

/** What one layer's attention has of the positions before. */
export interface GptLayerCache {
  /**
   * Writes keys and values `[1, heads, count, headDim]` of the next positions, and gives those of all up to them:
   * `[1, heads, keys, headDim]` each, as views.
   */
  extend(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor];
}

/**
 * Keys and values of all layers for the positions computed so far: one block for all positions that the model has,
 * allocated once and written in place.
 */
export class GptCache {
  /** One a block of the model. */
  readonly layers: readonly GptLayerCache[];
  /** `[layers, 2, 1, heads, maxPositions, headDim]`. */
  private readonly block: Tensor;
  private readonly views: readonly Tensor[];
  private filled = 0;

  constructor({ layers, heads, hiddenSize, maxPositions }: GptConfig, backend: Backend) {
    const made = noGrad(() => {
      const block = zeros([layers, 2, 1, heads, maxPositions, hiddenSize / heads], { backend });
      const part = (layer: number, half: number): Tensor => slice(block, layer, half);
      return {
        block,
        parts: Array.from({ length: layers }, (_, layer) => [part(layer, 0), part(layer, 1)] as const),
      };
    });
    this.block = made.block.keep();
    this.views = made.parts.flat().map((view) => view.keep());
    this.layers = made.parts.map(([allKeys, allValues]) => ({
      extend: (keys, values) => {
        const start = this.filled;
        const end = start + (keys.shape[2] as number);
        assign(slice(allKeys, null, null, [start, end]), keys);
        assign(slice(allValues, null, null, [start, end]), values);
        return [slice(allKeys, null, null, [0, end]), slice(allValues, null, null, [0, end])] as const;
      },
    }));
  }

  /** Positions that are filled. */
  get length(): number {
    return this.filled;
  }

  /** Moves the end forwards over positions that all layers have written. */
  advance(count: number): void {
    this.filled += count;
  }

  /** Gives the memory back. */
  dispose(): void {
    for (const tensor of [...this.views, this.block]) tensor.dispose();
  }
}
