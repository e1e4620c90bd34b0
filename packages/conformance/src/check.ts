import type { Backend, DType, RequiredKernel } from "@nf/core";
import type { Allowed, Difference } from "./compare-values.ts";
import { allowed, allowedMovement, allowedRoundings, difference } from "./compare-values.ts";
import type { Level, Tolerance } from "./model.ts";

/** Thrown by a check that finds something wrong. Its message says what, and with which seed. */
export class ConformanceError extends Error {
  /** Seed of the check, to be given as `seed` again. */
  readonly seed: number;

  constructor(message: string, seed: number) {
    super(message);
    this.name = "ConformanceError";
    this.seed = seed;
  }
}

/** Thrown by a check that has nothing to look at, because the backend does not declare it. */
export class NotApplicable extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "NotApplicable";
  }
}

/** Makes a backend; called once a family, and again by checks of creating and disposing. */
export type CreateBackend = () => Backend | Promise<Backend>;

/** Widens tolerances, by operation or family; `*` for all. A backend publishes its table. */
export type Widen = Readonly<Record<string, number>>;

/** What a check works with. */
export interface Context {
  readonly backend: Backend;
  readonly createBackend: CreateBackend;
  /** A backend that may hold so many bytes, where the caller can make one. */
  readonly createLimited: ((maxBytes: number) => Backend | Promise<Backend>) | undefined;
  /** Another backend to compare random graphs with. */
  readonly createReference: CreateBackend | undefined;
  readonly seed: number;
  /** Examples of each property. */
  readonly examples: number;
  /** Compares values within a tolerance class and notes the error; throws {@link ConformanceError}. */
  readonly compare: (
    label: string,
    got: ArrayLike<number>,
    expected: ArrayLike<number>,
    by: Comparison,
  ) => void;
  /** Fails the check. */
  readonly fail: (message: string) => never;
  /**
   * The factor from `widen` that the tolerance of this check is wider by, for checks with limits of their own; 1 where there is none.
   * What was asked for is told as applied.
   */
  readonly widened: () => number;
  /** Notes how much of the allowed difference was used, for checks with limits of their own. */
  readonly note: (difference: Difference, dtype: DType) => void;
}

/** How values are compared. */
export interface Comparison {
  readonly dtype: DType;
  readonly tolerance: Tolerance;
  /** Size of the terms that met in a result; default 1, and 0 where a movement is given. */
  readonly scale?: number;
  /** How far each result moves with its operands' roundings; asked for only where the relative bound is nearly used up. */
  readonly movement?: () => ArrayLike<number>;
  /** Roundings of a number about 1 that are allowed beside; default 0. */
  readonly roundings?: number;
  /** Whether a zero must have the sign of the expected one. */
  readonly signedZeros?: boolean;
}

/** One thing to look at. */
export interface Check {
  readonly family: string;
  /** Unique within the family. */
  readonly name: string;
  readonly level: Level;
  /** The operation or kernel it is about, where it is about one. */
  readonly subject: string;
  /** Operations of core that it looks at and that have no row of their own. */
  readonly covers?: readonly string[];
  readonly run: (context: Context) => void | Promise<void>;
}

/** Why the kernels do not declare a dtype, or undefined if they do. */
export function undeclared(
  backend: Backend,
  kernels: readonly RequiredKernel[],
  dtype: DType,
): string | undefined {
  const missing = kernels.filter((kernel) => !backend.capabilities.dtypes[kernel].includes(dtype));
  return missing.length === 0 ? undefined : `${missing.join(", ")} does not declare ${dtype}`;
}

/** Ends a check whose kernels do not declare a dtype. */
export function requireDType(backend: Backend, kernels: readonly RequiredKernel[], dtype: DType): void {
  const reason = undeclared(backend, kernels, dtype);
  if (reason !== undefined) throw new NotApplicable(reason);
}

/** Differences found by the checks of a family. */
export class ErrorNotes {
  worstError = 0;
  worstShare = 0;
  /** Factors that tolerances were wider by, under the names that gave them. */
  readonly widened: Record<string, number> = {};

  /** Takes a difference in; the worst error is that of f32 values. What no tolerance applies to only fails. */
  add({ worst, share }: Difference, dtype: DType): void {
    if (dtype === "f32" && worst > this.worstError && worst < Infinity) this.worstError = worst;
    if (share > this.worstShare && share < Infinity) this.worstShare = share;
  }
}

/** The widening that applies to a subject of a family: the factor, and the name in the table that it stands under. */
export function widening(
  widen: Widen,
  family: string,
  subject: string,
): { readonly name: string | undefined; readonly factor: number } {
  const name = [subject, family, "*"].find((one) => Object.hasOwn(widen, one));
  return { name, factor: name === undefined ? 1 : (widen[name] ?? 1) };
}

/** Below this share of the relative bound nobody needs to know how operands move a result, which takes its time. */
const NEARLY_ALL = 0.5;

/** Makes a context for a check. */
export function makeContext(
  base: Pick<
    Context,
    "backend" | "createBackend" | "createLimited" | "createReference" | "examples" | "seed"
  >,
  check: Check,
  notes: ErrorNotes,
  widen: Widen,
): Context {
  const fail = (message: string): never => {
    throw new ConformanceError(`${check.family} > ${check.name}: ${message} [seed ${base.seed}]`, base.seed);
  };
  const { name, factor } = widening(widen, check.family, check.subject);
  const widened = (): number => {
    if (name !== undefined && factor > 1) notes.widened[name] = factor;
    return factor;
  };
  return {
    ...base,
    fail,
    widened,
    note: (found, dtype) => notes.add(found, dtype),
    compare(label, got, expected, { dtype, tolerance, movement, roundings = 0, signedZeros = false, ...by }) {
      const { relative, absolute } = allowed(tolerance, dtype, by.scale ?? (movement ? 0 : 1), factor);
      const beside = allowedRoundings(tolerance, dtype, roundings, factor);
      const limit: Allowed = { relative, absolute: absolute + beside, signedZeros };
      let found = difference(got, expected, dtype, limit);
      if (movement !== undefined && relative > 0 && found.share > NEARLY_ALL) {
        const elements = allowedMovement(tolerance, dtype, movement(), factor);
        found = difference(got, expected, dtype, { ...limit, elements });
      }
      widened();
      notes.add(found, dtype);
      if (found.problem !== undefined) fail(`${label}: ${found.problem}`);
    },
  };
}
