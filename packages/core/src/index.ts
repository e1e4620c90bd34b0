/** Tensors, gradients, memory and the backend boundary of NanoFlux. */

export { type BackwardOptions, zeroGrad } from "./autograd/backward.ts";
export { type GradcheckOptions, gradcheck } from "./autograd/gradcheck.ts";
export { hessian, jacobian } from "./autograd/jacobian.ts";
export { jvp } from "./autograd/jvp.ts";
export { remat } from "./autograd/remat.ts";
export { gradientsEnabled } from "./autograd/tape.ts";
export {
  type Chosen,
  enableGrad,
  type GradOptions,
  grad,
  noGrad,
  stopGradient,
  type ValueAndGradOptions,
  valueAndGrad,
  vjp,
} from "./autograd/transforms.ts";
export { BackendDecorator } from "./decorators/decorator.ts";
export { type ProfiledBackend, type ProfileOptions, profile } from "./decorators/profile.ts";
export type {
  ProfileCount,
  ProfileData,
  ProfileReport,
  ProfileRow,
  ProfileTiming,
} from "./decorators/profile-report.ts";
export { type ValidatedBackend, type ValidateOptions, validate } from "./decorators/validate.ts";
export { promoteTypes } from "./dtype.ts";
export * from "./kit.ts";
export { debugMemory } from "./memory/roots.ts";
export { Scope, scope } from "./memory/scope.ts";
export { flopsOf } from "./null/flops.ts";
export { type KernelWork, type NullBackend, type NullWork, nullBackend } from "./null/null-backend.ts";
export {
  elu,
  gelu,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  logSigmoid,
  mish,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softplus,
  softsign,
} from "./ops/activations.ts";
export {
  type AdaptivePoolOptions,
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  type GlobalPoolOptions,
  globalAvgPool,
  globalMaxPool,
} from "./ops/adaptive-pool.ts";
export { alibi, alibiSlopes } from "./ops/alibi.ts";
export { type FusionMode, withFusion } from "./ops/apply.ts";
export { asStrided } from "./ops/as-strided.ts";
export { at } from "./ops/at.ts";
export { type AttentionOptions, scaledDotProductAttention } from "./ops/attention.ts";
export {
  type BatchNormOptions,
  type BatchNormResult,
  batchNorm,
  batchNormPure,
  type ChannelNormOptions,
  type GroupNormOptions,
  groupNorm,
  instanceNorm,
} from "./ops/batch-norm.ts";
export {
  add,
  atan2,
  bitwiseAnd,
  bitwiseOr,
  bitwiseXor,
  div,
  equal,
  floorDivide,
  greater,
  greaterEqual,
  leftShift,
  less,
  lessEqual,
  logicalAnd,
  logicalOr,
  logicalXor,
  maximum,
  minimum,
  mul,
  notEqual,
  pow,
  remainder,
  rightShift,
  squaredDifference,
  sub,
} from "./ops/binary.ts";
export { type CellWeights, gruCell, lstmCell, type RnnCellOptions, rnnCell } from "./ops/cells.ts";
export { type ConvOptions, conv1d, conv2d, conv3d } from "./ops/conv.ts";
export {
  type ConvTransposeOptions,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
} from "./ops/conv-transpose.ts";
export {
  arange,
  type CreateOptions,
  eye,
  fromData,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  parameter,
  tensor,
  trilMask,
  triuMask,
  zeros,
  zerosLike,
} from "./ops/create.ts";
export {
  type ClassLossOptions,
  type CrossEntropyOptions,
  crossEntropy,
  nllLoss,
} from "./ops/cross-entropy.ts";
export { type DiagOptions, type DiagonalOptions, diag, diagonal, trace } from "./ops/diagonal.ts";
export { type DropoutOptions, dropout, dropout1d, dropout2d } from "./ops/dropout.ts";
export { einsum } from "./ops/einsum.ts";
export type { BinaryFunction, Operand, UnaryFunction } from "./ops/elementwise.ts";
export { fromBytes } from "./ops/from-bytes.ts";
export { glu } from "./ops/gated.ts";
export {
  clone,
  embedding,
  gather,
  indexAdd,
  indexSelect,
  oneHot,
  scatter,
  scatterAdd,
  take,
} from "./ops/index-ops.ts";
export { type LayerNormOptions, layerNorm, type RmsNormOptions, rmsNorm } from "./ops/layer-norm.ts";
export {
  type BinaryLossOptions,
  bce,
  bceWithLogits,
  huberLoss,
  klDiv,
  type LossOptions,
  l1Loss,
  mseLoss,
  type Reduction,
  smoothL1Loss,
} from "./ops/losses.ts";
export { dot, linear, matmul, outer } from "./ops/matmul.ts";
export { maskedSelect, nonzero } from "./ops/nonzero.ts";
export { l2Normalize, type NormalizeOptions, type NormOptions, norm } from "./ops/norm.ts";
export { checkAxes, checkAxis, checkChoice, checkInteger, checkNumber, checkOptions } from "./ops/options.ts";
export { type PadMode, type PadOptions, pad } from "./ops/pad.ts";
export { concat, stack } from "./ops/place.ts";
export {
  type AvgPoolOptions,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool3d,
} from "./ops/pool.ts";
export {
  dequantize,
  type QuantizedTensor,
  type QuantizeOptions,
  quantize,
  quantizedFromBytes,
  quantizedMatmul,
} from "./ops/quantized.ts";
export type { QuantizedFormat } from "./ops/quantized-blocks.ts";
export {
  bernoulli,
  Generator,
  type GeneratorState,
  generator,
  manualSeed,
  permutation,
  type RandomOptions,
  rand,
  randint,
  randn,
  randperm,
  withGenerator,
} from "./ops/random.ts";
export {
  all,
  any,
  argmax,
  argmin,
  countNonzero,
  logSumExp,
  max,
  mean,
  min,
  prod,
  type ReduceOptions,
  std,
  sum,
  type VarianceOptions,
  variance as var,
} from "./ops/reduce.ts";
export { type RepeatOptions, type RollOptions, repeatInterleave, roll, tile } from "./ops/repeat.ts";
export {
  type RopeFrequencies,
  type RopeOptions,
  type RopeScaling,
  type RopeTableOptions,
  type RopeTables,
  rope,
  ropeFrequencies,
  ropeTables,
} from "./ops/rope.ts";
export {
  type GumbelSoftmaxOptions,
  gumbelSoftmax,
  type MultinomialOptions,
  multinomial,
} from "./ops/sampling.ts";
export { cummax, cumprod, cumsum, type ScanOptions } from "./ops/scan.ts";
export { cast, clip, maskedFill, where } from "./ops/select.ts";
export {
  chunk,
  expand,
  flatten,
  flip,
  permute,
  reshape,
  type Slice,
  type SliceIndex,
  slice,
  split,
  squeeze,
  swapAxes,
  transpose,
  unsqueeze,
} from "./ops/shape.ts";
export {
  type CosineEmbeddingOptions,
  cosineEmbeddingLoss,
  cosineSimilarity,
  type TripletOptions,
  tripletMarginLoss,
} from "./ops/similarity.ts";
export { logSoftmax, type SoftmaxOptions, softmax } from "./ops/softmax.ts";
export { argsort, type Sorted, type SortOptions, sort, type TopkOptions, topk } from "./ops/sort.ts";
export { follow, moveTo, to } from "./ops/transfer.ts";
export {
  abs,
  acos,
  acosh,
  asin,
  asinh,
  atan,
  atanh,
  bitwiseNot,
  ceil,
  cos,
  cosh,
  erf,
  erfc,
  exp,
  expm1,
  floor,
  isFinite,
  isInf,
  isNaN,
  log,
  log1p,
  log2,
  logicalNot,
  neg,
  reciprocal,
  round,
  rsqrt,
  sign,
  sin,
  sinh,
  sqrt,
  square,
  tan,
  tanh,
  trunc,
} from "./ops/unary.ts";
export { type FoldOptions, fold, type UnfoldOptions, unfold } from "./ops/unfold.ts";
export {
  assign,
  defineUpdate,
  pureUpdate,
  runUpdate,
  runUpdates,
  type Update,
  type UpdateSpec,
  type UpdateTarget,
} from "./ops/update.ts";
export { type UpsampleOptions, upsample } from "./ops/upsample.ts";
export { detach } from "./ops/views.ts";
export {
  currentBackend,
  type MemoryReport,
  memory,
  releaseMemory,
  resetPeakMemory,
  use,
} from "./runtime/use.ts";
export type { HostArray, HostArrays } from "./tensor/host.ts";
export type { Flat, Kinded, Spatial, Tokens } from "./tensor/kinds.ts";
export { type GradientHook, type Nested, Tensor } from "./tensor/tensor.ts";
export { type Tree, treeLeaves, treeMap, visitTensors } from "./tensor/tree.ts";
