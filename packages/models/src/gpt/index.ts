export { GptCache, type GptLayerCache } from "./cache.ts";
export { type GptTokenOptions, generateGptTokens } from "./generate.ts";
export {
  Gpt,
  type GptActivation,
  GptAttention,
  type GptBiases,
  GptBlock,
  type GptConfig,
  GptConfigError,
  GptEmbedding,
  GptFeedForward,
  GptLinear,
  type GptOptions,
  GptPosition,
  GptQkv,
  type GptSettings,
  gptConfig,
  gptParameters,
  NANOGPT,
} from "./gpt.ts";
export {
  gptConfigJson,
  type HfGptConfig,
  type ParseGptConfigOptions,
  parseGptConfig,
} from "./hf.ts";
export {
  type GptFromFile,
  type GptGenerateOptions,
  LoadedGpt,
  type LoadGptOptions,
  loadGpt,
  readGpt,
} from "./load.ts";
