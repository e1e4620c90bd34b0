/*
 * `@nf/core/op`: what an operation outside of core is made of. An `Op` calls kernels itself and states its derivative, where a
 * composition of public operations would cost a copy or a record for every step; everything else is written with those.
 * An entry of its own, since applications need none of it.
 */
export type { RequiredCall } from "./backend/call.ts";
export { sigmoidExpr } from "./ops/activations.ts";
export { apply, composite, together } from "./ops/apply.ts";
export type { Gradient, GradientContext, Op } from "./ops/op.ts";
export { fillProgram, identityProgram, type MapAttributes, mapOp } from "./ops/programs.ts";
export { allocate, distinctBuffers, endAll, execute, NO_PARAMS, runMap } from "./ops/run.ts";
export { alias } from "./ops/views.ts";
export type { Device } from "./runtime/device.ts";
