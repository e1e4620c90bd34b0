import { OptionError } from "@nf/core";
import { Module } from "@nf/nn";
import { onInterrupt } from "./breathe.ts";
import type { HistoryRow } from "./events.ts";
import type { Figures, NamedFigures } from "./metrics.ts";
import { checkFitOptions, type FitOptions } from "./options.ts";
import { type Ending, Run } from "./run.ts";

/** What a training came to. */
export interface FitResult<Name extends string = string, Checked extends NamedFigures = NamedFigures> {
  /** One row an evaluation; of a resumed training those before as well. */
  readonly history: readonly HistoryRow<Name, Checked>[];
  /** Steps done. */
  readonly step: number;
  /** Epochs done. */
  readonly epochs: number;
  /** Items trained on, repeated ones counted each time. */
  readonly items: number;
  /** Seconds of training alone: without evaluations, checkpoints and callbacks. */
  readonly seconds: number;
  /** `"done"`; `"early"` for want of progress; `"callback"`; `"aborted"` by the signal or Ctrl-C. */
  readonly ending: Ending;
  /** Why, where it is not `"done"`. */
  readonly reason: string | undefined;
  /** The best evaluation by early stopping, where there is any. */
  readonly best: { readonly step: number; readonly value: number } | undefined;
  /** Path of the last checkpoint. */
  readonly checkpoint: string | undefined;
}

/**
 * Trains a model. Memory stays flat whatever a step makes: each is a scope. Batches lie outside of it: a `DataLoader` ends
 * its own, and a generator that makes tensors has to end them when it is asked for the next. Nothing is read back from the backend
 * but the figures, every `logEvery` steps. Afterwards the model is in evaluation mode, with its best weights where early
 * stopping asks for them.
 *
 * @throws OptionError for options that make no sense; {@link DivergedError} when the loss or a weight is no number any more;
 * CheckpointError; and whatever functions of yours throw. Checkpoints that were written stay.
 *
 * @example
 * ```ts no-run
 * import { crossEntropy } from "@nf/core";
 * import { DataLoader, embeddedMnist } from "@nf/data";
 * import { lenet } from "@nf/models";
 * import { Adam } from "@nf/optim";
 * import { accuracy, fit } from "@nf/train";
 *
 * const { train, test } = await embeddedMnist();
 * const model = lenet();
 * const { history } = await fit(model, {
 *   data: new DataLoader(train, { batchSize: 32, shuffle: true }),
 *   forward: (model, { image }) => model.forward(image),
 *   loss: (logits, { label }) => crossEntropy(logits, label),
 *   metrics: { accuracy: (logits, { label }) => accuracy(logits, label) },
 *   validation: new DataLoader(test, { batchSize: 200 }),
 *   optimizer: new Adam(model.parameters(), { lr: 3e-3 }),
 *   epochs: 2,
 *   checkpoints: "run",
 * });
 * console.log(history.at(-1)?.validation?.accuracy);
 * ```
 */
export async function fit<
  M extends Module,
  Batch,
  Output,
  Name extends string = never,
  Checked extends NamedFigures = Figures<Name>,
>(model: M, options: FitOptions<M, Batch, Output, Name, Checked>): Promise<FitResult<Name, Checked>> {
  if (!(model instanceof Module)) {
    throw new OptionError(
      "fit: the first argument must be a Module. Of functional parameters, structure.bind({ params, state }) makes one.",
    );
  }
  checkFitOptions(options);
  const { signal, interrupt = signal === undefined } = options;
  const run = new Run(model, options);
  const abort = (): void => run.stop("aborted", "it was asked to stop");
  if (signal?.aborted === true) abort();
  signal?.addEventListener("abort", abort);
  const release = interrupt ? onInterrupt(abort) : undefined;
  try {
    await run.train();
    if (run.ending !== "aborted") run.best?.restore();
  } catch (error) {
    // What a callback has to say of the end is less than what ended it.
    await run.end(error).catch(() => {});
    throw error;
  } finally {
    release?.();
    signal?.removeEventListener("abort", abort);
    run.forget();
    run.best?.dispose();
    model.eval();
  }
  await run.end(undefined);
  const { history, step, epochs, items, seconds, ending = "done", reason } = run;
  const best = run.best?.state;
  return {
    ...{ history, step, epochs, items, seconds, ending, reason },
    best: best === undefined || best.value === null ? undefined : { step: best.step, value: best.value },
    checkpoint: run.checkpoints?.last,
  };
}
