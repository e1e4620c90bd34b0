import {
  checkOptions,
  noGrad,
  OptionError,
  pureUpdate,
  type Tensor,
  type Tree,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@nf/core";
import { type Algorithm, carriedTo } from "./algorithm.ts";
import { pair } from "./pair.ts";

/** What a pure optimiser carries from step to step. */
export interface PureState {
  /** Steps so far. */
  readonly count: number;
  /** For each thing it keeps (`expAvg`, …) a tree of the parameters' form. */
  readonly slots: Readonly<Record<string, Tree>>;
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
  /**
   * The state before the first step.
   *
   * @throws ShapeError for what is not a tree of tensors.
   */
  init(params: Tree): PureState;
  /**
   * Parameters and state after a step.
   *
   * @param grads a tree of the form of `params`: what `grad` gives. Tensors belong together by their keys.
   * @throws ShapeError naming the paths where the trees, or the shapes of their tensors, differ.
   * @throws OptionError for a state that neither `init` nor `update` of this kind of optimiser gave.
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
  // It follows from the settings and the count: kept for the next step alone.
  let last: { readonly count: number; readonly carried: number | undefined } = {
    count: 0,
    carried: undefined,
  };

  const init = (params: Tree): PureState => {
    pair(`${name} init`, params, []);
    return noGrad(() => ({
      count: 0,
      slots: record(slotNames, () => treeMap((leaf) => zerosLike(leaf), params)),
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
    checkState(name, state, slotNames);
    const rows = pair(`${name} update`, params, [
      { name: "grads", tree: grads },
      ...slotNames.map((slot) => ({ name: `state.slots.${slot}`, tree: state.slots[slot] as Tree })),
    ]);
    const count = state.count + 1;
    const before = last.count === state.count ? last.carried : undefined;
    last = { count, carried: carriedTo(algorithm, settings, count, before) };
    const { update: program, numbers } = algorithm.step(now, count, count === 1, last.carried);
    const result = noGrad((): [P, PureState] => {
      const results = rows.map(({ parameter, others: [gradient, ...kept] }) =>
        pureUpdate(program, [parameter, ...kept], [gradient as Tensor], numbers),
      );
      /** The tensors at one position of all results, in the form of the parameters. */
      const tree = (position: number): P => {
        let row = 0;
        return treeMap(() => results[row++]?.[position] as Tensor, params);
      };
      return [tree(0), { count, slots: record(slotNames, (_slot, index) => tree(index + 1)) }];
    });
    if (donate) for (const tensor of treeLeaves([params, grads, state.slots])) tensor.dispose();
    return result;
  };

  return { init, update };
}

function checkState(optimizer: string, state: PureState, slotNames: readonly string[]): void {
  const advice = "Pass what init(params) or the last update gave.";
  const { count, slots } = state ?? {};
  if (!Number.isInteger(count) || count < 0 || typeof slots !== "object" || slots === null) {
    throw new OptionError(
      `${optimizer} update: the state must be an object with count and slots, got ${
        state === undefined || state === null ? String(state) : "something else"
      }. ${advice}`,
    );
  }
  const missing = slotNames.filter((slot) => !Object.hasOwn(slots, slot));
  if (missing.length > 0) {
    throw new OptionError(
      `${optimizer} update: the state has no ${missing.map((slot) => `"${slot}"`).join(", ")}; it is another optimiser's. ${advice}`,
    );
  }
}

function record<T>(keys: readonly string[], value: (key: string, index: number) => T): Record<string, T> {
  return Object.fromEntries(keys.map((key, index) => [key, value(key, index)]));
}
