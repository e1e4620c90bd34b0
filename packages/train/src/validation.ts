import { noGrad, OptionError } from "@nf/core";
import type { Module } from "@nf/nn";
import { FigureSums, HostSums, type NamedFigures } from "./metrics.ts";
import { checkedLoss, nameOf } from "./misuse.ts";
import type { BatchSource, FitOptions } from "./options.ts";
import type { Ending } from "./run.ts";

/** Batches between two reads. */
const READ_EVERY = 32;

/** What a validation knows of the training that it belongs to. */
interface Surroundings {
  readonly context: { readonly epoch: number; readonly step: number };
  /** Lets timers and signals in. */
  breathe(): Promise<void>;
  /** Why the training ends; undefined while it goes on. */
  ending(): Ending | undefined;
}

/**
 * Validates a model in evaluation mode, and puts each of its modules back into the mode that it was in.
 *
 * @returns the figures; undefined where there is nothing to validate by; `"given up"` when the training was asked to stop
 * @throws OptionError for data without a batch, and for a function of one's own that gives no figures
 */
export async function validated<
  M extends Module,
  Batch,
  Output,
  Name extends string,
  Checked extends NamedFigures,
>(
  model: M,
  options: FitOptions<M, Batch, Output, Name, Checked>,
  { context, breathe, ending }: Surroundings,
): Promise<Checked | undefined | "given up"> {
  const { validation, validate, metrics, items, forward, loss } = options;
  if (validation === undefined && validate === undefined) return undefined;
  const goesOn = async (): Promise<boolean> => {
    await breathe();
    return ending() !== "aborted";
  };
  const modes = model.modules().map((module) => [module, module.training] as const);
  model.eval();
  const figures = new FigureSums<Output, Batch, Name>(metrics ?? ({} as NonNullable<typeof metrics>), items);
  try {
    if (validate !== undefined) {
      const given: unknown = await validate({ ...context, breathe: goesOn });
      if (given === undefined && ending() !== undefined) return "given up";
      checkFigures(given);
      return given as Checked;
    }
    const sums = new HostSums();
    let batches = 0;
    for await (const batch of validation as BatchSource<Batch>) {
      noGrad(() => {
        const output = forward(model, batch);
        figures.add(output, batch, checkedLoss(loss(output, batch)));
      });
      if (++batches % READ_EVERY === 0) sums.add(await figures.read());
      if (!(await goesOn())) return "given up";
    }
    if (batches === 0) throw new OptionError("fit: the validation data gave no batch.");
    sums.add(await figures.read());
    // Without a validation of one's own, the loss and the metrics are what is checked.
    const result: NamedFigures = figures.figures(sums);
    return result as Checked;
  } finally {
    figures.forget();
    for (const [module, mode] of modes) module.training = mode;
  }
}

/** @throws OptionError for what a function of one's own gave, if it is no object of numbers */
function checkFigures(given: unknown): void {
  const expected = "an object of numbers, as in { loss: 0.3 }";
  if (given === undefined) {
    throw new OptionError(
      `fit: validate gave no figures. Return ${expected}; undefined is for a validation that was given up because ` +
        "breathe() said false.",
    );
  }
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new OptionError(`fit: validate must give ${expected}, got ${nameOf(given)}.`);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "number") continue;
    const hint = typeof value === "object" ? " Read a tensor with await item()." : "";
    throw new OptionError(`fit: validate must give ${expected}, got ${nameOf(value)} for ${name}.${hint}`);
  }
}
