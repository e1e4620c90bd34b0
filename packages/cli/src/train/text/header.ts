import { createHash } from "node:crypto";
import type { GeneratorState } from "@nf/core";
import type { OptimizerStateDict } from "@nf/optim";
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

/** What the header of a checkpoint holds. */
export interface Header extends RunState {
  readonly version: typeof VERSION;
  /** Where random numbers go on. */
  readonly generator: GeneratorState;
  readonly optimizer: {
    readonly optimizer: string;
    /** Steps of each parameter. */
    readonly counts: Readonly<Record<string, number>>;
    readonly paramGroups: OptimizerStateDict["paramGroups"];
  };
}

/** Of the header's fields. */
export const VERSION = 2;

/** A tensor as it lies in a file. */
export interface HashedTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** SHA-256 of a header's text and all tensors by name: names, types, shapes and bytes. */
export function digestOf(json: string, tensors: ReadonlyMap<string, HashedTensor>): string {
  const hash = createHash("sha256").update(`${JSON.stringify(json)}\n`);
  for (const name of [...tensors.keys()].sort()) {
    const { dtype, shape, bytes } = tensors.get(name) as HashedTensor;
    hash.update(`${JSON.stringify([name, dtype, shape])}\n`).update(bytes);
  }
  return hash.digest("hex");
}

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): boolean => typeof value === "string";
const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isCount = (value: unknown): boolean => isWhole(value) && value !== 0;
const isNumber = (value: unknown): boolean =>
  typeof value === "number" && Number.isFinite(value) && value >= 0;
const isWord = (value: unknown): boolean => isWhole(value) && (value as number) < 2 ** 32;
const isGroup = (value: unknown): boolean =>
  isFields(value) && Array.isArray(value["params"]) && value["params"].every(isWhole);

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
  [
    "generator.key",
    (value) => Array.isArray(value) && value.length === 2 && isWord(value[0]) && isWord(value[1]),
  ],
  ["generator.counter", isWhole],
  ["optimizer.optimizer", isText],
  ["optimizer.counts", (value) => isFields(value) && Object.values(value).every(isWhole)],
  ["optimizer.paramGroups", (value) => Array.isArray(value) && value.every(isGroup)],
];

/**
 * Reads and checks a header.
 *
 * @param path what messages call the file
 * @throws CliError listing the fields that are missing or wrong
 */
export function parseHeader(json: unknown, path: string): Header {
  if (typeof json !== "string") {
    throw new CliError(
      `${path} is no checkpoint of nf train nanogpt. Give --resume the output folder of a run that was stopped.`,
    );
  }
  const fields = parsed(json);
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
  if (wrong.length > 0) throw damaged(path, `missing or wrong in its header: ${wrong.join(", ")}`);
  return fields as Header;
}

/** What to tell of a checkpoint that nothing can go on from. */
export function damaged(path: string, what: string, options?: ErrorOptions): CliError {
  return new CliError(
    `${path} is damaged: ${what}. Put a sound copy in its place, or begin anew without --resume.`,
    options,
  );
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function at(fields: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, name) => (isFields(value) && Object.hasOwn(value, name) ? value[name] : undefined),
      fields,
    );
}
