import {
  type Backend,
  BackendDecorator,
  type Call,
  currentBackend,
  DTYPES,
  type DType,
  flopsOf,
  noGrad,
  nullBackend,
  Tensor,
  type View,
  zeros,
} from "@nf/core";
import { replaceForward } from "../module/hooks.ts";
import type { Module } from "../module/module.ts";
import { fillSlot } from "../module/slots.ts";

/** Shapes of the tensors that went in or came out. */
export type Shapes = readonly (readonly number[])[];

/** An input of a model. */
export interface InputSpec {
  /** With the batch. */
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** What a module took and gave in its first call, and what all its calls cost. */
export interface ModuleCall {
  readonly inputs: Shapes;
  readonly outputs: Shapes;
  /** Floating-point operations, of what is below it too. 0 where work was not counted. */
  flops: number;
  /** Bytes that kernels read and wrote, of what is below it too. 0 where work was not counted. */
  bytes: number;
}

/**
 * Sends zeros through a model and notes the shapes at each module's first call. Nothing of it stays: neither mode,
 * nor random state, nor tensors.
 *
 * @param work whether to count what it costs. The model then runs on a backend that computes nothing, with tensors of its own.
 */
export function traceCalls(
  model: Module,
  inputs: readonly InputSpec[],
  work: boolean,
): ReadonlyMap<Module, ModuleCall> {
  const calls = new Map<Module, ModuleCall>();
  const counter = work ? new WorkCounter() : undefined;
  const modes = model.modules().map((module) => [module, module.training] as const);
  const restore: (() => void)[] = [];
  try {
    for (const [module] of modes) restore.push(watch(module, calls, counter));
    model.eval();
    noGrad(() => {
      const backend = counter ?? homeOf(model);
      if (counter !== undefined) restore.push(withTensorsOn(model, counter));
      const values = inputs.map(({ shape, dtype }) => zeros(shape, { dtype, backend }));
      Reflect.apply(model.forward, model, values);
    });
  } finally {
    for (const undo of restore.reverse()) undo();
    for (const [module, training] of modes) module.training = training;
  }
  return calls;
}

/** Counts what the calls of a model would cost, and runs none of them. */
class WorkCounter extends BackendDecorator {
  flops = 0;
  bytes = 0;

  constructor() {
    super("count", nullBackend());
  }

  override execute(call: Call): void {
    this.flops += flopsOf(call);
    for (const view of [...call.inputs, ...call.outputs]) this.bytes += touched(view);
  }
}

/** Bytes of the elements of a view, those that it repeats once. */
function touched({ shape, strides, dtype }: View): number {
  const distinct = shape.filter((_, axis) => strides[axis] !== 0);
  return distinct.reduce((product, size) => product * size, DTYPES[dtype].bytes);
}

/** Notes the calls of a module. Returns what ends it. */
function watch(module: Module, calls: Map<Module, ModuleCall>, counter: WorkCounter | undefined): () => void {
  const original = module.forward;
  return replaceForward(module, (...inputs: unknown[]): unknown => {
    const { flops, bytes } = counter ?? NOTHING;
    const result: unknown = Reflect.apply(original, module, inputs);
    const call = calls.get(module) ?? { inputs: shapesIn(inputs), outputs: shapesIn(result), ...NOTHING };
    call.flops += (counter ?? NOTHING).flops - flops;
    call.bytes += (counter ?? NOTHING).bytes - bytes;
    calls.set(module, call);
    return result;
  });
}

const NOTHING = { flops: 0, bytes: 0 } as const;

/** Puts tensors of a backend in the places of a model's own. Returns what puts those back. */
function withTensorsOn(model: Module, backend: Backend): () => void {
  const stands = new Map<Tensor, Tensor>();
  const slots = model.modules().flatMap((module) => module.slots());
  const restore: (() => void)[] = [];
  for (const { holder, key, value } of slots) {
    if (!(value instanceof Tensor)) continue;
    const stand = stands.get(value) ?? zeros(value.shape, { dtype: value.dtype, backend });
    stands.set(value, stand);
    fillSlot({ holder, key }, stand);
    restore.push(() => fillSlot({ holder, key }, value));
  }
  return () => {
    for (const undo of restore) undo();
  };
}

function shapesIn(value: unknown): Shapes {
  if (value instanceof Tensor) return [value.shape];
  if (Array.isArray(value)) return value.flatMap(shapesIn);
  return [];
}

function homeOf(model: Module): Backend {
  return (model.parameters()[0] ?? model.buffers()[0])?.backend ?? currentBackend();
}
