import { join } from "node:path";
import type { Callback } from "@nf/train";
import { type CurvesOptions, curves } from "@nf/train/curves";
import { csvLog, type OutputStream, progress } from "@nf/train/node";

/** Options of {@link trainingCallbacks}. */
export interface CallbackOptions extends CurvesOptions {
  /** Begins the names of the files; default none: `log.csv`, `curves.svg`, `curves.png`. */
  readonly name?: string;
}

/** Callbacks of `fit` that show progress, and write figures and curves into a folder. */
export function trainingCallbacks(
  folder: string,
  stream: OutputStream,
  { name = "", ...options }: CallbackOptions,
): readonly Callback[] {
  const file = (ending: string): string => join(folder, name === "" ? ending : `${name}-${ending}`);
  return [
    progress({ stream, unit: options.items ?? "items" }),
    csvLog(file("log.csv")),
    curves(file("curves"), options),
  ];
}
