export { KVCache, type KVCacheDType, type KVCacheOptions } from "./cache.ts";
export {
  type LlamaBiases,
  type LlamaConfig,
  LlamaConfigError,
  type LlamaSettings,
  llamaConfig,
  llamaParameters,
} from "./config.ts";
export {
  type CancelSignal,
  type FinishReason,
  type GeneratedToken,
  generateTokens,
  type TokenOptions,
} from "./generate.ts";
export {
  type GenerationDefaults,
  type HfGenerationConfig,
  parseGenerationConfig,
} from "./generation-config.ts";
export { type HfLlamaConfig, type ParseConfigOptions, parseLlamaConfig } from "./hf-config.ts";
export {
  type GenerateOptions,
  type LlamaFromFile,
  LoadedLlama,
  type LoadLlamaOptions,
  loadLlama,
  readLlama,
} from "./load.ts";
export type { LlamaMemory } from "./memory.ts";
export {
  Llama,
  LlamaAttention,
  LlamaBlock,
  LlamaFeedForward,
  type LlamaOptions,
  type LlamaPositions,
  type LlamaSource,
  type LlamaWeight,
  Projection,
} from "./model.ts";
export { Sampler, type SamplingOptions } from "./sampling.ts";
export { Generation, type GenerationTiming } from "./text.ts";
export {
  type LlamaTensor,
  type LlamaWeightFormat,
  LlamaWeightsError,
  llamaTensors,
  WEIGHT_FORMATS,
} from "./weights.ts";
