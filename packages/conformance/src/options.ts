import { OptionError } from "@nf/core";
import type { Context, CreateBackend, Widen } from "./check.ts";
import { LEVELS, type Level } from "./model.ts";
import { gptTraces } from "./traces/gpt.ts";
import { lenetTraces } from "./traces/lenet.ts";
import type { ModelTrace } from "./traces/trace.ts";

/** What every way to run the suite takes. */
export interface SuiteOptions {
  /** How far to go; default `complete`. */
  readonly level?: Level;
  /** Where values, shapes and choices come from; printed with failures, and the same seed repeats them. */
  readonly seed?: number;
  /** Examples of each property; default 200. */
  readonly examples?: number;
  /** Only these families; default all. */
  readonly families?: readonly string[];
  /** Makes a backend that may hold so many bytes, for checks of running out of memory. */
  readonly limited?: (maxBytes: number) => ReturnType<CreateBackend>;
  /** Makes the backend that random graphs are compared with, one that computes f64. */
  readonly reference?: CreateBackend;
  /** Models whose training is known step by step; default {@link lenetTraces} and {@link gptTraces}. */
  readonly traces?: readonly ModelTrace[];
  /** Factors by which tolerances are wider, by operation or family, `*` for all. A backend publishes its table. */
  readonly widen?: Widen;
  /** A reason skips a check. */
  readonly skip?: (check: { readonly family: string; readonly name: string }) => string | undefined;
}

/** Names of the options above, to refuse others. */
export const SUITE_OPTIONS: readonly (keyof SuiteOptions)[] = [
  "level",
  "seed",
  "examples",
  "families",
  "limited",
  "reference",
  "traces",
  "widen",
  "skip",
];

/** The seed where none is given. */
export const DEFAULT_SEED: number = 20250;
/** Examples of a property where no number is given. */
export const DEFAULT_EXAMPLES: number = 200;

/** The options with everything filled in. */
export interface Settings {
  readonly level: Level;
  readonly seed: number;
  readonly examples: number;
  readonly families: readonly string[] | undefined;
  readonly createLimited: Context["createLimited"];
  readonly createReference: Context["createReference"];
  readonly traces: readonly ModelTrace[];
  readonly widen: Widen;
  readonly skip: NonNullable<SuiteOptions["skip"]>;
}

/** Refuses what is not a whole number from a least one. @throws OptionError */
export function checkNumber(what: string, name: string, value: unknown, least: number): void {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least)
    throw new OptionError(`${what}: ${name} must be a whole number from ${least}, got ${String(value)}.`);
}

function checkFunction(what: string, name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function")
    throw new OptionError(`${what}: ${name} must be a function, got ${typeof value}.`);
}

/** Refuses options that do not exist. @throws OptionError naming those that do */
export function checkNames(what: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null)
    throw new OptionError(`${what}: options must be an object, got ${String(options)}.`);
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new OptionError(`${what}: unknown option "${name}". It takes ${known.join(", ")}.`);
  }
}

/**
 * Checks options and fills in what was left out.
 *
 * @param what the function they were given to, for messages
 * @param more names of options that this function takes beside those of the suite
 * @throws OptionError for an option that does not exist or is out of its domain
 */
export function settingsOf(what: string, options: SuiteOptions, more: readonly string[]): Settings {
  checkNames(what, options, [...SUITE_OPTIONS, ...more]);
  const {
    level = "complete",
    seed = DEFAULT_SEED,
    examples = DEFAULT_EXAMPLES,
    families,
    widen = {},
  } = options;
  if (!LEVELS.includes(level))
    throw new OptionError(
      `${what}: level must be one of ${LEVELS.join(", ")}, got ${JSON.stringify(level)}.`,
    );
  checkNumber(what, "seed", seed, 0);
  checkNumber(what, "examples", examples, 1);
  for (const name of ["limited", "reference", "skip"] as const) checkFunction(what, name, options[name]);
  for (const name of ["families", "traces"] as const) {
    if (options[name] !== undefined && !Array.isArray(options[name]))
      throw new OptionError(`${what}: ${name} must be an array, got ${String(options[name])}.`);
  }
  for (const [name, factor] of Object.entries(widen)) {
    if (!(factor >= 1))
      throw new OptionError(`${what}: widen.${name} must be a number from 1, got ${factor}.`);
  }
  return {
    level,
    seed,
    examples,
    families,
    createLimited: options.limited,
    createReference: options.reference,
    traces: options.traces ?? [...lenetTraces(), ...gptTraces()],
    widen,
    skip: options.skip ?? (() => undefined),
  };
}
