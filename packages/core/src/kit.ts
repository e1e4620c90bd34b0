/*
 * What a backend's author needs besides the interface itself: dtypes, views and calls, programs to interpret or print,
 * the dimension merger, errors.
 */
export { checkAllocation } from "./backend/allocation.ts";
export type { Backend, Capabilities, Support } from "./backend/backend.ts";
export type {
  ArgReduceCall,
  Call,
  FusedKernels,
  GatherCall,
  Kernel,
  MapCall,
  MatmulCall,
  ReduceCall,
  ReduceKind,
  RequiredCall,
  RequiredKernel,
  RequiredKernels,
  ScanCall,
  ScatterCall,
  SortCall,
} from "./backend/call.ts";
export type {
  AttentionCall,
  ConvCall,
  CrossEntropyCall,
  EmbeddingGradCall,
  FusedCall,
  MapManyCall,
  NormCall,
  PoolCall,
  QuantizedMatmulCall,
  RopeCall,
  SoftmaxCall,
  WindowAttributes,
} from "./backend/fused.ts";
export { allContiguous, type MergedSpace, mergeDimensions, mergeViews } from "./backend/merge.ts";
export {
  type BackendBuffer,
  contiguousStrides,
  contiguousView,
  isContiguous,
  makeView,
  type Shape,
  sizeOf,
  type View,
} from "./backend/view.ts";
export {
  type ComputeDType,
  DTYPE_NAMES,
  DTYPES,
  type DType,
  type DTypeInfo,
  type DTypeKind,
  isFloat,
  isInteger,
} from "./dtype.ts";
export * from "./errors.ts";
export * as scalar from "./scalar/expr.ts";
export { CHECK_CODES, type CheckCode, type Expr, type Operand as ExprOperand } from "./scalar/expr.ts";
export { fromBfloatBits, fromHalfBits, toBfloatBits, toHalfBits } from "./scalar/half.ts";
export {
  type Access,
  BLOCK,
  BlockInterpreter,
  blockInterpreter,
  checkFailure,
  coordinateStrides,
  type Elements,
  evaluate,
  forEachBlock,
  interpretMap,
  loadElements,
  storeElements,
} from "./scalar/interpret.ts";
export {
  castValue,
  floorMod,
  reinterpret,
  roundTo,
  SCALAR_OPS,
  type ScalarOp,
  type ScalarOpInfo,
} from "./scalar/ops.ts";
export { type Language, printProgram } from "./scalar/print.ts";
export { makeProgram, type Program, type ProgramOptions, program } from "./scalar/program.ts";
export * as special from "./scalar/special.ts";
export { threefry2x32, threefryWord } from "./scalar/threefry.ts";
export { findTwins, type Twins } from "./scalar/twins.ts";
