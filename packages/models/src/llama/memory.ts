import { type Backend, OutOfMemoryError, sizeOf } from "@nf/core";
import { KVCache, type KVCacheDType } from "./cache.ts";
import type { LlamaConfig } from "./config.ts";
import { JOINED } from "./joined.ts";
import { type PlannedWeight, stagingBytes } from "./weights.ts";

/** Bytes that a loaded model takes, as estimated before anything is read. */
export interface LlamaMemory {
  readonly weights: number;
  /** Keys and values of `maxSequenceLength` positions. */
  readonly cache: number;
  /** Intermediate results of a chunk of the prompt, or what reading the largest weight takes; the greater of both. */
  readonly working: number;
  readonly total: number;
}

/** Positions that intermediate results are estimated for. */
const CHUNK = 128;

/** What a model takes with its weights planned. Blocks of the pool are up to a quarter larger than what they hold. */
export function estimateMemory(
  config: LlamaConfig,
  plan: readonly PlannedWeight[],
  maxSequenceLength: number,
  backend: Backend,
  kept: KVCacheDType = "f32",
): LlamaMemory {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, vocabSize } = config;
  const weights = plan.reduce((sum, { bytes }) => sum + bytes, 0);
  const cache = KVCache.bytes(config, maxSequenceLength, kept);
  // Halfs of a layer are widened for attention.
  const wideCache = kept === "f16" ? 8 * kvHeads * headDim * maxSequenceLength : 0;
  const wide = Math.min(CHUNK, maxSequenceLength);
  const row = 6 * hiddenSize + 4 * intermediateSize + 3 * (heads + 2 * kvHeads) * headDim;
  // Weights of 16 bits are widened for a product where the backend does not take them as they are.
  const { matmulWeights = [] } = backend.capabilities;
  const widened = plan.map(({ format, shape }) =>
    (format === "bf16" || format === "f16") && !matmulWeights.includes(format) ? 4 * sizeOf(shape) : 0,
  );
  const activations = 4 * (wide * row + 2 * vocabSize) + wideCache + Math.max(0, ...widened);
  // Matrices that are joined are there twice for a moment.
  const joined = Object.values(JOINED).map((parts) =>
    plan.reduce(
      (sum, { name, bytes }) => sum + (parts.some((part) => name === `blocks.0.${part}.weight`) ? bytes : 0),
      0,
    ),
  );
  const working = Math.max(activations, ...joined, ...plan.map(stagingBytes));
  return { weights, cache, working, total: weights + cache + working };
}

/** Memory that this process may still take, where the host tells. */
export function availableMemory(): number | undefined {
  const host: { readonly console: unknown; process?: { availableMemory?(): number } } = globalThis;
  return host.process?.availableMemory?.();
}

/** @throws OutOfMemoryError saying what takes how much, and what would take less. */
export function refuseTooLarge(
  config: LlamaConfig,
  plan: readonly PlannedWeight[],
  memory: LlamaMemory,
  maxSequenceLength: number,
  limit: number | undefined,
  backend: Backend,
  kept: KVCacheDType,
): void {
  const { maxBufferBytes } = backend.capabilities;
  const largest = plan.reduce((most, one) => (one.bytes > most.bytes ? one : most));
  if (largest.bytes > maxBufferBytes) {
    throw new OutOfMemoryError(
      `loadLlama: ${largest.stored} takes ${size(largest.bytes)} as ${largest.format}, and one buffer of ${backend.name} holds ` +
        `${size(maxBufferBytes)}. Choose smaller weights, such as weights: "q8_0" or "q4_0".`,
      largest.bytes,
      maxBufferBytes,
    );
  }
  const halfs = (enough: boolean): string => (kept !== "f16" && enough ? ', or cache: "f16"' : "");
  if (memory.cache > maxBufferBytes) {
    const fits = KVCache.bytes(config, maxSequenceLength, "f16") <= maxBufferBytes;
    throw new OutOfMemoryError(
      `loadLlama: the cache of keys and values takes ${size(memory.cache)}, and one buffer of ${backend.name} holds ` +
        `${size(maxBufferBytes)}. Choose a maxSequenceLength of at most ${Math.floor((maxBufferBytes / memory.cache) * maxSequenceLength)}${halfs(fits)}.`,
      memory.cache,
      maxBufferBytes,
    );
  }
  if (limit === undefined || memory.total <= limit) return;
  const fits = estimateMemory(config, plan, maxSequenceLength, backend, "f16").total <= limit;
  throw new OutOfMemoryError(
    `loadLlama: the model needs about ${size(memory.total)} (weights ${size(memory.weights)}, cache ${size(memory.cache)}, ` +
      `working memory ${size(memory.working)}), and ${size(limit)} are available. Choose smaller weights, such as ` +
      `weights: "q8_0" or "q4_0", or a smaller maxSequenceLength${halfs(fits)}, or raise memoryLimit.`,
    memory.total,
    limit,
  );
}

function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
}
