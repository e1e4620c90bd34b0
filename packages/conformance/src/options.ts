import { OptionError } from "@nf/core";
import { backendMaker, checkArray, checkFunction, checkNames, checkNumber, show } from "./arguments.ts";
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
  /** Makes the backend that random graphs and layers are compared with, one that computes f64. */
  readonly reference?: CreateBackend;
  /** Models whose training is known step by step; default {@link lenetTraces} and {@link gptTraces}. */
  readonly traces?: readonly ModelTrace[];
  /**
   * Factors by which tolerances are wider, by operation or family, `*` for all; each a finite number from 1. A backend
   * publishes its table, and the scorecard lists what was applied.
   */
  readonly widen?: Widen;
  /** A reason, which is a text that is not empty, skips a check; undefined runs it, and anything else is refused. */
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
  readonly createBackend: CreateBackend;
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

const PARTS = {
  name: "string",
  build: "function",
  forward: "function",
  optimizer: "function",
  batch: "function",
  losses: "object",
  tolerance: "number",
} as const satisfies Record<keyof ModelTrace, string>;

function checkTraces(what: string, traces: readonly unknown[]): void {
  for (const [i, trace] of traces.entries()) {
    const given = (typeof trace === "object" && trace !== null ? trace : {}) as Partial<ModelTrace>;
    const parts = Object.keys(PARTS) as (keyof ModelTrace)[];
    const wrong = parts.find((part) => typeof given[part] !== PARTS[part]);
    if (wrong !== undefined || !Array.isArray(given.losses))
      throw new OptionError(
        `${what}: traces[${i}] must be a ModelTrace, as those of lenetTraces() are, with ${parts.join(", ")}; got ` +
          `${show(trace)} whose ${wrong ?? "losses"} is ${show(given[wrong ?? "losses"])}.`,
      );
  }
}

/** What the names stand for is the plan's to know. */
function checkWiden(what: string, widen: Widen): void {
  if (typeof widen !== "object" || widen === null || Array.isArray(widen))
    throw new OptionError(
      `${what}: widen must be an object like { exp: 2 }, of factors by operation or family, got ${show(widen)}.`,
    );
  for (const [name, factor] of Object.entries(widen)) {
    if (typeof factor !== "number" || !(factor >= 1 && factor < Infinity))
      throw new OptionError(
        `${what}: widen.${name} must be a number from 1 by which the tolerance is wider, got ${show(factor)}.`,
      );
  }
}

/**
 * Checks what the suite was given and fills in what was left out.
 *
 * @param what the function it was given to, for messages
 * @param more names of options that this function takes beside those of the suite
 * @throws OptionError for an option that does not exist or is out of its domain
 */
export function settingsOf(
  what: string,
  createBackend: CreateBackend,
  options: SuiteOptions,
  more: readonly string[],
): Settings {
  const create = backendMaker(what, "createBackend", createBackend);
  checkNames(what, options, [...SUITE_OPTIONS, ...more]);
  const {
    level = "complete",
    seed = DEFAULT_SEED,
    examples = DEFAULT_EXAMPLES,
    families,
    limited,
    reference,
    traces = [...lenetTraces(), ...gptTraces()],
    widen = {},
    skip = () => undefined,
  } = options;
  if (!LEVELS.includes(level))
    throw new OptionError(`${what}: level must be one of ${LEVELS.join(", ")}, got ${show(level)}.`);
  checkNumber(what, "seed", seed, 0);
  checkNumber(what, "examples", examples, 1);
  if (families !== undefined) checkArray(what, "families", families);
  checkArray(what, "traces", traces);
  checkTraces(what, traces);
  checkWiden(what, widen);
  checkFunction(what, "skip", skip, "which gives the reason to skip a check, or undefined");
  return {
    createBackend: create,
    level,
    seed,
    examples,
    families,
    createLimited: limited === undefined ? undefined : backendMaker(what, "limited", limited),
    createReference: reference === undefined ? undefined : backendMaker(what, "reference", reference),
    traces,
    widen,
    skip: ({ family, name }) => reasonOf(what, { family, name }, skip({ family, name })),
  };
}

/** The reason to skip a check, if it is one. @throws OptionError */
function reasonOf(
  what: string,
  { family, name }: { readonly family: string; readonly name: string },
  reason: unknown,
): string | undefined {
  if (reason === undefined) return undefined;
  if (typeof reason === "string" && reason.trim() !== "") return reason;
  throw new OptionError(
    `${what}: skip must return a reason, a text that is not empty, or undefined to run the check; it returned ` +
      `${show(reason)} for ${family} > ${name}. The scorecard shows why a check did not run.`,
  );
}
