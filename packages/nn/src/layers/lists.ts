import { IndexError, OptionError } from "@nf/core";
import { show } from "../check.ts";
import { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { checkName } from "./child-names.ts";

function checkModule(container: string, place: string | number, value: unknown): void {
  if (!(value instanceof Module))
    throw new OptionError(`${container}: ${place} must be a module, got ${show(value)}.`);
}

/**
 * Modules by number, for a `forward` of your own. Parameters are named by position: `0.weight`. A plain array in a
 * property of a module does as well; its parameters have the property's name in front either way.
 */
export class ModuleList<M extends Module = Module> extends Module {
  private readonly items: M[] = [];

  /** @throws OptionError for what is no module. */
  constructor(modules: Iterable<M> = []) {
    super();
    this.extend(modules);
  }

  /** Number of modules. */
  get length(): number {
    return this.items.length;
  }

  /** The module at a position; negative ones count from the end. @throws IndexError where there is none. */
  at(position: number): M {
    const found = this.items.at(position);
    if (found === undefined)
      throw new IndexError(`ModuleList: there is no module ${position} among ${this.items.length}.`);
    return found;
  }

  /** Puts a module at the end. */
  append(module: M): this {
    return this.extend([module]);
  }

  /** Puts modules at the end. */
  extend(modules: Iterable<M>): this {
    for (const module of modules) {
      checkModule("ModuleList", `module ${this.items.length}`, module);
      this.items.push(module);
    }
    return this;
  }

  [Symbol.iterator](): Iterator<M> {
    return this.items[Symbol.iterator]();
  }

  /** A list has no order of computation. @throws OptionError */
  override forward(): never {
    throw new OptionError("ModuleList: has no forward. Go through its modules, or use sequential(…).");
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return super.slots().map((slot) => ({ ...slot, name: slot.name.replace(/^items\./, "") }));
  }
}

/** Modules by name, for a `forward` of your own. Parameters are named `<name>.weight`. */
export class ModuleDict<
  R extends Readonly<Record<string, Module>> = Readonly<Record<string, Module>>,
> extends Module {
  private readonly items: Record<string, Module> = Object.create(null);

  /** @throws OptionError for what is no module, and for a name that is empty or has a dot in it. */
  constructor(modules?: R) {
    super();
    for (const [name, module] of Object.entries(modules ?? {})) this.put(name, module);
  }

  /** Number of modules. */
  get size(): number {
    return Object.keys(this.items).length;
  }

  /** The module of a name. @throws OptionError where there is none. */
  get<K extends keyof R & string>(name: K): R[K] {
    if (!this.has(name)) {
      const known = Object.keys(this.items);
      throw new OptionError(
        `ModuleDict: there is no module "${name}". ${known.length === 0 ? "It is empty." : `It has ${known.join(", ")}.`}`,
      );
    }
    return this.items[name] as R[K];
  }

  /** Puts a module under a name, in the place of one that was there. */
  set<K extends keyof R & string>(name: K, module: R[K]): this {
    return this.put(name, module);
  }

  /** Whether there is a module of that name. */
  has(name: string): boolean {
    return Object.hasOwn(this.items, name);
  }

  /** Names, in the order they came. */
  keys(): readonly string[] {
    return Object.keys(this.items);
  }

  /** Modules, in the order they came. */
  values(): readonly R[keyof R][] {
    return Object.values(this.items) as R[keyof R][];
  }

  /** Names with their modules, in the order they came. */
  entries(): readonly (readonly [name: string, module: R[keyof R]])[] {
    return Object.entries(this.items) as [string, R[keyof R]][];
  }

  /** A dictionary has no order of computation. @throws OptionError */
  override forward(): never {
    throw new OptionError("ModuleDict: has no forward. Take its modules by name: get(…).");
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return super.slots().map((slot) => ({ ...slot, name: slot.name.replace(/^items\./, "") }));
  }

  private put(name: string, module: Module): this {
    checkName("ModuleDict", name);
    checkModule("ModuleDict", `"${name}"`, module);
    this.items[name] = module;
    return this;
  }
}
