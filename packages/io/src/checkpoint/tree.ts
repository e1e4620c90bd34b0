import { OptionError, Tensor } from "@nf/core";

/**
 * What a checkpoint holds: tensors, numbers, texts, flags and null, in arrays and plain objects at any depth. Numbers come
 * back to the bit, NaN and the infinities among them.
 */
export type CheckpointTree =
  | null
  | boolean
  | number
  | string
  | undefined
  | Tensor
  | readonly CheckpointTree[]
  | { readonly [key: string]: CheckpointTree };

/** Deepest nesting; a tree that holds itself is found by it. */
const DEEPEST = 50;

/** Takes trees apart: JSON on one side, tensors by name on the other. */
export class TreeEncoder {
  /** Tensors by the name they get in the file. */
  readonly tensors: Map<string, Tensor> = new Map();
  readonly #names = new Map<Tensor, string>();
  readonly #op: string;

  constructor(op: string) {
    this.#op = op;
  }

  /**
   * A tree as JSON, its tensors replaced by `{ "$tensor": name }`.
   *
   * @param path where it is, for names and messages
   * @throws OptionError naming the place of what cannot be kept
   */
  encode(value: unknown, path: string, depth = 0): unknown {
    if (value instanceof Tensor) return { $tensor: this.#nameOf(value, path) };
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value === "number")
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $number: Object.is(value, -0) ? "-0" : String(value) };
    if (depth > DEEPEST) throw this.#refusal(path, `is nested deeper than ${DEEPEST} levels`);
    if (Array.isArray(value)) return value.map((one, i) => this.encode(one, `${path}.${i}`, depth + 1));
    if (!isPlain(value)) throw this.#refusal(path, `is ${nameOf(value)}`);
    const entries = Object.entries(value).filter(([, one]) => one !== undefined);
    return Object.fromEntries(
      entries.map(([key, one]) => [
        key.startsWith("$") ? `$${key}` : key,
        this.encode(one, `${path}.${key}`, depth + 1),
      ]),
    );
  }

  #refusal(path: string, what: string): OptionError {
    return new OptionError(
      `${this.#op}: ${path} ${what}, which a checkpoint does not hold. It takes tensors, numbers, texts, true, false and ` +
        "null, in arrays and plain objects.",
    );
  }

  /** A tensor in two places is stored once. */
  #nameOf(tensor: Tensor, path: string): string {
    const known = this.#names.get(tensor);
    if (known !== undefined) return known;
    let name = path;
    for (let i = 2; this.tensors.has(name); i++) name = `${path}~${i}`;
    this.tensors.set(name, tensor);
    this.#names.set(tensor, name);
    return name;
  }
}

/** Names of the tensors that encoded JSON refers to. */
export function tensorsIn(json: unknown, found: Set<string> = new Set()): ReadonlySet<string> {
  if (Array.isArray(json)) for (const one of json) tensorsIn(one, found);
  else if (isPlain(json)) {
    const name = marked(json, "$tensor");
    if (name !== undefined) found.add(name);
    else for (const one of Object.values(json)) tensorsIn(one, found);
  }
  return found;
}

/** The tree that was encoded; `tensor` gives those that it refers to. */
export function decodeTree(json: unknown, tensor: (name: string) => Tensor): unknown {
  if (Array.isArray(json)) return json.map((one) => decodeTree(one, tensor));
  if (!isPlain(json)) return json;
  const name = marked(json, "$tensor");
  if (name !== undefined) return tensor(name);
  const number = marked(json, "$number");
  if (number !== undefined) return Number(number);
  return Object.fromEntries(
    Object.entries(json).map(([key, one]) => [
      key.startsWith("$$") ? key.slice(1) : key,
      decodeTree(one, tensor),
    ]),
  );
}

function marked(json: Readonly<Record<string, unknown>>, marker: string): string | undefined {
  const value = Object.hasOwn(json, marker) ? json[marker] : undefined;
  return typeof value === "string" ? value : undefined;
}

/** An object that is no instance of a class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function nameOf(value: unknown): string {
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "object"}`;
  return value === undefined ? "undefined" : `a ${typeof value}`;
}
