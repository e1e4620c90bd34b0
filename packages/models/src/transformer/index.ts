export { type BleuScore, corpusBleu, tokenize13a } from "./bleu.ts";
export {
  type TransformerConfig,
  TransformerConfigError,
  type TransformerExperts,
  type TransformerSettings,
  transformerConfig,
  transformerParameters,
} from "./config.ts";
export {
  type DecoderState,
  TokenEmbedding,
  Transformer,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
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
