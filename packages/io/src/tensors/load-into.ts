import { assign, checkOptions, NanoFluxError, noGrad, type Tensor } from "@nf/core";
import type { WeightFile } from "../weight-file.ts";
import { isReadable } from "./decode.ts";
import { toTensor } from "./to-tensor.ts";

/** What has tensors by name: every `Module` of `@nf/nn`. */
export interface Loadable {
  stateDict(): Readonly<Record<string, Tensor>>;
}

/** Options of {@link loadInto}. */
export interface LoadIntoOptions {
  /** Refuse missing and unexpected names; default true. Shapes that differ are always refused. */
  readonly strict?: boolean;
  /**
   * The model's name for a name in the file; undefined leaves the tensor out, and it is not unexpected then. Default:
   * the same name.
   */
  readonly rename?: (name: string) => string | undefined;
  /** Called after each tensor with the bytes read so far and in all. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** How far {@link loadInto} is. */
export interface LoadProgress {
  /** Name in the model of the tensor that was loaded last. */
  readonly name: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/** Names that did not meet when weights were loaded with `strict: false`. */
export interface LoadIntoReport {
  /** In the model, not in the file. */
  readonly missing: readonly string[];
  /** In the file, not in the model. */
  readonly unexpected: readonly string[];
}

/** A tensor whose shape in the file is not the model's. */
export interface WeightMismatch {
  readonly name: string;
  readonly expected: readonly number[];
  readonly received: readonly number[];
}

/** Weights that do not fit a model (`NF_DATA`); lists everything that is wrong with them. Nothing was loaded. */
export class WeightsMismatchError extends NanoFluxError {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly mismatched: readonly WeightMismatch[];
  /** Tensors stored in a format that has no values here, as `name (format)`. */
  readonly unreadable: readonly string[];
  /** Names in the model that several names in the file stand for, as `name (from one, another)`. */
  readonly repeated: readonly string[];

  constructor(message: string, lists: Lists) {
    super("NF_DATA", message);
    this.missing = lists.missing;
    this.unexpected = lists.unexpected;
    this.mismatched = lists.mismatched;
    this.unreadable = lists.unreadable;
    this.repeated = lists.repeated;
  }
}

interface Lists extends LoadIntoReport {
  readonly mismatched: readonly WeightMismatch[];
  readonly unreadable: readonly string[];
  readonly repeated: readonly string[];
}

/**
 * Loads the tensors of a file into a model's parameters and buffers, converted to their dtypes, one at a time: beside
 * the model, memory for one tensor is needed. Everything is checked before the first byte is read. A tensor that the
 * model has under two names (tied weights) needs to be in the file under one. Two names in the file that stand for one
 * name in the model are refused, with `strict: false` too: there is no telling which is meant.
 *
 * @throws WeightsMismatchError listing all missing, unexpected and repeated names and all shapes that differ; its message
 * names the first of long lists.
 */
export async function loadInto(
  model: Loadable,
  file: WeightFile,
  options: LoadIntoOptions = {},
): Promise<LoadIntoReport> {
  checkOptions("loadInto", options, ["strict", "rename", "onProgress"]);
  const { strict = true, rename = (name: string) => name, onProgress } = options;
  const targets = model.stateDict();
  const pairs: { readonly from: string; readonly to: string; readonly target: Tensor }[] = [];
  const unexpected: string[] = [];
  for (const from of file.tensors.keys()) {
    const to = rename(from);
    const target = to !== undefined && Object.hasOwn(targets, to) ? targets[to] : undefined;
    if (to !== undefined && target !== undefined) pairs.push({ from, to, target });
    else if (to !== undefined) unexpected.push(from);
  }
  const covered = new Set(pairs.map(({ target }) => target));
  const sources = new Map<string, string[]>();
  for (const { from, to } of pairs) sources.set(to, [...(sources.get(to) ?? []), from]);
  const lists: Lists = {
    missing: Object.entries(targets).flatMap(([name, target]) => (covered.has(target) ? [] : [name])),
    unexpected,
    mismatched: pairs.flatMap(({ from, to, target }) => {
      const received = file.tensors.get(from)?.shape ?? [];
      return sameShape(target.shape, received) ? [] : [{ name: to, expected: target.shape, received }];
    }),
    unreadable: pairs.flatMap(({ from }) => {
      const dtype = file.tensors.get(from)?.dtype;
      return dtype === undefined || isReadable(dtype) ? [] : [`${from} (${dtype})`];
    }),
    repeated: [...sources].flatMap(([to, from]) =>
      from.length > 1 ? [`${to} (from ${from.join(", ")})`] : [],
    ),
  };
  const names = strict ? lists.missing.length + lists.unexpected.length : 0;
  if (names + lists.mismatched.length + lists.unreadable.length + lists.repeated.length > 0)
    throw new WeightsMismatchError(describe(file.name, lists, strict), lists);

  const bytesOf = (name: string): number => file.tensors.get(name)?.bytes ?? 0;
  const totalBytes = pairs.reduce((sum, { from }) => sum + bytesOf(from), 0);
  let loadedBytes = 0;
  for (const { from, to, target } of pairs) {
    const value = await toTensor(file, from, { dtype: target.dtype, backend: target.backend });
    try {
      noGrad(() => assign(target, value));
    } finally {
      value.dispose();
    }
    loadedBytes += bytesOf(from);
    onProgress?.({ name: to, loadedBytes, totalBytes });
  }
  return { missing: lists.missing, unexpected };
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** Names that a message lists of each kind; the error has them all. */
const TOLD = 20;

function some(texts: readonly string[], separator: string): string {
  const more = texts.length > TOLD ? [`and ${texts.length - TOLD} more`] : [];
  return [...texts.slice(0, TOLD), ...more].join(separator);
}

function describe(
  name: string,
  { missing, unexpected, mismatched, unreadable, repeated }: Lists,
  strict: boolean,
): string {
  const lines = [`loadInto: ${name} does not fit the model. Nothing was loaded.`];
  if (strict && missing.length > 0) lines.push(`  missing: ${some(missing, ", ")}`);
  if (strict && unexpected.length > 0) lines.push(`  unexpected: ${some(unexpected, ", ")}`);
  const shapes = mismatched.map(
    ({ name: one, expected, received }) =>
      `  shape of ${one}: expected [${expected.join(", ")}], got [${received.join(", ")}]`,
  );
  if (shapes.length > 0) lines.push(some(shapes, "\n"));
  if (repeated.length > 0) lines.push(`  more than once in the file: ${some(repeated, ", ")}`);
  if (unreadable.length > 0)
    lines.push(`  stored in a format that is not converted here: ${some(unreadable, ", ")}`);
  if (mismatched.length + unreadable.length + repeated.length === 0)
    lines.push(
      "  Translate names with the option rename, or pass { strict: false } to load only what both have.",
    );
  return lines.join("\n");
}
