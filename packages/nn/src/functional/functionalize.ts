import {
  checkOptions,
  clone,
  detach,
  Generator,
  generator,
  noGrad,
  OptionError,
  parameter,
  ShapeError,
  type Tensor,
  withGenerator,
  zeros,
} from "@nf/core";
import { show } from "../check.ts";
import { Module } from "../module/module.ts";
import { INSPECT, outline } from "../module/outline.ts";
import { fillSlot } from "../module/slots.ts";
import { blankOf, copyModel, explainPrivate, type GeneratorPlace, Hole, type HolePlace } from "./blank.ts";

/** Parameters by dotted name: a tree that `valueAndGrad` and pure optimisers take. */
export type Params = Readonly<Record<string, Tensor>>;

/** Buffers by dotted name: running statistics and the like. */
export type State = Readonly<Record<string, Tensor>>;

/** What random numbers follow from, as `generator.next()` gives: a new one for each call that shall draw anew. */
export type Key = readonly [number, number];

/** The values of a model. */
export interface Variables {
  readonly params: Params;
  readonly state: State;
}

type Inputs<M extends Module> = Parameters<M["forward"]>;
type RestOf<T extends readonly unknown[]> = T extends readonly [unknown?, ...infer Rest] ? Rest : readonly [];

/** Options of {@link Structure.apply}. */
export interface ApplyOptions<M extends Module = Module> {
  /** Whether layers such as Dropout behave as in training; default false. */
  readonly training?: boolean;
  /**
   * Where all random numbers of the call come from: the same key gives the same bits. Without it they come from the
   * generators that layers were given, or the one that `manualSeed` seeds, and those move on.
   */
  readonly key?: Key;
  /** Further arguments of `forward`, for models that take several. */
  readonly moreInputs?: RestOf<Inputs<M>>;
}

/** What {@link functionalize} makes of a model. */
export interface Functional<M extends Module> extends Variables {
  readonly structure: Structure<M>;
}

/**
 * A model without its values: hyperparameters alone. {@link apply} reads nothing but its arguments and changes none of
 * them, so `valueAndGrad` can differentiate it. Made by {@link functionalize}.
 */
export class Structure<M extends Module = Module> {
  static {
    Object.defineProperty(Structure.prototype, INSPECT, {
      configurable: true,
      value(this: Structure): string {
        return String(this);
      },
    });
  }

  private readonly blank: M;
  private readonly places: readonly HolePlace[];
  private readonly generators: readonly GeneratorPlace[];
  private readonly holes: readonly Hole[];
  /** Names of classes that cannot make initial values for what they hold. */
  private readonly notResettable: readonly string[];

  /** @internal */
  constructor(model: M) {
    const { blank, places, generators } = blankOf(model);
    this.blank = blank.train(false);
    this.places = places;
    this.generators = generators;
    this.holes = [...new Set(places.map(({ hole }) => hole))];
    const owners = model.places().map(({ module }) => module);
    const silent = owners.filter((module) => module.resetParameters === Module.prototype.resetParameters);
    this.notResettable = [...new Set(silent.map((module) => module.constructor.name))];
  }

  /**
   * Fresh initial values, from each module's `resetParameters`; a module comes after its children.
   *
   * @param key what they follow from; default the next key of the generator that `manualSeed` seeds.
   * @throws OptionError for what is no key, and if a class in the model has parameters or buffers but no `resetParameters`.
   */
  init(key?: Key): Variables {
    const source = generatorOf("Structure.init", key ?? generator().next());
    if (this.notResettable.length > 0) {
      throw new OptionError(
        `Structure.init: ${this.notResettable.join(", ")} has parameters or buffers, but no resetParameters(generator) that ` +
          "gives them initial values. Add one, or start from the params that functionalize returned.",
      );
    }
    const values = new Map<string, Tensor>();
    for (const { name, shape, dtype } of this.holes) values.set(name, zeros(shape, { dtype }).keep());
    this.filled(values, () => {
      for (const module of bottomUp(this.blank)) module.resetParameters(source);
    });
    return this.split(values);
  }

  /**
   * Runs the model on given values.
   *
   * @param input what `forward` takes (its first argument).
   * @returns what `forward` returns, and the state after it: running statistics that a training pass updated.
   * @throws OptionError for missing or unknown names, ShapeError for a shape that is not the model's.
   */
  apply(
    variables: Variables,
    input: Inputs<M>[0],
    options: ApplyOptions<M> = {},
  ): [output: ReturnType<M["forward"]>, state: State] {
    checkOptions("Structure.apply", options, ["training", "key", "moreInputs"]);
    const { training = false, key, moreInputs = [] } = options;
    const source = key === undefined ? undefined : generatorOf("Structure.apply", key);
    const values = this.check(variables);
    // Layers write into their buffers when they train: into copies, so that the caller's stay as they were.
    if (training) {
      for (const { name, role } of this.holes) {
        if (role === "buffer") values.set(name, copyOf(values.get(name) as Tensor));
      }
    }
    if (this.blank.training !== training) this.blank.train(training);
    const run = (): unknown =>
      this.filled(values, () => Reflect.apply(this.blank.forward, this.blank, [input, ...moreInputs]));
    const output = source === undefined ? run() : this.drawingFrom(source, run);
    return [output as ReturnType<M["forward"]>, this.split(values).state];
  }

