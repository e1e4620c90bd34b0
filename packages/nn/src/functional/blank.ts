import { type DType, Generator, OptionError, type Tensor } from "@nf/core";
import { Module } from "../module/module.ts";
import { isPlainObject } from "../module/slots.ts";

/** Stands in a model for a parameter or buffer whose value lives elsewhere. A shared tensor is one hole in two places. */
export class Hole {
  /** First dotted name. */
  readonly name: string;
  readonly role: "parameter" | "buffer";
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** False for buffers, and for parameters that were frozen. */
  readonly requiresGrad: boolean;

  constructor(name: string, role: "parameter" | "buffer", { shape, dtype, requiresGrad }: Tensor) {
    this.name = name;
    this.role = role;
    this.shape = shape;
    this.dtype = dtype;
    this.requiresGrad = requiresGrad;
  }
}

/** Where a hole is. */
export interface HolePlace {
  readonly holder: object;
  readonly key: string;
  readonly hole: Hole;
}

/** Where a module keeps a generator of its own. */
export interface GeneratorPlace {
  readonly holder: object;
  readonly key: string;
  readonly own: Generator;
}

/** A model without values. */
export interface Blank<M extends Module> {
  readonly blank: M;
  readonly places: readonly HolePlace[];
  readonly generators: readonly GeneratorPlace[];
}

/** A copy of a model with a hole in the place of each parameter and buffer. */
export function blankOf<M extends Module>(model: M): Blank<M> {
  const holes = new Map<unknown, Hole>();
  for (const { name, role, value } of model.places()) {
    if (!holes.has(value)) holes.set(value, new Hole(name, role, value));
  }
  const places: HolePlace[] = [];
  const generators: GeneratorPlace[] = [];
  const blank = copyModel(model, (value, holder, key) => {
    if (value instanceof Generator) generators.push({ holder, key, own: value });
    const hole = holes.get(value);
    if (hole === undefined) return value;
    places.push({ holder, key, hole });
    return hole;
  });
  return { blank, places, generators };
}

/** What to put into a copy in the place of a value that is no module and no container. */
type Replace = (value: unknown, holder: object, key: string) => unknown;

/**
 * A copy of a module tree: modules, and the arrays and plain objects in them, are new; everything else is `replace`d.
 * @throws OptionError for a module with functions as properties, which would go on referring to the original.
 */
export function copyModel<M extends Module>(model: M, replace: Replace): M {
  const copies = new Map<object, object>();
  const copy = (value: unknown, holder: object, key: string): unknown => {
    if (!(value instanceof Module || Array.isArray(value) || isPlainObject(value)))
      return replace(value, holder, key);
    return copies.get(value) ?? copyObject(value);
  };
  const copyObject = (original: object): object => {
    const fresh: object = Array.isArray(original) ? [] : Object.create(Object.getPrototypeOf(original));
    copies.set(original, fresh);
    const entries: [string, unknown][] = Object.entries(original);
    for (const [key, value] of entries) {
      if (typeof value === "function" && original instanceof Module) throw boundFunction(original, key);
      Reflect.set(fresh, key, copy(value, fresh, key));
    }
    return fresh;
  };
  return copyObject(model) as M;
}

function boundFunction(module: Module, key: string): OptionError {
  return new OptionError(
    `functionalize: property "${key}" of ${module.constructor.name} is a function. It may refer to the module it was made ` +
      "for, and would not see the parameters it is applied to. Make it a method.",
  );
}

/** @throws OptionError saying that classes with `#private` fields cannot be copied, if that is what `error` is about. */
export function explainPrivate(error: unknown): unknown {
  if (!(error instanceof TypeError && /private/.test(error.message))) return error;
  return new OptionError(
    `functionalize: a class in the model has #private fields, which JavaScript cannot copy (${error.message}). ` +
      "Use TypeScript's `private` instead.",
  );
}
