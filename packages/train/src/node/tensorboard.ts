import { mkdir, open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { checkOptions, OptionError } from "@nf/core";
import { Module } from "@nf/nn";
import type { Callback } from "../events.ts";
import { checkPath, nameOf } from "../misuse.ts";
import { type EventContent, eventRecord } from "./tfevents.ts";

type FileHandle = Awaited<ReturnType<typeof open>>;

let made = 0;

/**
 * Writes event files for TensorBoard into a folder: one file for each writer. `tensorboard --logdir FOLDER` shows them,
 * also while they grow.
 *
 * @example
 * ```ts no-run
 * import { EventWriter } from "@nf/train/node";
 *
 * const writer = new EventWriter("runs/first");
 * await writer.scalar("loss", 0.5, 1);
 * await writer.text("settings", "| lr | 0.001 |", 0);
 * await writer.close();
 * ```
 */
export class EventWriter {
  readonly folder: string;
  #file: Promise<FileHandle> | undefined;
  #closed = false;

  constructor(folder: string) {
    checkPath("EventWriter", "folder", folder);
    this.folder = folder;
  }

  /** A number, kept as f32. */
  scalar(tag: string, value: number, step: number): Promise<void> {
    return this.#write({ kind: "scalar", tag, value }, step);
  }

  /** How values are spread, in 30 equal bins; those that are no numbers are left out. */
  histogram(tag: string, values: ArrayLike<number>, step: number): Promise<void> {
    return this.#write({ kind: "histogram", tag, values }, step);
  }

  /** A text, which TensorBoard reads as Markdown. */
  text(tag: string, text: string, step: number): Promise<void> {
    return this.#write({ kind: "text", tag, text }, step);
  }

  /** A PNG file's bytes, and its size in pixels. */
  image(tag: string, png: Uint8Array, size: { width: number; height: number }, step: number): Promise<void> {
    return this.#write({ kind: "image", tag, png, width: size.width, height: size.height }, step);
  }

  /** Says that the run goes on from a step: what files in the folder have of later ones does not count any more. */
  restart(step: number): Promise<void> {
    return this.#write({ kind: "restart" }, step);
  }

  /** Waits until all is on disk, and closes the file. */
  async close(): Promise<void> {
    this.#closed = true;
    const file = await this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    await file.sync();
    await file.close();
  }

  async #write(content: EventContent, step: number): Promise<void> {
    if (this.#closed) throw new OptionError(`EventWriter: ${this.folder} was closed. Make another writer.`);
    if (!Number.isSafeInteger(step) || step < 0)
      throw new OptionError(`EventWriter: step must be a whole number from 0, got ${step}.`);
    this.#file ??= openEvents(this.folder);
    const file = await this.#file;
    await file.appendFile(eventRecord(content, step, Date.now() / 1000));
  }
}

async function openEvents(folder: string): Promise<FileHandle> {
  await mkdir(folder, { recursive: true });
  const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, "0");
  const name = `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${made++}`;
  const file = await open(join(folder, name), "a");
  await file.appendFile(eventRecord({ kind: "version" }, 0, Date.now() / 1000));
  return file;
}

/** Options of {@link tensorBoard}. */
export interface TensorBoardOptions {
  /** A model whose weights are shown as histograms after each evaluation. They are read back for it. */
  readonly weights?: Module;
}

/**
 * Writes the figures of a training for TensorBoard: `train/…` as they are read, `validation/…` after each evaluation, and
 * the learning rate. A training that goes on from a checkpoint takes the place of what was written after it.
 *
 * @throws OptionError for no folder, an unknown option, or weights that are no module
 */
export function tensorBoard(folder: string, options: TensorBoardOptions = {}): Callback {
  checkPath("tensorBoard", "folder", folder);
  checkOptions("tensorBoard", options, ["weights"]);
  const { weights } = options;
  if (weights !== undefined && !(weights instanceof Module))
    throw new OptionError(`tensorBoard: weights must be a Module, got ${nameOf(weights)}.`);
  let writer: EventWriter | undefined;
  const scalars = async (prefix: string, figures: object, step: number): Promise<void> => {
    for (const [name, value] of Object.entries(figures))
      await writer?.scalar(`${prefix}/${name}`, Number(value), step);
  };
  return {
    async onTrainBegin({ resumed, step }) {
      writer = new EventWriter(folder);
      if (resumed) await writer.restart(step + 1);
    },
    async onLog({ step, figures, learningRate }) {
      await scalars("train", figures, step);
      await writer?.scalar("learning rate", learningRate, step);
    },
    async onEvaluation({ step, row: { validation = {} } }) {
      await scalars("validation", validation, step);
      for (const [name, weight] of weights?.namedParameters() ?? [])
        await writer?.histogram(`weights/${name}`, await weight.data(), step);
    },
    async onTrainEnd() {
      await writer?.close();
      writer = undefined;
    },
  };
}
