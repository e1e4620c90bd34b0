import { type Backend, currentBackend, type DType, noGrad, Tensor, zeros } from "@nf/core";
import type { Module } from "../module/module.ts";

/** Shapes of the tensors that went in or came out. */
export type Shapes = readonly (readonly number[])[];

/** What one call of a module took and gave. */
export interface ShapeCall {
  readonly inputs: Shapes;
  readonly outputs: Shapes;
}

/**
 * Sends zeros through a model and notes the shapes at each module's first call. Nothing of it stays: neither mode,
 * nor random state, nor tensors.
 */
export function traceShapes(
  model: Module,
  inputShape: readonly number[],
  dtype: DType,
): ReadonlyMap<Module, ShapeCall> {
  const calls = new Map<Module, ShapeCall>();
  const modes = model.modules().map((module) => [module, module.training] as const);
  const watched = modes.map(([module]) => watch(module, calls));
  try {
    model.eval();
    noGrad(() => {
      const input = zeros(inputShape, { dtype, backend: homeOf(model) });
      Reflect.apply(model.forward, model, [input]);
    });
  } finally {
    for (const unwatch of watched) unwatch();
    for (const [module, training] of modes) module.training = training;
  }
  return calls;
}

/** Puts an observer before a module's `forward`, which callers reach as a property of the object. Returns its removal. */
function watch(module: Module, calls: Map<Module, ShapeCall>): () => void {
  const before = Object.getOwnPropertyDescriptor(module, "forward");
  const original = module.forward;
  const observed = (...inputs: unknown[]): unknown => {
    const result: unknown = Reflect.apply(original, module, inputs);
    if (!calls.has(module)) calls.set(module, { inputs: shapesIn(inputs), outputs: shapesIn(result) });
    return result;
  };
  Object.defineProperty(module, "forward", { value: observed, configurable: true, writable: true });
  return () => {
    if (before === undefined) Reflect.deleteProperty(module, "forward");
    else Object.defineProperty(module, "forward", before);
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
