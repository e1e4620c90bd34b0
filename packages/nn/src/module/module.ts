import { type Backend, checkOptions, type Generator, moveTo, OptionError, Tensor, zeroGrad } from "@nf/core";
import { checkInput, show } from "../check.ts";
import { addHook, type ForwardHook, type ForwardPreHook } from "./hooks.ts";
import { INSPECT, outline } from "./outline.ts";
import { type NamePattern, selected } from "./patterns.ts";
import { type Slot, slotsOf } from "./slots.ts";
import { copyState, type LoadOptions, type LoadReport, type StateDict } from "./state-dict.ts";

/** Options of {@link Module.registerBuffer}. */
export interface BufferOptions {
  /** Whether the buffer is part of the state dict; default true. */
  readonly persistent?: boolean;
}

/**
 * Base class of everything with parameters. Assign tensors and modules to ordinary properties (or to arrays and plain
 * objects in them) and the module finds them: leaves made by `parameter` or requiring a gradient are parameters (with
 * `requiresGrad = false` they are frozen, and still parameters), tensors given to
 * {@link Module.registerBuffer} are buffers, modules are children. Names are PyTorch's: properties joined by dots.
 * Properties that are private in JavaScript (`#weight`) are out of its reach.
 *
 * @example
 * ```ts no-run
 * import { relu, type Tensor } from "@nf/core";
 * import { Linear, Module } from "@nf/nn";
 *
 * class Perceptron extends Module {
 *   readonly hidden = new Linear(784, 128);
 *   readonly out = new Linear(128, 10);
 *   forward(x: Tensor): Tensor {
 *     return this.out.forward(relu(this.hidden.forward(x)));
 *   }
 * }
 * ```
 */
export abstract class Module {
  static {
    // `console.log(model)` shows the layers, as PyTorch's print does, and not the numbers in them.
    Object.defineProperty(Module.prototype, INSPECT, {
      configurable: true,
      value(this: Module): string {
        return outline(this);
      },
    });
  }

  /** Whether layers such as Dropout behave as in training. Change it with {@link train} and {@link eval}. */
  training = true;
  /** @internal Names of registered buffers, and whether each is part of the state dict. */
  readonly bufferNames: Record<string, boolean> = {};

  /** Computes the result. Layers take one tensor; other modules take what they like. */
  abstract forward(...inputs: never[]): unknown;

  /**
   * Draws new initial values for the parameters of this module (not those of its children). A class with parameters
   * or buffers of its own overrides it; {@link functionalize} needs it to make fresh parameters.
   */
  resetParameters(_generator?: Generator): void {}

  /**
   * Makes a tensor part of the state that is saved and moved, but not trained. Assign the result to the property of
   * that name: `this.runningMean = this.registerBuffer("runningMean", zeros([channels]))`.
   */
  registerBuffer(name: string, buffer: Tensor, options: BufferOptions = {}): Tensor {
    checkOptions("registerBuffer", options, ["persistent"]);
    checkInput(`registerBuffer "${name}"`, buffer);
    if (buffer.requiresGrad || buffer.isParameter) {
      throw new OptionError(
        `registerBuffer: "${name}" is a parameter, or requires a gradient. Pass a detached tensor.`,
      );
    }
    this.bufferNames[name] = options.persistent ?? true;
    Reflect.set(this, name, buffer);
    return buffer.keep();
  }

  /** Parameters with their dotted names, depth first; a shared one appears once, under its first name. */
  namedParameters(): readonly (readonly [name: string, parameter: Tensor])[] {
    return once(this.places().filter((place) => place.role === "parameter"));
  }

