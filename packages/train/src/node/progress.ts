import { checkOptions, OptionError } from "@nf/core";
import type { Callback, HistoryRow, TrainBeginEvent } from "../events.ts";
import { nameOf } from "../misuse.ts";
import { barProgress } from "./bar.ts";
import { lineProgress } from "./lines.ts";
import { clock, type Progress } from "./state.ts";
import type { OutputStream } from "./stream.ts";

/** A bar where a person watches, lines where a file or another program does. */
export function createProgress(stream: OutputStream): Progress {
  return stream.isTTY === true ? barProgress(stream) : lineProgress(stream);
}

/** Options of {@link progress}. */
export interface ProgressOptions {
  /** Where it is shown; default standard error. */
  readonly stream?: OutputStream;
  /** What items are called; default `items`. */
  readonly unit?: string;
}

const show = (value: number): string =>
  Math.abs(value) >= 1000 ? value.toExponential(2) : value.toPrecision(3);

const list = (figures: Readonly<Record<string, number>>): string[] =>
  Object.entries(figures).map(([name, value]) => `${name} ${show(value)}`);

/**
 * Shows how a training goes: a bar in a terminal, lines elsewhere, and a line that stays for each evaluation.
 *
 * @throws OptionError for an unknown option or a stream that cannot be written to
 *
 * @example
 * ```ts no-run
 * import { progress } from "@nf/train/node";
 * const callbacks = [progress({ unit: "images" })];
 * ```
 */
export function progress(options: ProgressOptions = {}): Callback {
  checkOptions("progress", options, ["stream", "unit"]);
  const { stream = process.stderr, unit = "items" } = options;
  if (typeof stream?.write !== "function")
    throw new OptionError("progress: stream must be one that is written to, such as process.stderr.");
  if (typeof unit !== "string")
    throw new OptionError(`progress: unit must be what items are called, got ${nameOf(unit)}.`);
  let shown: Progress | undefined;
  let begin: TrainBeginEvent | undefined;
  let start: { readonly items: number; readonly seconds: number; readonly step: number } | undefined;
  const place = (epoch: number): string =>
    begin?.totalEpochs === undefined ? `epoch ${epoch}` : `epoch ${epoch}/${begin.totalEpochs}`;
  const rowText = ({ epoch, train, validation }: HistoryRow): string => {
    const checked = validation === undefined ? "" : `; validation ${list(validation).join(", ")}`;
    return `${place(epoch)}  ${list(train).join(", ")}${checked}`;
  };
  return {
    onTrainBegin(event) {
      begin = event;
      // A bar has an end.
      shown = event.totalSteps === undefined ? lineProgress(stream) : createProgress(stream);
    },
    onLog({ epoch, step, steps, stepItems, figures, items, seconds }) {
      // The rate is that of what this run does itself: a resumed one counts from its first figures on.
      start ??= { items: items - stepItems, seconds: begin?.seconds ?? 0, step: step - steps };
      const [done, passed] = [items - start.items, seconds - start.seconds];
      const total = begin?.totalSteps;
      const left =
        total === undefined ? [] : [`${clock((passed / (step - start.step)) * (total - step))} left`];
      shown?.update({
        place: place(epoch),
        step,
        steps: total,
        figures: [
          ...list(figures),
          `${Math.round(done / passed).toLocaleString("en-US")} ${unit}/s`,
          ...left,
        ],
      });
    },
    onEvaluation({ row }) {
      shown?.note(rowText(row));
    },
    onTrainEnd() {
      shown?.stop();
    },
  };
}
