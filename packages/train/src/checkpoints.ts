import { all, generator, isFinite as isFiniteTensor, noGrad, OptionError, scope } from "@nf/core";
import { CheckpointFolder, type CheckpointPart, openCheckpoint } from "@nf/io";
import type { Module } from "@nf/nn";
import type { Optimizer } from "@nf/optim";
import type { BestKeeper, BestState } from "./best.ts";
import { DivergedError } from "./errors.ts";
import type { HistoryRow } from "./events.ts";
import type { SavedSums } from "./metrics.ts";
import { type CheckpointOptions, type Schedule, type ScheduleOptions, scheduleOf } from "./options.ts";

/** Where a training stands; what `extra` of its checkpoints holds. */
export interface Standing {
  readonly version: 1;
  /** Epochs done. */
  readonly epochs: number;
  /** Batches of the epoch in progress that were trained on. */
  readonly batches: number;
  /** Whether those are all of them, and the end of the epoch is still to come. */
  readonly ended: boolean;
  readonly step: number;
  /** Steps done at the last evaluation. */
  readonly evaluated: number;
  /** The learning rate of the last step. */
  readonly rate: number;
  readonly seconds: number;
  readonly items: number;
  /** Of figures since the last evaluation. */
  readonly sums: SavedSums;
  readonly history: readonly HistoryRow[];
  readonly best: BestState | null;
}

/** What of the options goes into checkpoints. */
interface Resumable {
  readonly optimizer: Optimizer;
  readonly schedule?: Schedule | ScheduleOptions;
  readonly data: unknown;
}

/** Names of parts that are the training's own. */
const OWN = ["model", "optimizer", "schedule", "data", "random", "best"];

/** Which option asks for a part. */
const OPTION_OF: Readonly<Record<string, string>> = {
  best: "earlyStopping",
  schedule: "schedule",
  data: "data",
  optimizer: "optimizer",
};

/** Writes and reads the checkpoints of a training. */
export class Checkpointing {
  readonly folder: CheckpointFolder;
  readonly every: number | undefined;
  /** The figure by which the best is kept. */
  readonly metric: string | undefined;
  /** Path of the last one that was written or gone on from. */
  last: string | undefined;
  readonly #model: Module;
  readonly #parts: Record<string, CheckpointPart>;
  readonly #resume: boolean;

  constructor(model: Module, options: Resumable, settings: CheckpointOptions, best: BestKeeper | undefined) {
    const { folder, keep, best: by, every, resume = false, parts = {} } = settings;
    this.folder = new CheckpointFolder(folder, {
      ...(keep !== undefined && { keep }),
      ...(by !== undefined && { best: by }),
    });
    this.every = every;
    this.metric = by?.metric;
    this.#model = model;
    this.#resume = resume;
    const taken = Object.keys(parts).filter((name) => OWN.includes(name));
    if (taken.length > 0)
      throw new OptionError(`fit: checkpoints.parts cannot be called ${taken.join(", ")}: fit has its own.`);
    this.#parts = {
      ...parts,
      model,
      optimizer: options.optimizer,
      ...(options.schedule !== undefined && { schedule: scheduleOf(options.schedule).schedule }),
      ...(hasPlace(options.data) && { data: options.data }),
      ...(best !== undefined && { best: best.part }),
    };
  }

  /**
   * Goes on with the newest checkpoint.
   *
   * @returns undefined where there is none
   * @throws OptionError for a folder with checkpoints that is not to be gone on with, CheckpointError for damaged ones
   */
  async restore(): Promise<Standing | undefined> {
    if (!this.#resume) {
      // With files none of which has a header that can be read, `latest` says so: the folder is not empty.
      const newest = (await this.folder.list())[0] ?? (await this.folder.latest());
      if (newest === undefined) return undefined;
      throw new OptionError(
        `fit: ${this.folder.path} holds checkpoints of another training (the newest of step ${newest.step}). Go on with it by ` +
          "checkpoints: { folder, resume: true }, or choose another folder.",
      );
    }
    const newest = await this.folder.latest();
    if (newest === undefined) return undefined;
    const checkpoint = await openCheckpoint(newest.path);
    try {
      const standing = checkpoint.extra as Standing | null;
      if (standing?.version !== 1) {
        throw new OptionError(
          `fit: ${newest.path} was not written by this version of fit. Load it with loadCheckpoint, or choose another folder.`,
        );
      }
      const parts: Record<string, CheckpointPart> = { ...this.#parts, random: generator() };
      const missing = Object.keys(parts).filter((name) => !checkpoint.parts.includes(name));
      if (missing.length > 0) {
        const wanted = missing.map(
          (name) => `${name} (for the option ${OPTION_OF[name] ?? "checkpoints.parts"})`,
        );
        throw new OptionError(
          `fit: ${newest.path} was saved without ${wanted.join(" and ")}. Go on with the options that the training was begun ` +
            "with, or begin another in another folder.",
        );
      }
      await checkpoint.load(parts);
      this.last = newest.path;
      return standing;
    } finally {
      await checkpoint.close();
    }
  }

  /**
   * Writes a checkpoint.
   *
   * @throws DivergedError where a weight is no number: the older checkpoints stay
   */
  async save(standing: Standing, metrics: Readonly<Record<string, number>>): Promise<string> {
    await this.#checkWeights(standing.step);
    const { step, epochs: epoch } = standing;
    const parts = { ...this.#parts, random: generator() };
    this.last = await this.folder.save(parts, { step, epoch, metrics, extra: standing });
    return this.last;
  }

  async #checkWeights(step: number): Promise<void> {
    for (const [name, weight] of this.#model.namedParameters()) {
      const sound = noGrad(() => scope(() => all(isFiniteTensor(weight)))).keep();
      try {
        if ((await sound.item()) !== 0) continue;
      } finally {
        sound.dispose();
      }
      throw diverged(`${name} holds a value that is no finite number`, step, this.last);
    }
  }
}

/** What to tell of a training that came to nothing. */
export function diverged(what: string, step: number, checkpoint: string | undefined): DivergedError {
  const kept = checkpoint === undefined ? "" : ` The last checkpoint is kept: ${checkpoint}.`;
  return new DivergedError(
    `fit: ${what} at step ${step}: the training has diverged. Try a lower learning rate, clipGradNorm, or look for NaN in ` +
      `the data.${kept}`,
    step,
    checkpoint,
  );
}

/** Data that say where they stand, as a `DataLoader` does. */
export function hasPlace(data: unknown): data is Extract<CheckpointPart, { state(): object }> {
  return (
    typeof data === "object" &&
    data !== null &&
    "state" in data &&
    "setState" in data &&
    typeof data.state === "function" &&
    typeof data.setState === "function"
  );
}
