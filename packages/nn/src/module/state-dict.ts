import { assign, NanoFluxError, noGrad, type Tensor } from "@nf/core";

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

/** A state dict that does not fit a module; lists everything that is wrong with it. Nothing was loaded. */
export class StateDictError extends NanoFluxError {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly mismatched: readonly ShapeMismatch[];

  constructor(message: string, report: LoadReport & { readonly mismatched: readonly ShapeMismatch[] }) {
    super("NF_DATA", message);
    this.missing = report.missing;
    this.unexpected = report.unexpected;
    this.mismatched = report.mismatched;
  }
}

/**
 * Copies the values of `source` into the tensors of `target`, converted to their dtypes. Checks everything first.
 * @throws StateDictError
 */
export function copyState(
  owner: string,
  target: StateDict,
  source: StateDict,
  options: LoadOptions = {},
): LoadReport {
  const strict = options.strict ?? true;
  const missing = Object.keys(target).filter((name) => !Object.hasOwn(source, name));
  const unexpected = Object.keys(source).filter((name) => !Object.hasOwn(target, name));
  const shared = Object.entries(target).flatMap(([name, to]) => {
    const from = Object.hasOwn(source, name) ? source[name] : undefined;
    return from === undefined ? [] : [{ name, to, from }];
  });
  const mismatched = shared
    .filter(({ to, from }) => !sameShape(to.shape, from.shape))
    .map(({ name, to, from }) => ({ name, expected: to.shape, received: from.shape }));
  if (mismatched.length > 0 || (strict && missing.length + unexpected.length > 0)) {
    const report = { missing, unexpected, mismatched };
    throw new StateDictError(describe(owner, report, strict), report);
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
  { missing, unexpected, mismatched }: LoadReport & { readonly mismatched: readonly ShapeMismatch[] },
  strict: boolean,
): string {
  const lines = [`loadStateDict: the state dict does not fit ${owner}. Nothing was loaded.`];
  if (strict && missing.length > 0) lines.push(`  missing: ${missing.join(", ")}`);
  if (strict && unexpected.length > 0) lines.push(`  unexpected: ${unexpected.join(", ")}`);
  for (const { name, expected, received } of mismatched) {
    lines.push(`  shape of ${name}: expected [${expected.join(", ")}], got [${received.join(", ")}]`);
  }
  if (mismatched.length === 0) lines.push("  Pass { strict: false } to load only the names that both have.");
  return lines.join("\n");
}