  /** Parameters, in the order of {@link namedParameters}. */
  parameters(): readonly Tensor[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  /** Buffers with their dotted names. */
  namedBuffers(): readonly (readonly [name: string, buffer: Tensor])[] {
    return once(this.places().filter((place) => place.role === "buffer"));
  }

  /** Buffers, in the order of {@link namedBuffers}. */
  buffers(): readonly Tensor[] {
    return this.namedBuffers().map(([, buffer]) => buffer);
  }

  /** Direct submodules with their names; a shared one appears once. */
  namedChildren(): readonly (readonly [name: string, child: Module])[] {
    const seen = new Set<Module>();
    return this.slots().flatMap(({ name, value }) => {
      if (value instanceof Tensor || seen.has(value)) return [];
      seen.add(value);
      return [[name, value] as const];
    });
  }

  /** Direct submodules. */
  children(): readonly Module[] {
    return this.namedChildren().map(([, child]) => child);
  }

  /** This module (under the empty name) and all below it with their dotted names; a shared one appears once. */
  namedModules(): readonly (readonly [name: string, module: Module])[] {
    const found = new Map<Module, string>();
    const visit = (module: Module, name: string): void => {
      if (found.has(module)) return;
      found.set(module, name);
      for (const [key, child] of module.namedChildren()) visit(child, name === "" ? key : `${name}.${key}`);
    };
    visit(this, "");
    return [...found].map(([module, name]) => [name, module] as const);
  }

  /** This module and all below it. */
  modules(): readonly Module[] {
    return this.namedModules().map(([, module]) => module);
  }

  /**
   * Switches this module and all below it to training mode (or, with false, to evaluation).
   *
   * @throws OptionError for a mode that is neither true nor false.
   */
  train(mode = true): this {
    if (typeof mode !== "boolean")
      throw new OptionError(`${this.constructor.name} train: mode must be true or false, got ${show(mode)}.`);
    for (const module of this.modules()) module.training = mode;
    return this;
  }

  /** Switches this module and all below it to evaluation mode. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Freezes parameters: they get no gradient, and optimisers leave them where they are. Without patterns, all of them.
   *
   * @param patterns names, subtrees (`encoder`), names with `*`, or regular expressions.
   * @throws OptionError for a pattern that means no parameter.
   *
   * @example
   * ```ts no-run
   * import { Linear, sequential } from "@nf/nn";
   *
   * const model = sequential(new Linear(8, 8), new Linear(8, 2));
   * model.freeze("0"); // the first layer
   * model.unfreeze("0.bias");
   * ```
   */
  freeze(...patterns: readonly NamePattern[]): this {
    return this.switchGradients("freeze", patterns, false);
  }

  /** Thaws parameters that {@link freeze} froze. Without patterns, all of them. */
  unfreeze(...patterns: readonly NamePattern[]): this {
    return this.switchGradients("unfreeze", patterns, true);
  }

  private switchGradients(method: string, patterns: readonly NamePattern[], wanted: boolean): this {
    const named = this.namedParameters();
    const chosen =
      patterns.length === 0 ? named : selected(`${this.constructor.name} ${method}`, named, patterns);
    for (const [, parameter] of chosen) parameter.requiresGrad = wanted;
    return this;
  }

  /**
   * Calls a function with the inputs of each `forward` of this module, before it. What it returns, an array of inputs, takes
   * their place. A copy that `functionalize` makes has no hooks.
   *
   * @returns what removes the hook.
   */
  registerForwardPreHook<M extends Module>(this: M, hook: ForwardPreHook<M>): () => void {
    return addHook(this, "before", hook);
  }

  /**
   * Calls a function with the inputs and the result of each `forward` of this module. What it returns takes the result's place.
   * For gradients, call `output.registerHook(…)` in it.
   *
   * @returns what removes the hook.
   *
   * @example
   * ```ts no-run
   * import { Linear } from "@nf/nn";
   *
   * const layer = new Linear(2, 1);
   * const remove = layer.registerForwardHook((module, [input], output) => {
   *   console.log(String(module), input.shape, output.shape);
   *   output.registerHook((gradient) => gradient.mul(0.5)); // halves what flows back
   *   return undefined;
   * });
   * remove();
   * ```
   */
  registerForwardHook<M extends Module>(this: M, hook: ForwardHook<M>): () => void {
    return addHook(this, "after", hook);
  }

  /** Forgets the gradients of all parameters, and ends what the last backward left readable. */
  zeroGrad(): void {
    zeroGrad(this.parameters());
  }

  /** Parameters and persistent buffers by dotted name. The tensors are the module's own, not copies. */
  stateDict(): StateDict {
    const persistent = this.places().filter((place) => place.role === "parameter" || place.persistent);
    return Object.fromEntries(persistent.map(({ name, value }) => [name, value]));
  }

  /**
   * Copies values into the parameters and persistent buffers, converting dtypes.
   *
   * @throws StateDictError listing all missing and unexpected names, all values that are no tensors and all shapes that
   * differ; nothing is loaded then.
   */
  loadStateDict(dict: StateDict, options: LoadOptions = {}): LoadReport {
    checkOptions("loadStateDict", options, ["strict"]);
    return copyState(this.typeName(), this.stateDict(), dict, options);
  }

  /**
   * Moves parameters, buffers and gradients to another backend, in place: an optimiser made before goes on working.
   *
   * @example
   * ```ts no-run
   * import { currentBackend } from "@nf/core";
   * import { Linear } from "@nf/nn";
   *
   * const model = await new Linear(2, 1).to(currentBackend());
   * ```
   */
  async to(backend: Backend): Promise<this> {
    const tensors = new Set(this.places().map((place) => place.value));
    for (const tensor of tensors) await moveTo(tensor, backend);
    return this;
  }

  /**
   * Ends the parameters, buffers and gradients of this module and all below it, so that their memory can be used again.
   * A model that shares parameters with another one ends them for both. Nothing can be computed with it afterwards.
   *
   * @example
   * ```ts no-run
   * import { Linear } from "@nf/nn";
   *
   * for (const width of [16, 32, 64]) {
   *   const model = new Linear(8, width);
   *   // …
   *   model.dispose();
   * }
   * ```
   */
  dispose(): void {
    this.zeroGrad();
    for (const { value } of this.places()) value.dispose();
  }

  /** Ends it with a `using` declaration. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The layer with what it was made of: `Linear(256, 120)`. Used in messages. */
  toString(): string {
    return `${this.typeName()}(${this.describe()})`;
  }

  /** @internal What tables and messages call it: its class, unless it has a name of its own. */
  typeName(): string {
    return this.constructor.name;
  }

  /** The arguments that {@link toString} shows. */
  protected describe(): string {
    return "";
  }

  /** @internal Where tensors and submodules of this module lie. Containers that name them otherwise override it. */
  slots(): readonly Slot<Module>[] {
    return slotsOf(this, isModule);
  }

  /** @internal Where the parameters and buffers of this module and all below it lie, shared ones at each place. */
  places(): readonly Place[] {
    const found: Place[] = [];
    const path = new Set<Module>();
    const visit = (module: Module, prefix: string): void => {
      if (path.has(module)) return;
      path.add(module);
      const slots = module.slots();
      for (const slot of slots) {
        const place = slot.value instanceof Tensor ? placeOf(module, slot, slot.value, prefix) : undefined;
        if (place !== undefined) found.push(place);
      }
      for (const { name, value } of slots) if (!(value instanceof Tensor)) visit(value, `${prefix}${name}.`);
      path.delete(module);
    };
    visit(this, "");
    return found;
  }
}

/** @internal A place in a module tree that holds a parameter or a buffer. */
export interface Place {
  /** Dotted name from the root. */
  readonly name: string;
  /** The module it belongs to. */
  readonly module: Module;
  readonly role: "parameter" | "buffer";
  /** For buffers: whether it is part of the state dict. */
  readonly persistent: boolean;
  readonly holder: object;
  readonly key: string;
  readonly value: Tensor;
}

function placeOf(module: Module, slot: Slot<Module>, value: Tensor, prefix: string): Place | undefined {
  const { holder, key } = slot;
  const name = prefix + slot.name;
  const persistent = Object.hasOwn(module.bufferNames, slot.name) ? module.bufferNames[slot.name] : undefined;
  if (persistent !== undefined) return { name, module, role: "buffer", persistent, holder, key, value };
  if (value.isLeaf && (value.isParameter || value.requiresGrad))
    return { name, module, role: "parameter", persistent: true, holder, key, value };
  return undefined;
}

function isModule(value: unknown): value is Module {
  return value instanceof Module;
}

/** Name and tensor of each place, a tensor only at its first. */
function once(places: readonly Place[]): readonly (readonly [string, Tensor])[] {
  const names = new Map<Tensor, string>();
  for (const { name, value } of places) if (!names.has(value)) names.set(value, name);
  return [...names].map(([tensor, name]) => [name, tensor] as const);
}