  /** A model with copies of the given values, in evaluation mode: the other way round of {@link functionalize}. */
  bind(variables: Variables): M {
    const values = this.check(variables);
    const copies = new Map<Hole, Tensor>();
    for (const hole of this.holes) copies.set(hole, heldBy(hole, copyOf(values.get(hole.name) as Tensor)));
    const model = copyModel(this.blank, (value) => (value instanceof Hole ? copies.get(value) : value));
    return model.eval();
  }

  /** The layers with what they were made of, as `console.log` shows them of a model. */
  toString(): string {
    return `Structure of ${outline(this.blank)}`;
  }

  /** Runs `fn` with the values in their places, which are holes again afterwards. */
  private filled<T>(values: ReadonlyMap<string, Tensor>, fn: () => T): T {
    for (const { holder, key, hole } of this.places) fillSlot({ holder, key }, values.get(hole.name));
    try {
      return fn();
    } catch (error) {
      throw explainPrivate(error);
    } finally {
      for (const { holder, key, hole } of this.places) fillSlot({ holder, key }, hole);
    }
  }

  /** Runs `fn` with one generator for all that it draws. */
  private drawingFrom<T>(source: Generator, fn: () => T): T {
    for (const place of this.generators) fillSlot(place, source);
    try {
      return withGenerator(source, fn);
    } finally {
      for (const place of this.generators) fillSlot(place, place.own);
    }
  }

  private split(values: ReadonlyMap<string, Tensor>): Variables {
    const pick = (role: Hole["role"]): Record<string, Tensor> =>
      Object.fromEntries(
        this.holes.flatMap((hole) =>
          hole.role === role ? [[hole.name, values.get(hole.name) as Tensor] as const] : [],
        ),
      );
    return { params: pick("parameter"), state: pick("buffer") };
  }

  private check(variables: Variables): Map<string, Tensor> {
    const { params, state } = (variables ?? {}) as Partial<Variables>;
    if (!isTree(params) || !isTree(state)) {
      const got = isTree(variables) ? `{ ${Object.keys(variables).join(", ")} }` : show(variables);
      throw new OptionError(
        `Structure: expected { params, state }, as functionalize and init give them, got ${got}.`,
      );
    }
    const values = new Map<string, Tensor>();
    for (const { name, role, shape } of this.holes) {
      const [group, tree] = role === "parameter" ? ["params", params] : ["state", state];
      const value = Object.hasOwn(tree, name) ? tree[name] : undefined;
      if (value === undefined) {
        throw new OptionError(`Structure: ${group} has no "${name}". Pass what functionalize or init gave.`);
      }
      if (value.shape.length !== shape.length || value.shape.some((size, axis) => size !== shape[axis])) {
        throw new ShapeError(
          `Structure: ${group} "${name}" must have shape [${shape.join(", ")}], got [${value.shape.join(", ")}].`,
        );
      }
      values.set(name, value);
    }
    const unknown = [...Object.keys(params), ...Object.keys(state)].filter((name) => !values.has(name));
    if (unknown.length > 0) throw new OptionError(`Structure: the model has no ${unknown.join(", ")}.`);
    return values;
  }
}

/** Whether something has values by name. */
function isTree(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** A module and all below it, each once and behind its children: what a module gives to a child's tensors holds. */
function bottomUp(module: Module, seen = new Set<Module>()): Set<Module> {
  for (const child of module.children()) if (!seen.has(child)) bottomUp(child, seen);
  return seen.add(module);
}

/** The generator that begins with a key. */
function generatorOf(caller: string, key: Key): Generator {
  const isKey = Array.isArray(key) && key.length === 2 && key.every((word) => Number.isInteger(word));
  if (!isKey) {
    throw new OptionError(
      `${caller}: key must be two whole numbers, as new Generator(seed).next() gives, got ${show(key)}.`,
    );
  }
  const source = new Generator(0);
  source.setState({ key, counter: 0 });
  return source;
}

function copyOf(value: Tensor): Tensor {
  return noGrad(() => clone(value));
}

/** Makes a tensor what the hole stands for: a parameter or a buffer that lives on. */
function heldBy(hole: Hole, value: Tensor): Tensor {
  if (hole.role === "buffer") return value.keep();
  parameter(value).requiresGrad = hole.requiresGrad;
  return value;
}

/**
 * Takes a model apart: `structure` without values, and its values as trees: tensors over the same memory, which do
 * not collect gradients. The model stays as it is; an optimiser that writes into it writes into them too. Modules must
 * keep what they need in ordinary properties and methods: `#private` fields and functions bound to an object cannot
 * be copied.
 *
 * @example
 * ```ts no-run
 * import { crossEntropy, type Tensor, valueAndGrad } from "@nf/core";
 * import { functionalize, Linear, type Params } from "@nf/nn";
 *
 * const { structure, params, state } = functionalize(new Linear(2, 3));
 * const step = valueAndGrad((weights: Params, x: Tensor, y: Tensor) => {
 *   const [logits] = structure.apply({ params: weights, state }, x, { training: true });
 *   return crossEntropy(logits, y);
 * });
 * ```
 */
export function functionalize<M extends Module>(model: M): Functional<M> {
  if (!(model instanceof Module))
    throw new OptionError(`functionalize: expected a module, got ${show(model)}.`);
  return {
    structure: new Structure(model),
    params: detached(model.namedParameters()),
    state: detached(model.namedBuffers()),
  };
}

/** Plain tensors over the same memory. Gradients of pure functions are asked for explicitly, not collected by leaves. */
function detached(named: ReturnType<Module["namedParameters"]>): Record<string, Tensor> {
  return Object.fromEntries(named.map(([name, tensor]) => [name, detach(tensor).keep()]));
}
