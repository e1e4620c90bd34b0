import type { Backend } from "@nf/core";
import type { Progress } from "@nf/train/node";
import type { Io } from "../io.ts";
import type { RunFolder } from "./folder.ts";
import type { Picture } from "./pictures.ts";

/** A training run that is set up and has not begun. */
export interface TrainingRun {
  readonly folder: RunFolder;
  /** The model's table, and what is about to happen. */
  readonly introduction: readonly string[];
  /** Of the whole run. */
  readonly steps: number;
  /** Steps done so far. */
  stepsDone(): number;
  /** @returns whether all was done, or else the signal has stopped it */
  train(progress: Progress, signal: AbortSignal): Promise<boolean>;
  /** What there is to draw so far. */
  pictures(): readonly Picture[];
  /** What the run came to, for programs. */
  result(complete: boolean): object;
  /** What `run.json` holds: the result, and what is needed to do it again. */
  details(result: object): object;
  /** What the run came to, for people. */
  summary(): string;
}

/** What `nf train` needs to know of a model. */
export interface Trainable {
  /** Short name or package name of the backend that was asked for. */
  readonly backend: string | undefined;
  readonly json: boolean;
  /** The result of a run that was stopped before it was set up. */
  nothingDone(backend: Backend): object;
  /** Sets a run up, on the backend in use; undefined when it was stopped meanwhile. */
  prepare(io: Io, backend: Backend, note: (line: string) => void): Promise<TrainingRun | undefined>;
}

/** What a run's `run.json` says of where and when it was made. */
export function circumstances(version: string, started: Date): Readonly<Record<string, unknown>> {
  return {
    started: started.toISOString(),
    versions: { "@nf/cli": version, node: process.versions.node },
    platform: `${process.platform}-${process.arch}`,
  };
}

/** What a backend runs on: `1 thread`, `2 threads`, or the name of a GPU, with which a backend's description begins. */
export function hardwareOf({ description, capabilities: { threads } }: Backend): string {
  return description?.split(":")[0] ?? `${threads} thread${threads === 1 ? "" : "s"}`;
}
