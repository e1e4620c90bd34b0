import { writeFile } from "node:fs/promises";
import { checkOptions, OptionError } from "@nf/core";
import { replaceFile } from "@nf/io";
import type { Callback, HistoryRow } from "../events.ts";
import { checkPath } from "../misuse.ts";
import { type CurveStep, type CurveWords, curvesSvg } from "./curves.ts";
import { toPng } from "./png.ts";

/** Options of {@link historySvg} and {@link curves}. */
export interface CurvesOptions {
  readonly title?: string;
  readonly subtitle?: string;
  /** The share, 0 to 1, that is drawn beside the loss; default `"accuracy"`, or the loss alone where there is none. */
  readonly share?: string;
  /** What the share is of; default `items`. */
  readonly items?: string;
  /** What the legend calls the data that is evaluated on; default `validation`. */
  readonly validation?: string;
}

/** A read of the figures. */
interface Read {
  readonly step: number;
  readonly figures: Readonly<Record<string, number>>;
}

/**
 * Loss and accuracy of a training, side by side, over its steps: as they were trained on, and of the validation data. The loss
 * alone, where no share is named and there is no accuracy.
 *
 * @param reads figures between the evaluations, as `onLog` tells them; default the rows' own
 * @throws OptionError for an unknown option, or if the figures have no share of the name that is given
 */
export function historySvg(
  history: readonly HistoryRow[],
  options: CurvesOptions = {},
  reads: readonly Read[] = history.map(({ step, train }) => ({ step, figures: train })),
): string {
  checkOptions("curves", options, OPTIONS);
  const { title = "Training", subtitle = "", share = "accuracy", items = "items" } = options;
  const { validation: tests = "validation" } = options;
  const alone = options.share === undefined && !reads.some(({ figures }) => Object.hasOwn(figures, share));
  const point = (step: number, figures: Readonly<Record<string, number>>): CurveStep => {
    const accuracy = Object.hasOwn(figures, share) ? figures[share] : undefined;
    if (accuracy === undefined && !alone) checkShare(share, Object.keys(figures));
    return { step, loss: figures["loss"] ?? Number.NaN, accuracy: accuracy ?? Number.NaN };
  };
  const words: CurveWords = { x: "Step", items, tests };
  return curvesSvg({
    title,
    subtitle,
    stepsPerEpoch: 1,
    steps: reads.map(({ step, figures }) => point(step, figures)),
    tests: history.flatMap(({ epoch, step, validation }) =>
      validation === undefined ? [] : [{ epoch, ...point(step, validation) }],
    ),
    words,
    ...(alone && { alone }),
  });
}

const OPTIONS = ["title", "subtitle", "share", "items", "validation"];

function checkShare(share: string, names: readonly string[]): void {
  if (!names.includes(share))
    throw new OptionError(
      `curves: there is no figure "${share}", only ${names.join(", ")}. Name one with { share }.`,
    );
}

/**
 * Draws the curves of a training into `PATH.svg` and `PATH.png` when it ends, however it does: of what was trained since it
 * began or was resumed.
 *
 * @throws OptionError for no path or an unknown option; and, when the training begins, for a share that is none of its figures
 */
export function curves(path: string, options: CurvesOptions = {}): Callback {
  checkPath("curves", "picture, without its ending", path);
  checkOptions("curves", options, OPTIONS);
  const reads: Read[] = [];
  const history: HistoryRow[] = [];
  return {
    onTrainBegin({ names }) {
      if (options.share !== undefined) checkShare(options.share, names);
    },
    onLog({ step, figures }) {
      reads.push({ step, figures });
    },
    onEvaluation({ row }) {
      history.push(row);
    },
    async onTrainEnd() {
      if (reads.length === 0) return;
      const svg = historySvg(history, options, reads);
      await replaceFile(`${path}.svg`, (part) => writeFile(part, svg, { flush: true }));
      await replaceFile(`${path}.png`, async (part) => writeFile(part, await toPng(svg), { flush: true }));
    },
  };
}
