import { gradientsEnabled } from "../autograd/tape.ts";
import type { MapManyCall } from "../backend/fused.ts";
import { broadcastShapes, sameShape, showShape } from "../backend/geometry.ts";
import type { BackendBuffer, View } from "../backend/view.ts";
import { type ComputeDType, DTYPES } from "../dtype.ts";
import { GradientError, LifetimeError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { makeProgram, type Program } from "../scalar/program.ts";
import { type Tensor, viewsOf } from "../tensor/tensor.ts";
import { apply, fusionMode, together } from "./apply.ts";
import type { Op } from "./op.ts";
import { identityProgram, type MapAttributes, mapOp } from "./programs.ts";
import { allocate, distinctBuffers, runMap, withTemporaries } from "./run.ts";
import { castProgram } from "./select.ts";

/** What a state update computes, element by element. */
export interface UpdateSpec {
  /** Who writes, for messages: "Adam.step". */
  readonly name: string;
  /** How many tensors are rewritten. */
  readonly state: number;
  /** How many further tensors are read (gradients). */
  readonly inputs: number;
  /** Names of the runtime numbers (learning rate, step, …). */
  readonly params: readonly string[];
  /** New values of the state, one expression each, all of one dtype. Numbers may stand for operands. */
  readonly body: (
    state: readonly Expr[],
    inputs: readonly Expr[],
    params: readonly Expr[],
  ) => readonly Expr[];
}

/** A state update that is ready to be run, in place or purely. */
export interface Update {
  readonly spec: UpdateSpec;
  readonly op: Op<MapAttributes>;
  readonly programs: Map<string, Program>;
}

/** Prepares a state update: one program for the in-place and the functional face of an optimiser. */
export function defineUpdate(spec: UpdateSpec): Update {
  return { spec, op: mapOp(spec.name), programs: new Map() };
}

function programOf({ spec, programs }: Update, tensors: readonly Tensor[]): Program {
  const types = tensors.map((tensor) => DTYPES[tensor.view.dtype].compute);
  const [common] = types as [ComputeDType];
  const key = types.every((type) => type === common) ? common : types.join();
  let program = programs.get(key);
  if (program === undefined) {
    const home = types[0] as ComputeDType;
    const exprs = types.map((dtype, index) => s.cast(s.input(index, dtype), home));
    const params = spec.params.map((_, index) => s.param(index, home));
    const results = spec.body(exprs.slice(0, spec.state), exprs.slice(spec.state), params);
    const stored = results.map((result, index) => s.cast(result, types[index] as ComputeDType));
    program = makeProgram(spec.name, types, new Array<ComputeDType>(spec.params.length).fill(home), stored);
    programs.set(key, program);
  }
  return program;
}

/** Refuses what does not fit the update; returns its operands, the state first. */
function checkUpdate(
  { spec }: Update,
  state: readonly Tensor[],
  inputs: readonly Tensor[],
  params: readonly number[],
): readonly Tensor[] {
  if (state.length !== spec.state || inputs.length !== spec.inputs || params.length !== spec.params.length) {
    throw new ShapeError(
      `${spec.name}: expected ${spec.state} state tensors, ${spec.inputs} inputs and the numbers ${spec.params.join(", ")}, ` +
        `got ${state.length}, ${inputs.length} and ${params.length}.`,
    );
  }
  const operands = together(spec.name, [...state, ...inputs]);
  const { shape } = (state[0] as Tensor).view;
  for (const { view } of operands) {
    if (!sameShape(view.shape, shape)) {
      throw new ShapeError(
        `${spec.name}: all tensors must have the shape of the first, ${showShape(shape)}; got ${showShape(view.shape)}.`,
      );
    }
  }
  return operands;
}

/** Writes new values into state tensors. Versions go up, so that a backward that still needs the old ones says so. */
export function runUpdate(
  update: Update,
  state: readonly Tensor[],
  inputs: readonly Tensor[],
  params: readonly number[],
): void {
  const operands = checkUpdate(update, state, inputs, params);
  const first = state[0] as Tensor;
  writeViews(update.spec.name, programOf(update, operands), viewsOf(operands), state, params, first);
}

/** The tensors of one of several updates: what is rewritten, and what is read besides. */
export interface UpdateTarget {
  readonly state: readonly Tensor[];
  readonly inputs: readonly Tensor[];
}

/**
 * {@link runUpdate} for many groups of tensors with the same numbers, in one call where the backend has the kernel
 * `mapMany`: the step of an optimiser over all parameters of a model.
 */
export function runUpdates(
  update: Update,
  targets: readonly UpdateTarget[],
  params: readonly number[],
): void {
  const operands = targets.map(({ state, inputs }) => checkUpdate(update, state, inputs, params));
  if (fusionMode() !== "off" && targets.length > 1 && runTogether(update, targets, operands, params)) return;
  for (const { state, inputs } of targets) runUpdate(update, state, inputs, params);
}

/** Runs all updates as one call, and tells whether it could. */
function runTogether(
  update: Update,
  targets: readonly UpdateTarget[],
  operands: readonly (readonly Tensor[])[],
  params: readonly number[],
): boolean {
  const [first] = operands as readonly [readonly Tensor[]];
  const { device } = first[0] as Tensor;
  const { backend } = device;
  if (backend.capabilities.dtypes.mapMany === undefined) return false;
  const program = programOf(update, first);
  const inputs: View[] = [];
  const outputs: View[] = [];
  const seen = new Set<BackendBuffer>();
  for (let group = 0; group < targets.length; group++) {
    const { state } = targets[group] as UpdateTarget;
    const tensors = operands[group] as readonly Tensor[];
    const from = inputs.length;
    for (let i = 0; i < tensors.length; i++) {
      const { view } = tensors[i] as Tensor;
      if (view.size === 0 || DTYPES[view.dtype].compute !== program.inputs[i]) return false;
      // Groups run in any order, so that none may read what another writes.
      if (seen.has(view.buffer) && !inputs.slice(from).some(({ buffer }) => buffer === view.buffer))
        return false;
      seen.add(view.buffer);
      inputs.push(view);
      if (i < state.length) outputs.push(view);
    }
    if ((tensors[0] as Tensor).device !== device) return false;
    if (state.some(({ view }) => repeats(view)) || conflicts(viewsOf(tensors), state)) return false;
  }
  const attributes = { groups: targets.length };
  const buffers = [...seen];
  const call: MapManyCall = { kernel: "mapMany", program, buffers, inputs, outputs, params, attributes };
  if (backend.supports(call) !== "yes") return false;
  backend.execute(call);
  for (const { state } of targets) for (const { storage } of state) storage.written(update.spec.name);
  return true;
}

/** The same values as fresh tensors. */
export function pureUpdate(
  update: Update,
  state: readonly Tensor[],
  inputs: readonly Tensor[],
  params: readonly number[],
): readonly Tensor[] {
  const operands = checkUpdate(update, state, inputs, params);
  const dtypes = state.map((tensor) => tensor.dtype);
  return apply(update.op, operands, { program: programOf(update, operands), params, dtypes });
}

/**
 * The one write: puts a value into a tensor's memory, seen by everything that shares it. The value broadcasts; its
 * dtype is converted. No gradient flows through: a value that has one must be detached first.
 */
export function assign(target: Tensor, value: Tensor): void {
  together("assign", [target, value]);
  if (value.requiresGrad && gradientsEnabled()) {
    throw new GradientError(
      "assign: the value is part of a graph, and a write carries no gradient. Use value.detach() or noGrad(() => assign(…)).",
    );
  }
  if (target.node !== undefined && gradientsEnabled()) {
    throw new LifetimeError(
      `assign: the target is the result of "${target.origin}" on the tape. Write to leaves or detached tensors only.`,
      "NF_OVERWRITTEN",
    );
  }
  if (!sameShape(broadcastShapes("assign", target.shape, value.shape), target.shape)) {
    throw new ShapeError(
      `assign: a value of shape ${showShape(value.shape)} does not fit a target of ${showShape(target.shape)}.`,
    );
  }
  const program = castProgram(value.dtype, target.dtype);
  writeViews("assign", program, [value.view], [target], [], target);
}

/** Runs a program into the memory of its targets, through temporaries where an input overlaps a target in part. */
function writeViews(
  writer: string,
  program: Program,
  inputs: readonly View[],
  targets: readonly Tensor[],
  params: readonly number[],
  first: Tensor,
): void {
  const { device } = first;
  for (const { view } of targets) {
    if (repeats(view)) {
      throw new ShapeError(
        `${writer}: the target of shape ${showShape(view.shape)} repeats its elements. Write to what was expanded, or to a clone.`,
      );
    }
  }
  const conflict = conflicts(inputs, targets);
  const outputs = viewsOf(targets);
  const tooMany = distinctBuffers(inputs, outputs).length > device.backend.capabilities.maxBuffersPerCall;
  if (first.size > 0 && (conflict || tooMany)) {
    withTemporaries((results) => {
      for (const target of targets) results.push(allocate(device, target.dtype, target.shape, writer));
      runMap(device, program, inputs, viewsOf(results), params);
      targets.forEach((target, i) => {
        runMap(
          device,
          identityProgram(DTYPES[target.dtype].compute),
          [(results[i] as Tensor).view],
          [target.view],
          [],
        );
      });
    });
  } else {
    runMap(device, program, inputs, outputs, params);
  }
  for (const target of targets) target.storage.written(writer);
}

/** Whether elements of a view are the same memory, so that they cannot be written one by one. */
function repeats(view: View): boolean {
  return (
    !view.contiguous && view.strides.some((step, axis) => step === 0 && (view.shape[axis] as number) > 1)
  );
}

/** Whether a target overlaps an input otherwise than by being it. */
function conflicts(inputs: readonly View[], targets: readonly Tensor[]): boolean {
  return targets.some((target) =>
    inputs.some((view) => view.buffer === target.view.buffer && !sameView(view, target.view)),
  );
}

function sameView(a: View, b: View): boolean {
  return (
    a === b ||
    (a.offset === b.offset &&
      a.dtype === b.dtype &&
      sameShape(a.shape, b.shape) &&
      sameShape(a.strides, b.strides))
  );
}
