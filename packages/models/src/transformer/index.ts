export { type BleuScore, corpusBleu, tokenize13a } from "./bleu.ts";
export {
  type TransformerConfig,
  TransformerConfigError,
  type TransformerExperts,
  type TransformerSettings,
  transformerConfig,
  transformerParameters,
} from "./config.ts";
export { type ExpertGates, type ExpertRouting, MixtureOfExperts } from "./experts.ts";
export {
  type DecoderState,
  PositionalEncoding,
  TokenEmbedding,
  Transformer,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  TransformerFeedForward,
  type TransformerLossOptions,
  type TransformerOptions,
  TransformerResidual,
} from "./model.ts";
export {
  type BeamSearchOptions,
  beamSearch,
  greedySearch,
  type Hypothesis,
  type SearchOptions,
} from "./search.ts";
