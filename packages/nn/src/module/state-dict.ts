import { assign, NanoFluxError, noGrad, OptionError, Tensor } from "@nf/core";
import { show } from "../check.ts";

/** Tensors by dotted name: parameters and persistent buffers, with PyTorch's names. */
export type StateDict = Readonly<Record<string, Tensor>>;

/** Options of `loadStateDict`. */
export interface LoadOptions {
  /** Refuse missing and unexpected names; default true. Shapes that differ are always refused. */
  readonly strict?: boolean;
}

/** Names that did not meet when a state dict was loaded with `strict: false`. */
export interface LoadReport {
  /** In the module, not in the dict. */
  readonly missing: readonly string[];
  /** In the dict, not in the module. */
  readonly unexpected: readonly string[];
}

/** A tensor whose shape in the dict is not the module's. */
export interface ShapeMismatch {
  readonly name: string;
  readonly expected: readonly number[];
  readonly received: readonly number[];
}

/** A value in the dict that is no tensor. */
export interface NotTensor {
  readonly name: string;
  /** What is there instead, in words. */
  readonly received: string;
}

/** All that is wrong with a state dict. */
interface Misfit extends LoadReport {
  readonly mismatched: readonly ShapeMismatch[];
  readonly notTensors: readonly NotTensor[];
}

/** A state dict that does not fit a module; lists everything that is wrong with it. Nothing was loaded. */
export class StateDictError extends NanoFluxError {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly mismatched: readonly ShapeMismatch[];
  readonly notTensors: readonly NotTensor[];

  constructor(message: string, misfit: Misfit) {
    super("NF_DATA", message);
    this.missing = misfit.missing;
    this.unexpected = misfit.unexpected;
    this.mismatched = misfit.mismatched;
    this.notTensors = misfit.notTensors;
  }
}

/**
 * Copies the values of `source` into the tensors of `target`, converted to their dtypes. Checks everything first.
 * @throws StateDictError for a dict that does not fit, OptionError for what is no dict at all.
 */
export function copyState(
  owner: string,
  target: StateDict,
  source: StateDict,
  options: LoadOptions = {},
): LoadReport {
  if (typeof source !== "object" || source === null || source instanceof Tensor) {
    throw new OptionError(
      `loadStateDict: expected an object of tensors by name, as stateDict() gives, got ${show(source)}.`,
    );
  }
  const strict = options.strict ?? true;
  const missing = Object.keys(target).filter((name) => !Object.hasOwn(source, name));
  const unexpected = Object.keys(source).filter((name) => !Object.hasOwn(target, name));
  const shared: { readonly name: string; readonly to: Tensor; readonly from: Tensor }[] = [];
  const notTensors: NotTensor[] = [];
  for (const [name, to] of Object.entries(target)) {
    if (!Object.hasOwn(source, name)) continue;
    const from: unknown = source[name];
    if (from instanceof Tensor) shared.push({ name, to, from });
    else notTensors.push({ name, received: show(from) });
  }
  const mismatched = shared
    .filter(({ to, from }) => !sameShape(to.shape, from.shape))
    .map(({ name, to, from }) => ({ name, expected: to.shape, received: from.shape }));
  const unfit = mismatched.length + notTensors.length;
  if (unfit > 0 || (strict && missing.length + unexpected.length > 0)) {
    const misfit = { missing, unexpected, mismatched, notTensors };
    throw new StateDictError(describe(owner, misfit, strict), misfit);
  }
  noGrad(() => {
    for (const { to, from } of shared) assign(to, from);
  });
  return { missing, unexpected };
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

function describe(
  owner: string,
  { missing, unexpected, mismatched, notTensors }: Misfit,
  strict: boolean,
): string {
  const lines = [`loadStateDict: the state dict does not fit ${owner}. Nothing was loaded.`];
  if (strict && missing.length > 0) lines.push(`  missing: ${missing.join(", ")}`);
  if (strict && unexpected.length > 0) lines.push(`  unexpected: ${unexpected.join(", ")}`);
  for (const { name, received } of notTensors) lines.push(`  ${name}: expected a tensor, got ${received}`);
  for (const { name, expected, received } of mismatched) {
    lines.push(`  shape of ${name}: expected [${expected.join(", ")}], got [${received.join(", ")}]`);
  }
  if (mismatched.length + notTensors.length === 0)
    lines.push("  Pass { strict: false } to load only the names that both have.");
  return lines.join("\n");
}
