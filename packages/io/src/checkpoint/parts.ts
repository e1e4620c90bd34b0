import {
  type Backend,
  Generator,
  type GeneratorState,
  OptionError,
  type Tensor,
  visitTensors,
} from "@nf/core";
import { isPlain, type TreeEncoder } from "./tree.ts";

/** A model, an optimiser, a schedule, an average of weights: what gives its state and takes it back by copying. */
export interface HasStateDict {
  stateDict(): object;
  loadStateDict(state: never): unknown;
}

/** A DataLoader, a random generator: what stands somewhere. */
export interface HasState {
  state(): object;
  setState(state: never): unknown;
}

/** A part of a checkpoint: anything that can say where it stands, and go on from there. */
export type CheckpointPart = HasStateDict | HasState;

/** Parts by names of your choice: letters, digits, `_` and `-`. */
export type CheckpointParts = Readonly<Record<string, CheckpointPart>>;

/** @throws OptionError for a name that is none, or a part without state */
export function checkParts(op: string, parts: CheckpointParts): void {
  if (typeof parts !== "object" || parts === null)
    throw new OptionError(`${op}: expected an object like { model, optimizer }, got ${String(parts)}.`);
  for (const [name, part] of Object.entries(parts)) {
    if (!/^[A-Za-z][\w-]*$/.test(name))
      throw new OptionError(
        `${op}: ${JSON.stringify(name)} cannot name a part: use letters, digits, _ and -.`,
      );
    if (!hasStateDict(part) && !hasState(part)) {
      throw new OptionError(
        `${op}: ${name} must have stateDict() and loadStateDict(), or state() and setState(), as models, optimisers, ` +
          `schedules, loaders and generators do; got ${typeof part}. Plain values go into extra.`,
      );
    }
  }
}

/** The state of a part as JSON, its tensors handed to the encoder. */
export function takePart(encoder: TreeEncoder, name: string, part: CheckpointPart): unknown {
  const state = hasStateDict(part) ? part.stateDict() : part.state();
  const generators = Object.fromEntries(
    [...ownGenerators(part)].map(([place, generator]) => [place, generator.state()]),
  );
  const own = Object.keys(generators).length > 0 && { generators: encoder.encode(generators, name) };
  return { state: encoder.encode(state, name), ...own };
}

/** What {@link takePart} gave, decoded. */
export interface TakenPart {
  readonly state: unknown;
  readonly generators?: Readonly<Record<string, GeneratorState>>;
}

/** Puts a part where it was. */
export function restorePart(op: string, name: string, part: CheckpointPart, taken: TakenPart): void {
  const own = ownGenerators(part);
  const saved = Object.entries(taken.generators ?? {});
  const [missing, surplus] = [
    [...own.keys()].filter((place) => !Object.hasOwn(taken.generators ?? {}, place)),
    saved.map(([place]) => place).filter((place) => !own.has(place)),
  ];
  if (missing.length + surplus.length > 0) {
    throw new OptionError(
      `${op}: random generators of ${name} are not those that were saved. Missing in the file: ${missing.join(", ") || "none"}; ` +
        `in the file only: ${surplus.join(", ") || "none"}. Build it as it was when it was saved.`,
    );
  }
  if (hasStateDict(part)) part.loadStateDict(taken.state as never);
  else part.setState(taken.state as never);
  for (const [place, state] of saved) own.get(place)?.setState(state);
}

/** Where the tensors of a part live: where the first one does. */
export function backendOf(part: CheckpointPart): Backend | undefined {
  let first: Tensor | undefined;
  const note = (tensor: Tensor): void => {
    first ??= tensor;
  };
  if ("parameters" in part && typeof part.parameters === "function") {
    const parameters: unknown = part.parameters();
    visitTensors(parameters, note);
  }
  if (first === undefined && hasStateDict(part)) visitTensors(part.stateDict(), note);
  return first?.backend;
}

/** Generators that modules of a model keep for themselves, as a Dropout may, by where they are. */
function ownGenerators(part: CheckpointPart): ReadonlyMap<string, Generator> {
  const found = new Map<string, Generator>();
  if (!("namedModules" in part) || typeof part.namedModules !== "function") return found;
  const modules: unknown = part.namedModules();
  if (!Array.isArray(modules)) return found;
  for (const [path, module] of modules as readonly (readonly [string, object])[]) {
    for (const [key, value] of Object.entries(module))
      noteGenerators(found, path === "" ? key : `${path}.${key}`, value);
  }
  return found;
}

/** Deepest nesting of arrays and objects in which generators are looked for. */
const DEEPEST = 8;

/** Notes a generator, and those in arrays and plain objects. */
function noteGenerators(found: Map<string, Generator>, place: string, value: unknown, depth = 0): void {
  if (value instanceof Generator) found.set(place, value);
  else if (depth < DEEPEST && (Array.isArray(value) || isPlain(value)))
    for (const [key, one] of Object.entries(value)) noteGenerators(found, `${place}.${key}`, one, depth + 1);
}

function hasStateDict(part: unknown): part is HasStateDict {
  return has(part, "stateDict") && has(part, "loadStateDict");
}

function hasState(part: unknown): part is HasState {
  return has(part, "state") && has(part, "setState");
}

function has(part: unknown, method: string): boolean {
  return (
    typeof part === "object" &&
    part !== null &&
    method in part &&
    typeof Reflect.get(part, method) === "function"
  );
}
