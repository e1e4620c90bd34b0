import { parseArgs } from "node:util";

/** What there is to learn. */
export const TASKS = ["reverse", "sort", "multi30k"] as const;
export type TaskName = (typeof TASKS)[number];

/** Sizes and settings of a run. */
export interface RunOptions {
  readonly task: TaskName;
  readonly backend: string;
  readonly threads: number | undefined;
  /** Most steps of the optimiser. */
  readonly steps: number;
  /** Most seconds of training. */
  readonly seconds: number;
  readonly seed: number;
  /** Pairs in a batch; in Multi30k, of 16 tokens, and fewer of longer ones. */
  readonly batch: number;
  /** Highest learning rate, at the end of the warm-up. */
  readonly lr: number;
  readonly warmup: number;
  readonly dModel: number;
  readonly heads: number;
  /** Layers of the encoder, and of the decoder. */
  readonly layers: number;
  readonly feedForward: number;
  readonly dropout: number;
  readonly labelSmoothing: number;
  readonly norm: "pre" | "post";
  /** Experts in the place of each feed-forward; 1: none. */
  readonly experts: number;
  /** Beams of the test; 1: greedy. */
  readonly beams: number;
  /** Most sequences that are validated and tested with. */
  readonly limit: number;
  /** Fetch Multi30k where it is not on this machine. */
  readonly download: boolean;
  readonly json: boolean;
}

type Defaults = Omit<RunOptions, "task" | "backend" | "threads" | "download" | "json">;

const SIMULATED: Defaults = {
  steps: 1000,
  seconds: Number.POSITIVE_INFINITY,
  seed: 1,
  batch: 64,
  lr: 2e-3,
  warmup: 200,
  dModel: 64,
  heads: 4,
  layers: 2,
  feedForward: 128,
  dropout: 0,
  labelSmoothing: 0,
  norm: "pre",
  experts: 1,
  beams: 1,
  limit: Number.POSITIVE_INFINITY,
};

/** What each task takes unless told otherwise. */
export const DEFAULTS: Readonly<Record<TaskName, Defaults>> = {
  reverse: SIMULATED,
  sort: SIMULATED,
  multi30k: {
    ...SIMULATED,
    steps: 2700,
    batch: 128,
    lr: 1e-3,
    warmup: 400,
    dModel: 256,
    heads: 8,
    layers: 3,
    feedForward: 512,
    dropout: 0.2,
    labelSmoothing: 0.1,
    beams: 4,
  },
};

export const HELP = `Trains an encoder-decoder Transformer and tests it.

  train-transformer [--task NAME] [options]

  --task NAME          reverse, sort: sequences of 3 to 10 of 16 symbols; multi30k: English to German captions
                       (default reverse)
  --download           fetch Multi30k (1.3 MB) if it is not on this machine, and keep it; otherwise it is read from the
                       folder that NF_DATA_DIR names, or from what was fetched before
  --backend NAME       short name or package of a backend (default wasm)
  --threads N          threads of the backend
  --steps N            most steps (default ${SIMULATED.steps}; multi30k ${DEFAULTS.multi30k.steps})
  --seconds N          most seconds of training (default no limit)
  --seed N             of weights, batches and dropout (default ${SIMULATED.seed})
  --batch N            pairs in a batch (default ${SIMULATED.batch}; multi30k ${DEFAULTS.multi30k.batch} of 16 tokens, fewer of longer ones)
  --lr X               highest learning rate (default ${SIMULATED.lr}; multi30k ${DEFAULTS.multi30k.lr})
  --warmup N           steps in which it rises (default ${SIMULATED.warmup}; multi30k ${DEFAULTS.multi30k.warmup})
  --d-model N          width (default ${SIMULATED.dModel}; multi30k ${DEFAULTS.multi30k.dModel})
  --heads N            heads of each attention (default ${SIMULATED.heads}; multi30k ${DEFAULTS.multi30k.heads})
  --layers N           of the encoder, and of the decoder (default ${SIMULATED.layers}; multi30k ${DEFAULTS.multi30k.layers})
  --feed-forward N     width inside of a feed-forward (default ${SIMULATED.feedForward}; multi30k ${DEFAULTS.multi30k.feedForward})
  --dropout X          default ${SIMULATED.dropout}; multi30k ${DEFAULTS.multi30k.dropout}
  --label-smoothing X  default ${SIMULATED.labelSmoothing}; multi30k ${DEFAULTS.multi30k.labelSmoothing}
  --norm pre|post      where the norms are (default ${SIMULATED.norm})
  --experts N          experts in the place of each feed-forward, two for each position (default 1: none)
  --beams N            beams of the test, 1 for greedy (default ${SIMULATED.beams}; multi30k ${DEFAULTS.multi30k.beams})
  --limit N            most sequences to validate and to test with (default all)
  --json               the result as one JSON object on standard output
  -h, --help           this text
`;

/** Arguments that are wrong; the message says how. */
export class UsageError extends Error {}

/** @returns the options, or "help". */
export function parseOptions(args: readonly string[]): RunOptions | "help" {
  let values: Readonly<Record<string, string | boolean | undefined>>;
  const text = { type: "string" } as const;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        ...Object.fromEntries(NAMES.map((name) => [name, text])),
        download: { type: "boolean" },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}. See --help.`);
  }
  if (values["help"] === true) return "help";
  const word = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  const choice = <T extends string>(name: string, all: readonly T[], standard: T): T => {
    const given = word(name) ?? standard;
    const found = all.find((one) => one === given);
    if (found === undefined) throw new UsageError(`--${name} must be ${all.join(", ")}, got ${given}.`);
    return found;
  };
  const number = (name: string, standard: number, least: number, whole = true): number => {
    const given = word(name);
    if (given === undefined) return standard;
    const value = given.trim() === "" ? Number.NaN : Number(given);
    if (Number.isFinite(value) && value >= least && (!whole || Number.isInteger(value))) return value;
    throw new UsageError(`--${name} must be a ${whole ? "whole " : ""}number from ${least}, got ${given}.`);
  };
  const seconds = (standard: number): number => {
    const value = number("seconds", standard, 0, false);
    if (value > 0) return value;
    throw new UsageError(`--seconds must be a number above 0, got ${value}.`);
  };
  const task = choice("task", TASKS, "reverse");
  const d = DEFAULTS[task];
  return {
    task,
    backend: word("backend") ?? "wasm",
    threads: word("threads") === undefined ? undefined : number("threads", 1, 1),
    steps: number("steps", d.steps, 1),
    seconds: seconds(d.seconds),
    seed: number("seed", d.seed, 0),
    batch: number("batch", d.batch, 1),
    lr: number("lr", d.lr, 0, false),
    warmup: number("warmup", d.warmup, 1),
    dModel: number("d-model", d.dModel, 1),
    heads: number("heads", d.heads, 1),
    layers: number("layers", d.layers, 1),
    feedForward: number("feed-forward", d.feedForward, 1),
    dropout: number("dropout", d.dropout, 0, false),
    labelSmoothing: number("label-smoothing", d.labelSmoothing, 0, false),
    norm: choice("norm", ["pre", "post"], d.norm),
    experts: number("experts", d.experts, 1),
    beams: number("beams", d.beams, 1),
    limit: number("limit", d.limit, 1),
    download: values["download"] === true,
    json: values["json"] === true,
  };
}

const NAMES = [
  ...["task", "backend", "threads", "steps", "seconds", "seed", "batch", "lr", "warmup", "d-model", "heads"],
  ...["layers", "feed-forward", "dropout", "label-smoothing", "norm", "experts", "beams", "limit"],
];
