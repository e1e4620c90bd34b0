import { CliError } from "../../errors.ts";
import type { TextSettings } from "./settings.ts";

/** Everything that a run is besides its tensors. */
export interface RunState {
  /** Steps done. */
  readonly step: number;
  /** Evaluations done. */
  readonly rounds: number;
  /** Seconds of training so far. */
  readonly seconds: number;
  readonly settings: TextSettings;
  /** What it ran on: another backend, or other threads, may give other last bits. */
  readonly backend: { readonly name: string; readonly threads: number };
  /** The text that is trained on, to know it again. */
  readonly text: {
    readonly name: string;
    readonly sha256: string;
    /** Absolute path of the file that was given; absent for tinyshakespeare. */
    readonly path?: string;
  };
}

/** What a checkpoint says besides the states of model, optimiser and random numbers. */
export interface Header extends RunState {
  readonly version: typeof VERSION;
}

/** Of the header's fields. */
export const VERSION = 3;

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): boolean => typeof value === "string";
const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isCount = (value: unknown): boolean => isWhole(value) && value !== 0;
const isNumber = (value: unknown): boolean =>
  typeof value === "number" && Number.isFinite(value) && value >= 0;

/** What each field must be, by its path. */
const FIELDS: readonly (readonly [path: string, check: (value: unknown) => boolean])[] = [
  ["step", isWhole],
  ["rounds", isWhole],
  ["seconds", isNumber],
  ...["steps", "batch", "evalEvery"].map((name) => [`settings.${name}`, isCount] as const),
  ...["seed", "sample"].map((name) => [`settings.${name}`, isWhole] as const),
  ...["learningRate", "weightDecay", "dropout"].map((name) => [`settings.${name}`, isNumber] as const),
  ["backend.name", isText],
  ["backend.threads", isCount],
  ["text.name", isText],
  ["text.sha256", isText],
  ["text.path", (value) => value === undefined || isText(value)],
];

/**
 * Reads and checks a header.
 *
 * @param path what messages call the file
 * @throws CliError listing the fields that are missing or wrong
 */
export function parseHeader(fields: unknown, path: string): Header {
  if (isFields(fields) && fields["version"] !== VERSION && isCount(fields["version"])) {
    throw new CliError(
      `${path} was written by another version of nf: its header has version ${String(fields["version"])}, this one reads ` +
        `${VERSION}. Go on with that nf, or begin anew with --data.`,
    );
  }
  const wrong = ["version", ...FIELDS.map(([name]) => name)].filter((name) => {
    const check = FIELDS.find(([one]) => one === name)?.[1] ?? ((value) => value === VERSION);
    return !check(at(fields, name));
  });
  if (wrong.length > 0)
    throw damaged(`${path} is damaged: missing or wrong in its header: ${wrong.join(", ")}.`);
  return fields as Header;
}

/** What to tell of a checkpoint that nothing can go on from. */
export function damaged(what: string, options?: ErrorOptions): CliError {
  return new CliError(
    `${what} Give --resume the output folder of a run that was stopped, or begin anew without --resume.`,
    options,
  );
}

function at(fields: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, name) => (isFields(value) && Object.hasOwn(value, name) ? value[name] : undefined),
      fields,
    );
}
