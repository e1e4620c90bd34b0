import {
  checkOptions,
  noGrad,
  pureUpdate,
  ShapeError,
  type Tensor,
  type Tree,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@nf/core";
import type { Algorithm } from "./algorithm.ts";

/** What a pure optimiser carries from step to step. */
export interface PureState {
  /** Steps so far. */
  readonly count: number;
  /** For each thing it keeps (`expAvg`, …) a tensor for each parameter, in the order of `treeLeaves(params)`. */
  readonly slots: Readonly<Record<string, readonly Tensor[]>>;
}

/** Options of {@link PureOptimizer.update}. */
export interface PureUpdateOptions {
  /** Learning rate of this step, for schedules; default the optimiser's. */
  readonly lr?: number;
  /** End `grads`, `state` and `params` once the new ones are there, so that a loop runs in constant memory. Default false. */
  readonly donate?: boolean;
}

/** An optimiser as two functions of trees: arguments are read, results are new. */
export interface PureOptimizer {
  /** The state before the first step. */
  init(params: Tree): PureState;
  /**
   * Parameters and state after a step.
   *
   * @param grads a tree with as many tensors as `params`, in the same order: what `grad` gives.
   * @throws ShapeError if the trees do not fit.
   */
  update<P extends Tree>(
    grads: Tree,
    state: PureState,
    params: P,
    options?: PureUpdateOptions,
  ): [params: P, state: PureState];
}

/** The pure face of an algorithm. */
export function pureOptimizer<O extends { lr: number }>(
  algorithm: Algorithm<O>,
  options: Readonly<Partial<O>>,
): PureOptimizer {
  const { name, defaults } = algorithm;
  checkOptions(name, options, Object.keys(defaults));
  const settings: O = { ...defaults, ...options };
  algorithm.check(settings);
  const slotNames = algorithm.slots(settings);

  const init = (params: Tree): PureState => {
    const leaves = treeLeaves(params);
    return noGrad(() => ({
      count: 0,
      slots: record(slotNames, () => leaves.map((leaf) => zerosLike(leaf))),
    }));
  };

  const update = <P extends Tree>(
    grads: Tree,
    state: PureState,
    params: P,
    stepOptions: PureUpdateOptions = {},
  ): [P, PureState] => {
    checkOptions(`${name} update`, stepOptions, ["lr", "donate"]);
    const { lr = settings.lr, donate = false } = stepOptions;
    const now: O = { ...settings, lr };
    algorithm.check(now);
    const leaves = treeLeaves(params);
    const gradients = treeLeaves(grads);
    if (gradients.length !== leaves.length) {
      throw new ShapeError(`${name} update: ${leaves.length} parameters, but ${gradients.length} gradients.`);
    }
    const count = state.count + 1;
    const { update: program, numbers } = algorithm.step(now, count, count === 1);
    const result = noGrad((): [P, PureState] => {
      const rows = leaves.map((leaf, index) =>
        pureUpdate(
          program,
          [leaf, ...slotNames.map((slot) => slotOf(name, state, slot, index))],
          [gradients[index] as Tensor],
          numbers,
        ),
      );
      let position = 0;
      const next = treeMap(() => rows[position++]?.[0] as Tensor, params);
      const slots = record(slotNames, (_slot, index) => rows.map((row) => row[index + 1] as Tensor));
      return [next, { count, slots }];
    });
    if (donate)
      for (const tensor of [...leaves, ...gradients, ...Object.values(state.slots).flat()]) tensor.dispose();
    return result;
  };

  return { init, update };
}

function slotOf(optimizer: string, state: PureState, slot: string, index: number): Tensor {
  const tensor = state.slots[slot]?.[index];
  if (tensor === undefined) {
    throw new ShapeError(
      `${optimizer} update: the state has no "${slot}" for parameter ${index}. Make it with init(params).`,
    );
  }
  return tensor;
}

function record<T>(keys: readonly string[], value: (key: string, index: number) => T): Record<string, T> {
  return Object.fromEntries(keys.map((key, index) => [key, value(key, index)]));
}
