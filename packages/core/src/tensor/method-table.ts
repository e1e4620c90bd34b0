/* The operations that are methods of Tensor as well: `add(a, b)` is also `a.add(b)`. One line an origin.
 * Only the common ones: a bundle carries every method, but a function only where it is imported. */
export { backward, registerHook } from "../autograd/backward.ts";
export {
  gelu,
  relu,
  sigmoid,
  silu,
} from "../ops/activations.ts";
export { at } from "../ops/at.ts";
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
  sub,
} from "../ops/binary.ts";
export { clone, gather, indexAdd, indexSelect, scatter, scatterAdd, take } from "../ops/index-ops.ts";
export { dot, matmul, outer } from "../ops/matmul.ts";
export { norm } from "../ops/norm.ts";
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
  std,
  sum,
  variance as var,
} from "../ops/reduce.ts";
export { cumsum } from "../ops/scan.ts";
export { cast, clip, maskedFill } from "../ops/select.ts";
export {
  chunk,
  expand,
  flatten,
  flip,
  permute,
  reshape,
  slice,
  split,
  squeeze,
  swapAxes,
  transpose,
  unsqueeze,
} from "../ops/shape.ts";
export { logSoftmax, softmax } from "../ops/softmax.ts";
export { sort, topk } from "../ops/sort.ts";
export { to } from "../ops/transfer.ts";
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
} from "../ops/unary.ts";
export { detach } from "../ops/views.ts";
