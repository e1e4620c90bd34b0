import {
  checkOptions,
  LifetimeError,
  noGrad,
  OptionError,
  runUpdates,
  Tensor,
  type UpdateTarget,
  zeroGrad,
} from "@nf/core";
import { type Algorithm, carriedTo, type Step } from "./algorithm.ts";
import {
  checkDict,
  checkSlots,
  copySlots,
  newSlot,
  type OptimizerStateDict,
  type SavedGroup,
  type SavedParameterState,
} from "./state-dict.ts";

/** Parameters with settings of their own; what is missing comes from the optimiser's options. */
export type ParamGroup<O> = Readonly<Partial<O>> & { readonly params: Iterable<Tensor> };

/** What an optimiser is made for: parameters, or groups of them. */
export type ParamGroups<O> = Iterable<Tensor> | Iterable<ParamGroup<O>>;

/** A group with all its settings. They may be changed between steps. */
export type ResolvedGroup<O> = O & { readonly params: readonly Tensor[] };

/** What an optimiser keeps for one parameter. */
export interface ParameterState {
  /** Steps so far. */
  count: number;
  /** What `Algorithm.carry` gave last. */
  carried?: number | undefined;
  /** Tensors by slot name, shaped like the parameter. */
  readonly slots: Map<string, Tensor>;
}

/**
 * Base class of the optimisers. `step()` writes into the parameters; their identity stays, and when a model moves to
 * another backend, what is kept for them follows.
 */
export abstract class Optimizer<O extends { lr: number } = { lr: number }> {
  /** The groups, each with all settings; change them to schedule one. */
  readonly paramGroups: readonly ResolvedGroup<O>[];
  private readonly algorithm: Algorithm<O>;
  private readonly states = new Map<Tensor, ParameterState>();
  private ended = false;

  /** @throws OptionError for unknown options, values out of range, no parameters, or one that appears twice. */
  constructor(algorithm: Algorithm<O>, params: ParamGroups<O>, options: Readonly<Partial<O>>) {
    const { name, defaults } = algorithm;
    const settings = Object.keys(defaults);
    checkOptions(name, options, settings);
    this.algorithm = algorithm;
    this.paramGroups = groupsOf(name, params, options).map((group): ResolvedGroup<O> => {
      checkOptions(`${name} group`, group.settings, ["params", ...settings]);
      const resolved = { ...defaults, ...options, ...group.settings, params: [...group.params] };
      algorithm.check(resolved);
      return resolved;
    });
    checkParameters(name, this.parameters());
  }

  /** Learning rate of the first group. Setting it sets that of every group. */
  get lr(): number {
    return this.paramGroups[0]?.lr ?? this.algorithm.defaults.lr;
  }

  set lr(value: number) {
    for (const group of this.paramGroups) group.lr = value;
  }

  /** Forgets the gradients of all parameters, and ends what the last backward left readable. */
  zeroGrad(): void {
    zeroGrad(this.parameters());
  }

  /**
   * Moves each parameter that has a gradient one step, but for those that are frozen (`requiresGrad` is false). Leaves
   * nothing behind but its state.
   *
   * @throws LifetimeError after `dispose()`.
   */
  step(): void {
    this.assertAlive("step");
    const { algorithm } = this;
    noGrad(() => {
      for (const group of this.paramGroups) {
        algorithm.check(group);
        for (const { step, targets } of this.prepared(group)) runUpdates(step.update, targets, step.numbers);
      }
    });
  }

  /** The optimiser's state for a checkpoint. The tensors are its own, not copies. */
  stateDict(): OptimizerStateDict {
    this.assertAlive("stateDict");
    const parameters = this.parameters();
    const state: Record<string, SavedParameterState> = {};
    for (const [index, parameter] of parameters.entries()) {
      const kept = this.states.get(parameter);
      if (kept === undefined) continue;
      const { count, carried, slots } = kept;
      state[index] = { count, ...(carried !== undefined && { carried }), slots: Object.fromEntries(slots) };
    }
    let position = 0;
    const paramGroups = this.paramGroups.map((group): SavedGroup => {
      return { ...group, params: group.params.map(() => position++) };
    });
    return { optimizer: this.algorithm.name, state, paramGroups };
  }

  /**
   * Copies a state dict of the same optimiser over the same parameters: tensors, step counts and the groups' settings.
   *
   * @throws OptionError or ShapeError if it does not fit; nothing is loaded then.
   */
  loadStateDict(dict: OptimizerStateDict): void {
    const { name, defaults } = this.algorithm;
    this.assertAlive("loadStateDict");
    checkDict(name, dict);
    const parameters = this.parameters();
    const sizes = dict.paramGroups.map((group) => group.params.length).join(", ");
    const expected = this.paramGroups.map((group) => group.params.length).join(", ");
    if (dict.optimizer !== name || sizes !== expected) {
      throw new OptionError(
        `${name} loadStateDict: expected a state of ${name} with groups of [${expected}] parameters, ` +
          `got one of ${dict.optimizer} with [${sizes}].`,
      );
    }
    const groups = dict.paramGroups.map((saved, index): O => {
      const settings = Object.fromEntries(Object.keys(defaults).map((key) => [key, saved[key]]));
      const resolved = { ...(this.paramGroups[index] as O), ...settings };
      this.algorithm.check(resolved);
      return resolved;
    });
    const entries = Object.entries(dict.state).map(([position, saved]) => {
      const parameter = parameters[Number(position)];
      if (parameter === undefined) {
        throw new OptionError(`${name} loadStateDict: there is no parameter ${position}.`);
      }
      checkSlots(name, position, saved, parameter);
      return { parameter, saved };
    });

    // The old state may be what is being loaded: copy before it ends.
    const copies = entries.map(({ parameter, saved }) => ({
      parameter,
      count: saved.count,
      carried: saved.carried,
      slots: copySlots(saved, parameter),
    }));
    this.endState();
    for (const { parameter, ...state } of copies) this.states.set(parameter, state);
    for (const [index, settings] of groups.entries()) Object.assign(this.paramGroups[index] as O, settings);
  }

