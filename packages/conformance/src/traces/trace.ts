import { type DType, fromData, type Tensor } from "@nf/core";
import { CrossEntropyLoss, type Module } from "@nf/nn";
import type { Optimizer } from "@nf/optim";

/** A batch for a step of training: host values, from which tensors are made on the backend under test. */
export interface TraceBatch {
  readonly inputs: readonly {
    readonly values: Float32Array | Int32Array;
    readonly shape: readonly number[];
  }[];
  readonly target: { readonly values: Int32Array; readonly shape: readonly number[] };
}

/** A model whose training is known step by step. */
export interface ModelTrace {
  readonly name: string;
  /** The model with its initial weights, on the backend in use. */
  readonly build: () => Module;
  /** The logits of a batch. */
  readonly forward: (model: Module, inputs: readonly Tensor[]) => Tensor;
  readonly optimizer: (parameters: Iterable<Tensor>) => Optimizer;
  readonly batch: (step: number) => TraceBatch;
  /** Cross-entropy before each step. */
  readonly losses: readonly number[];
  /** Allowed absolute difference of a loss. */
  readonly tolerance: number;
}

/** The loss that traces are of. */
export const criterion: () => CrossEntropyLoss = () => new CrossEntropyLoss();

/** Dtype that traces run in. */
export const TRACE_DTYPE: DType = "f32";

/** Gives a model its initial weights. */
export function loadWeights(
  model: Module,
  shapes: Readonly<Record<string, readonly number[]>>,
  weights: Readonly<Record<string, Float32Array>>,
): void {
  const loaded = Object.entries(shapes).map(
    ([name, shape]) => [name, fromData(weights[name] as Float32Array, shape)] as const,
  );
  model.loadStateDict(Object.fromEntries(loaded));
  for (const [, values] of loaded) values.dispose();
}
