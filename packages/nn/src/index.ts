export {
  type ApplyOptions,
  type Functional,
  functionalize,
  type Key,
  type Params,
  type State,
  Structure,
  type Variables,
} from "./functional/functionalize.ts";
export {
  type FlatTree,
  flattenParams,
  nestParams,
  treeEntries,
  treeFlatten,
  treePaths,
  treeZip,
} from "./functional/tree.ts";
export * as init from "./init.ts";
export {
  type InputShapes,
  type Inspection,
  type InspectOptions,
  type InspectRow,
  inspect,
  inspectModel,
  Summary,
  summary,
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
  CELU,
  ELU,
  type ELUOptions,
  Hardshrink,
  Hardsigmoid,
  Hardswish,
  Hardtanh,
  type HardtanhOptions,
  PReLU,
  type PReLUOptions,
  ReLU6,
  RReLU,
  type RReLUOptions,
  SELU,
  type ShrinkOptions,
  Softshrink,
  Threshold,
} from "./layers/activations-piecewise.ts";
export {
  GLU,
  LogSigmoid,
  Mish,
  Softmax2d,
  Softmin,
  Softplus,
  type SoftplusOptions,
  Softsign,
  Tanhshrink,
} from "./layers/activations-smooth.ts";
export {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveAvgPool3d,
  AdaptiveMaxPool1d,
  AdaptiveMaxPool2d,
  AdaptiveMaxPool3d,
  type AdaptiveSize,
  GlobalAvgPool,
  GlobalMaxPool,
} from "./layers/adaptive-pool.ts";
export {
  type AttentionMasks,
  type KeysValues,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from "./layers/attention.ts";
export { BatchNorm1d, BatchNorm2d, BatchNorm3d, type BatchNormLayerOptions } from "./layers/batch-norm.ts";
export { Block, block } from "./layers/block.ts";
export {
  type CellOptions,
  GRUCell,
  LSTMCell,
  RNNCell,
  type RNNCellOptions,
} from "./layers/cells.ts";
export type { RunningNormOptions } from "./layers/channel-norm.ts";
export { Conv1d, Conv2d, Conv3d, type ConvLayerOptions } from "./layers/conv.ts";
export {
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  type ConvTransposeLayerOptions,
  type OutputSizeOptions,
} from "./layers/conv-transpose.ts";
export {
  CosineSimilarity,
  type CosineSimilarityOptions,
  PairwiseDistance,
  type PairwiseDistanceOptions,
} from "./layers/distance.ts";
export { Dropout, Dropout1d, Dropout2d, Dropout3d, type DropoutOptions } from "./layers/dropout.ts";
export { Embedding, type EmbeddingOptions } from "./layers/embedding.ts";
export {
  type ExpertGates,
  type ExpertRouting,
  MixtureOfExperts,
  type MixtureOfExpertsOptions,
} from "./layers/experts.ts";
export {
  FeedForward,
  type FeedForwardActivation,
  type FeedForwardOptions,
  SwiGLU,
  type SwiGLUOptions,
} from "./layers/feed-forward.ts";
export { Flatten, Unflatten } from "./layers/flatten.ts";
export { ChannelShuffle, Fold, type FoldLayerOptions, Unfold } from "./layers/fold.ts";
export { GroupNorm, type GroupNormLayerOptions } from "./layers/group-norm.ts";
export {
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormOptions,
} from "./layers/instance-norm.ts";
export {
  type ChannelFeatures,
  type FromFlat,
  Layer,
  type LayerLike,
  type Mismatch,
  type Same,
} from "./layers/layer.ts";
export { LayerNorm, type LayerNormOptions } from "./layers/layer-norm.ts";
export { Linear, type LinearOptions } from "./layers/linear.ts";
export { ModuleDict, ModuleList } from "./layers/lists.ts";
export { LPPool1d, LPPool2d, LPPool3d, type LPPoolOptions } from "./layers/lp-pool.ts";
export {
  CircularPad1d,
  CircularPad2d,
  CircularPad3d,
  ConstantPad1d,
  ConstantPad2d,
  ConstantPad3d,
  type PadAmounts,
  ReflectionPad1d,
  ReflectionPad2d,
  ReflectionPad3d,
  ReplicationPad1d,
  ReplicationPad2d,
  ReplicationPad3d,
  ZeroPad1d,
  ZeroPad2d,
  ZeroPad3d,
} from "./layers/pad.ts";
export { PixelShuffle, PixelUnshuffle } from "./layers/pixel-shuffle.ts";
export {
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  type AvgPoolLayerOptions,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
  type MaxPoolLayerOptions,
} from "./layers/pool.ts";
export {
  LearnedPositions,
  type LearnedPositionsOptions,
  RoPE,
  type RoPEOptions,
  SinusoidalPositions,
  type SinusoidalPositionsOptions,
} from "./layers/positions.ts";
export { GRU, LSTM, RNN } from "./layers/recurrent.ts";
export {
  type LSTMOptions,
  Recurrent,
  type RecurrentOptions,
  type RNNOptions,
  type SequenceOptions,
} from "./layers/recurrent-base.ts";
export { Residual } from "./layers/residual.ts";
export { RMSNorm, type RMSNormOptions } from "./layers/rms-norm.ts";
export { type NamedLayer, Sequential, sequential } from "./layers/sequential.ts";
export { Upsample } from "./layers/upsample.ts";
export {
  BCELoss,
  type BCELossOptions,
  BCEWithLogitsLoss,
  type BCEWithLogitsLossOptions,
  CrossEntropyLoss,
  HuberLoss,
  type HuberLossOptions,
  L1Loss,
  MSELoss,
  NLLLoss,
} from "./losses.ts";
export {
  GaussianNLLLoss,
  type GaussianNLLLossOptions,
  KLDivLoss,
  type KLDivLossOptions,
  PoissonNLLLoss,
  type PoissonNLLLossOptions,
  SmoothL1Loss,
  type SmoothL1LossOptions,
} from "./losses-likelihood.ts";
export {
  CosineEmbeddingLoss,
  HingeEmbeddingLoss,
  type MarginLossOptions,
  MarginRankingLoss,
  MultiLabelMarginLoss,
  MultiLabelSoftMarginLoss,
  type MultiLabelSoftMarginLossOptions,
  MultiMarginLoss,
  type MultiMarginLossOptions,
  SoftMarginLoss,
  TripletMarginLoss,
} from "./losses-margin.ts";
export { CTCLoss, type CTCLossOptions } from "./losses-sequence.ts";
export { type ParameterGroup, type ParameterRule, parameterGroups } from "./module/groups.ts";
export type { ForwardHook, ForwardPreHook } from "./module/hooks.ts";
export { type BufferOptions, Module } from "./module/module.ts";
export type { NamePattern } from "./module/patterns.ts";
export {
  type LoadOptions,
  type LoadReport,
  type NotTensor,
  type ShapeMismatch,
  type StateDict,
  StateDictError,
} from "./module/state-dict.ts";