  /** All parameters, group by group. */
  parameters(): readonly Tensor[] {
    return this.paramGroups.flatMap((group) => group.params);
  }

  /** Ends the tensors that it keeps for the parameters. These live on; the optimiser cannot be used any more. */
  dispose(): void {
    this.endState();
    this.ended = true;
  }

  /** Ends it with a `using` declaration. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  private endState(): void {
    for (const { slots } of this.states.values()) for (const tensor of slots.values()) tensor.dispose();
    this.states.clear();
  }

  private assertAlive(method: string): void {
    if (!this.ended) return;
    const { name } = this.algorithm;
    throw new LifetimeError(
      `${name} ${method}: dispose() was called on this optimiser. Make a new one for further steps.`,
    );
  }

  /** Counts a step of each parameter that has a gradient, and gives what has to be run, in as few runs as possible. */
  private prepared(group: ResolvedGroup<O>): readonly Run[] {
    const { algorithm, states } = this;
    const slots = algorithm.slots(group);
    const runs: Run[] = [];
    for (const parameter of group.params) {
      const gradient = parameter.grad;
      // A frozen parameter may have a gradient from before: it stays where it is all the same.
      if (gradient === null || !parameter.requiresGrad) continue;
      let kept = states.get(parameter);
      if (kept === undefined) {
        kept = { count: 0, slots: new Map() };
        states.set(parameter, kept);
      }
      let fresh = false;
      const state = [parameter];
      for (const slot of slots) {
        let tensor = kept.slots.get(slot);
        if (tensor === undefined) {
          tensor = newSlot(parameter);
          kept.slots.set(slot, tensor);
          fresh = true;
        }
        state.push(tensor);
      }
      const count = ++kept.count;
      const carried = carriedTo(algorithm, group, count, kept.carried);
      kept.carried = carried;
      const target = { state, inputs: [gradient] };
      const before = runs.find(
        (run) => run.count === count && run.fresh === fresh && run.carried === carried,
      );
      const step = before?.step ?? algorithm.step(group, count, fresh, carried);
      const alike = runs.find((run) => goTogether(run, step, target));
      if (alike === undefined) runs.push({ count, fresh, carried, step, targets: [target] });
      else alike.targets.push(target);
    }
    return runs;
  }
}

/** Steps of one update with the same numbers and dtypes, which a backend may run in one call. */
interface Run {
  readonly count: number;
  readonly fresh: boolean;
  readonly carried: number | undefined;
  readonly step: Step;
  readonly targets: UpdateTarget[];
}

function goTogether({ step, targets }: Run, other: Step, target: UpdateTarget): boolean {
  const same =
    step === other ||
    (step.update === other.update && step.numbers.every((value, i) => value === other.numbers[i]));
  if (!same) return false;
  const [first] = targets as [UpdateTarget];
  return sameDtypes(first.state, target.state) && sameDtypes(first.inputs, target.inputs);
}

function sameDtypes(a: readonly Tensor[], b: readonly Tensor[]): boolean {
  return a.every(({ dtype }, i) => dtype === b[i]?.dtype);
}

/** Each group's parameters and settings; one group with the common `options` where parameters were given. */
function groupsOf<O>(
  optimizer: string,
  params: ParamGroups<O>,
  options: Readonly<Partial<O>>,
): readonly { readonly params: Iterable<Tensor>; readonly settings: Readonly<Partial<O>> }[] {
  if (typeof params !== "object" || params === null || !(Symbol.iterator in params)) {
    throw new OptionError(
      `${optimizer}: pass the parameters, as in new ${optimizer}(model.parameters(), { lr: 1e-3 }).`,
    );
  }
  const tensors: Tensor[] = [];
  const groups: ParamGroup<O>[] = [];
  for (const entry of params) {
    if (entry instanceof Tensor) tensors.push(entry);
    else groups.push(entry);
  }
  if (tensors.length > 0 && groups.length > 0) {
    throw new OptionError(`${optimizer}: pass either parameters or groups, not both.`);
  }
  if (groups.length === 0) return [{ params: tensors, settings: options }];
  return groups.map((group) => ({ params: group.params, settings: group }));
}

function checkParameters(optimizer: string, parameters: readonly Tensor[]): void {
  if (parameters.length === 0) throw new OptionError(`${optimizer}: there are no parameters to optimise.`);
  const seen = new Set<Tensor>();
  parameters.forEach((parameter, position) => {
    if (!(parameter instanceof Tensor)) {
      throw new OptionError(`${optimizer}: parameter ${position} is not a tensor.`);
    }
    if (seen.has(parameter)) throw new OptionError(`${optimizer}: parameter ${position} appears twice.`);
    if (!parameter.isLeaf || !(parameter.requiresGrad || parameter.isParameter)) {
      throw new OptionError(
        `${optimizer}: parameter ${position} of shape [${parameter.shape.join(", ")}] ` +
          (parameter.isLeaf ? "does not require a gradient. " : "is the result of an operation. ") +
          "Make it with parameter(tensor) or { requiresGrad: true }.",
      );
    }
    seen.add(parameter);
  });
}
