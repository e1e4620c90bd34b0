export {
  type ApplyOptions,
  type Functional,
  functionalize,
  type Params,
  type State,
  Structure,
  type Variables,
} from "./functional/functionalize.ts";
export * as init from "./init.ts";
export {
  type Inspection,
  type InspectOptions,
  type InspectRow,
  inspect,
  inspectModel,
} from "./inspect/inspect.ts";
export type { Shapes } from "./inspect/trace.ts";
export {
  GELU,
  type GELUOptions,
  Identity,
  LeakyReLU,
  type LeakyReLUOptions,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  Tanh,
} from "./layers/activations.ts";
export {
  type AttentionMasks,
  type KeysValues,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from "./layers/attention.ts";
export { Conv1d, Conv2d, Conv3d, type ConvLayerOptions } from "./layers/conv.ts";
export { Dropout, type DropoutOptions } from "./layers/dropout.ts";
export { Embedding, type EmbeddingOptions } from "./layers/embedding.ts";
export { Flatten } from "./layers/flatten.ts";
export { Layer, type LayerLike, type Mismatch, type Same } from "./layers/layer.ts";
export { LayerNorm, type LayerNormOptions } from "./layers/layer-norm.ts";
export { Linear, type LinearOptions } from "./layers/linear.ts";
export {
  AvgPool1d,
  AvgPool2d,
  type AvgPoolLayerOptions,
  MaxPool1d,
  MaxPool2d,
  type MaxPoolLayerOptions,
} from "./layers/pool.ts";
export { Sequential, sequential } from "./layers/sequential.ts";
export {
  BCELoss,
  BCEWithLogitsLoss,
  type BCEWithLogitsLossOptions,
  CrossEntropyLoss,
  HuberLoss,
  type HuberLossOptions,
  L1Loss,
  MSELoss,
  NLLLoss,
} from "./losses.ts";
export { type BufferOptions, Module } from "./module/module.ts";
export {
  type LoadOptions,
  type LoadReport,
  type NotTensor,
  type ShapeMismatch,
  type StateDict,
  StateDictError,
} from "./module/state-dict.ts";
