import {
  assign,
  type Backend,
  checkChoice,
  checkInteger,
  checkOptions,
  currentBackend,
  DTYPES,
  noGrad,
  OptionError,
  type RopeTables,
  ropeTables,
  slice,
  type Tensor,
  zeros,
} from "@nf/core";
import type { LlamaConfig } from "./config.ts";

/**
 * What keys and values are kept in: `f32`, or `f16` at half the memory, rounded to 11 bits, where those beyond 65,504 become
 * infinite. Attention computes in f32 either way; of halfs a step widens those of a layer at a time, which costs more the
 * longer the text is.
 */
export type KVCacheDType = "f32" | "f16";

/** All of {@link KVCacheDType}. */
export const CACHE_DTYPES: readonly KVCacheDType[] = ["f32", "f16"];

/** Options of {@link KVCache}. */
export interface KVCacheOptions {
  /** Default f32. */
  readonly dtype?: KVCacheDType;
  /** Where it lies; default the backend in use. */
  readonly backend?: Backend;
}

/**
 * Keys and values of all layers for the positions computed so far: one block for `maxSequenceLength` positions,
 * allocated once and written in place. Only {@link length} moves, forwards with {@link advance}, back with
 * {@link truncate}.
 */
export class KVCache {
  /** Positions there is room for. */
  readonly maxSequenceLength: number;
  /** Where it lies. */
  readonly backend: Backend;
  /** Cosines and sines of all positions. */
  readonly tables: RopeTables;
  /** `[layers, 2, kvHeads, maxSequenceLength, headDim]`. */
  private readonly block: Tensor;
  /** Keys and values of each layer, `[1, kvHeads, maxSequenceLength, headDim]`: views of the block. */
  private readonly layers: readonly (readonly [keys: Tensor, values: Tensor])[];
  private filled = 0;

  constructor(config: LlamaConfig, maxSequenceLength: number, options: KVCacheOptions = {}) {
    checkOptions("KVCache", options, ["dtype", "backend"]);
    const dtype = checkChoice("KVCache", "dtype", options.dtype ?? "f32", CACHE_DTYPES);
    checkInteger("KVCache", "maxSequenceLength", maxSequenceLength, 1);
    const { layers, kvHeads, headDim, ropeBase, ropeScaling } = config;
    const backend = options.backend ?? currentBackend();
    this.maxSequenceLength = maxSequenceLength;
    this.backend = backend;
    const made = noGrad(() => {
      const block = zeros([layers, 2, kvHeads, maxSequenceLength, headDim], { dtype, backend });
      const part = (layer: number, half: number): Tensor => slice(block, [layer, layer + 1], half);
      const scaling = ropeScaling === null ? {} : { scaling: ropeScaling };
      return {
        block,
        layers: Array.from({ length: layers }, (_, layer) => [part(layer, 0), part(layer, 1)] as const),
        tables: ropeTables(maxSequenceLength, headDim, { base: ropeBase, ...scaling, backend }),
      };
    });
    this.block = made.block.keep();
    this.tables = { cos: made.tables.cos.keep(), sin: made.tables.sin.keep() };
    this.layers = made.layers;
    for (const tensor of this.layers.flat()) tensor.keep();
  }

  /** Bytes of the block and the tables of positions that a cache for a configuration takes. */
  static bytes(
    { layers, kvHeads, headDim }: LlamaConfig,
    maxSequenceLength: number,
    dtype: KVCacheDType = "f32",
  ): number {
    return maxSequenceLength * (DTYPES[dtype].bytes * 2 * layers * kvHeads * headDim + 4 * headDim);
  }

  /** Positions that are filled. */
  get length(): number {
    return this.filled;
  }

  /** @throws OptionError where there is no room for so many positions more. */
  reserve(count: number): void {
    const free = this.maxSequenceLength - this.filled;
    if (count <= free) return;
    throw new OptionError(
      `KVCache: ${count} position${count === 1 ? "" : "s"} do not fit: ${this.filled} of ${this.maxSequenceLength} are filled. ` +
        "Make the cache with a larger maxSequenceLength, or shorten the text.",
    );
  }

  /**
   * Writes keys and values `[1, kvHeads, count, headDim]` of the next positions of a layer, and gives all that those
   * positions may look at, the last `window - 1` before them or everything: `[1, kvHeads, keys, headDim]` each, as views.
   */
  extend(layer: number, keys: Tensor, values: Tensor, window: number | null): [keys: Tensor, values: Tensor] {
    const [allKeys, allValues] = this.layers[layer] as readonly [Tensor, Tensor];
    const start = this.filled;
    const end = start + (keys.shape[2] as number);
    assign(slice(allKeys, null, null, [start, end]), keys);
    assign(slice(allValues, null, null, [start, end]), values);
    const from = window === null ? 0 : Math.max(0, start - window + 1);
    return [slice(allKeys, null, null, [from, end]), slice(allValues, null, null, [from, end])];
  }

  /** Moves the end forwards over positions that all layers have written. */
  advance(count: number): void {
    this.reserve(count);
    this.filled += count;
  }

  /** Forgets all positions from `length` on. */
  truncate(length: number): void {
    checkInteger("KVCache.truncate", "length", length, 0, this.filled);
    this.filled = length;
  }

  /** Gives the memory back. */
  dispose(): void {
    for (const tensor of [...this.layers.flat(), this.tables.cos, this.tables.sin, this.block])
      tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
