import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { bucketMeans, smooth } from "./smooth.ts";
import { BLUE, element, FONT, heading, INK, MUTED, ORANGE, picture, RULE, text } from "./svg.ts";

/** Loss and accuracy of one training step, or the means of those since the entry before. */
export interface CurveStep {
  /** Steps done, counted from 1 over all epochs. */
  readonly step: number;
  /** Cross-entropy, in nats. */
  readonly loss: number;
  /** Share that was classified right, 0 to 1; NaN where nobody counted. */
  readonly accuracy: number;
}

/** Loss and accuracy on the test set after an epoch. */
export interface CurvePoint extends CurveStep {
  /** Epochs done, counted from 1. */
  readonly epoch: number;
}

/** What {@link curvesSvg} draws. */
export interface CurvesData {
  readonly title: string;
  readonly subtitle: string;
  /** Steps of one epoch: the horizontal axis counts epochs. */
  readonly stepsPerEpoch: number;
  readonly steps: readonly CurveStep[];
  /** Test results, where there are any. */
  readonly tests: readonly CurvePoint[];
  /** Draws the loss alone, over the whole width: there is no accuracy. */
  readonly alone?: boolean;
  /** What axes and legend say; default an image classifier's words. */
  readonly words?: CurveWords;
}

/** What axes and legend of {@link curvesSvg} say. */
export interface CurveWords {
  /** What the horizontal axis counts: with `Step`, `stepsPerEpoch` is 1. */
  readonly x: "Epoch" | "Step";
  /** What the accuracy is a share of: `images`. */
  readonly items: string;
  /** What the points stand for: `test set`. */
  readonly tests: string;
}

const IMAGES: CurveWords = { x: "Epoch", items: "images", tests: "test set" };

const WIDTH = 1120;
const HEIGHT = 470;
const MARGIN = 32;
const PANEL = { width: 516, height: 360, top: 84 };

/** The part of a DOM element that is used here. */
interface SvgElement {
  setAttribute(name: string, value: string): void;
  querySelector(selector: string): { remove(): void } | null;
  readonly outerHTML: string;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

interface Panel {
  readonly width?: number;
  readonly label: string;
  readonly raw: readonly Point[];
  readonly smoothed: readonly Point[];
  readonly tests: readonly Point[];
  readonly x: CurveWords["x"];
  readonly epochs: number;
  readonly y: Plot.ScaleOptions;
  /** Values that the vertical axis marks; Plot's choice when absent. */
  readonly ticks?: readonly number[];
  readonly valueLabel: (value: number) => string;
  /** Where the value of a test point stands relative to it, in pixels; negative is above. */
  readonly labelOffset: number;
}

/** Points of a training curve, at most. */
const MAX_POINTS = 240;

/** Values of test points are written out while there are few of them. */
const MAX_LABELS = 12;

/** Pixels of a character of a written value: of a digit, in a wide font such as DejaVu Sans, where `100.0 %` takes 54. */
const CHARACTER_WIDTH = 8;

/** Sides of a panel, where its axes stand. */
const SIDES = { left: 52, right: 34 };

/** Points whose values do not stand over each other; the last one always. */
function withLabels(
  points: readonly Point[],
  pixels: number,
  valueLabel: Panel["valueLabel"],
): readonly Point[] {
  if (points.length > MAX_LABELS) return [];
  // Each stands around the middle of its point.
  const half = ({ y }: Point): number => (valueLabel(y).length * CHARACTER_WIDTH) / 2;
  const chosen: Point[] = [];
  for (const point of points.toReversed()) {
    const last = chosen.at(-1);
    if (last === undefined || (last.x - point.x) * pixels >= half(last) + half(point)) chosen.push(point);
  }
  return chosen;
}

/** Whole epochs, at most a dozen of them; or half a dozen round numbers of steps. */
function xTicks(x: CurveWords["x"], epochs: number): number[] {
  const least = epochs / 6;
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  const round = Math.max(1, unit * ([1, 2, 5, 10].find((factor) => factor * unit >= least) ?? 10));
  const every = x === "Epoch" ? Math.ceil(epochs / 12) : round;
  return Array.from({ length: Math.floor(epochs / every) + 1 }, (_, index) => index * every);
}

function panelSvg(left: number, panel: Panel): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const ticks = xTicks(panel.x, panel.epochs);
  const chosen = panel.ticks === undefined ? {} : { ticks: panel.ticks };
  const width = panel.width ?? PANEL.width;
  const svg: SvgElement = Plot.plot({
    document,
    width,
    height: PANEL.height,
    marginLeft: SIDES.left,
    marginRight: SIDES.right,
    marginTop: 36,
    marginBottom: 46,
    style: { fontFamily: FONT, fontSize: "12px", color: INK, background: "none" },
    x: { label: panel.x, domain: [0, panel.epochs], ticks, tickFormat: panel.x === "Epoch" ? "d" : ",d" },
    y: { label: panel.label, ...panel.y },
    marks: [
      Plot.gridY({ stroke: RULE, strokeOpacity: 1, ...chosen }),
      // Plot leaves out labels of a log axis; these ticks were chosen so that each has room for its own.
      Plot.axisY({ ...chosen, ...(panel.ticks !== undefined && { text: (tick: number) => String(tick) }) }),
      Plot.gridX({ stroke: RULE, strokeOpacity: 1, ticks, strokeDasharray: "2 3" }),
      Plot.lineY(panel.raw, {
        x: "x",
        y: "y",
        stroke: BLUE,
        strokeOpacity: 0.22,
        strokeWidth: 1,
        clip: true,
      }),
      Plot.lineY(panel.smoothed, { x: "x", y: "y", stroke: BLUE, strokeWidth: 2, clip: true }),
      // A line of one point is none.
      Plot.dot(panel.smoothed.length === 1 ? panel.smoothed : [], { x: "x", y: "y", fill: BLUE, r: 3 }),
      Plot.lineY(panel.tests, { x: "x", y: "y", stroke: ORANGE, strokeWidth: 1.5, strokeDasharray: "4 3" }),
      Plot.dot(panel.tests, { x: "x", y: "y", fill: ORANGE, stroke: "#ffffff", strokeWidth: 1.5, r: 5 }),
      Plot.text(
        withLabels(panel.tests, (width - SIDES.left - SIDES.right) / panel.epochs, panel.valueLabel),
        {
          x: "x",
          y: "y",
          text: (point: Point) => panel.valueLabel(point.y),
          dy: panel.labelOffset,
          fill: "#9a3412",
          stroke: "#ffffff",
          strokeWidth: 4,
          fontWeight: 600,
        },
      ),
    ],
  });
  // Its own style sheet makes the height automatic, which a nested drawing must not be.
  svg.querySelector("style")?.remove();
  svg.setAttribute("x", String(left));
  svg.setAttribute("y", String(PANEL.top));
  return svg.outerHTML;
}

function legend(right: number, span: number, size: number, about: string, tests: string): string {
  const line = (x: number, stroke: string, extra: Readonly<Record<string, string | number>>) =>
    element("line", { x1: x, x2: x + 22, y1: 31, y2: 31, stroke, ...extra });
  const label = (x: number, content: string) => text(x, 35, content, { fill: MUTED, "font-size": 12 });
  const [raw, average, test] = [right - 446, right - 290, right - 78];
  return [
    line(raw, BLUE, { "stroke-opacity": 0.35, "stroke-width": 1.5 }) +
      label(raw + 30, size > 1 ? `mean of ${about}${size} batches` : "each batch"),
    line(average, BLUE, { "stroke-width": 2.5 }) +
      label(average + 30, `moving average, ${about}${span} step${span === 1 ? "" : "s"}`),
    element("circle", { cx: test + 11, cy: 31, r: 5, fill: ORANGE }) + label(test + 30, tests),
  ].join("");
}

/** Powers of ten and their halves and fifths around positive values: ticks of a log axis that stay readable. */
function logTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let exponent = Math.floor(Math.log10(low)); exponent <= Math.ceil(Math.log10(high)); exponent++) {
    for (const digit of [1, 2, 5]) {
      const tick = Number(`${digit}e${exponent}`);
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}

/** Domain and ticks of the loss: a log axis, between what the smoothed curve and the tests reach, with room. */
function lossScale(smoothed: readonly Point[], tests: readonly Point[]): Pick<Panel, "y" | "ticks"> {
  const values = [...smoothed, ...tests]
    .map(({ y }) => y)
    .filter((value) => value > 0 && Number.isFinite(value));
  if (values.length === 0) return { y: { type: "linear", domain: [0, 1] } };
  const low = Math.min(...values) / 1.8;
  const high = Math.max(...values) * 1.3;
  return { y: { type: "log", domain: [low, high] }, ticks: logTicks(low, high) };
}

/** Domain of the accuracy: from the round number below what matters to the one above, with room. */
function accuracyScale(smoothed: readonly Point[], tests: readonly Point[]): Plot.ScaleOptions {
  // The first fifth is the climb from guessing; it may leave the picture at the bottom.
  const settled = [...smoothed.slice(Math.floor(smoothed.length / 5)), ...tests].map(({ y }) => y);
  const low = settled.length === 0 ? 0 : Math.max(0, Math.floor(Math.min(...settled) / 10) * 10 - 10);
  const high = Math.max(low, ...[...smoothed, ...tests].map(({ y }) => y));
  return { domain: [low, Math.min(100, Math.floor(high / 10) * 10 + 20)] };
}

/**
 * Steps from one entry to the next, where neither an epoch ends in between nor some are missing; `~` before a number that
 * holds for fewer than half of them.
 */
function stride(steps: readonly CurveStep[]): { readonly each: number; readonly about: string } {
  const gaps = steps.slice(1).map(({ step }, index) => step - (steps[index]?.step ?? 0));
  const each = gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.75)] ?? steps[0]?.step ?? 1;
  const equal = gaps.filter((gap) => gap === each).length;
  return { each, about: 2 * equal < gaps.length ? "~" : "" };
}

/**
 * Loss and accuracy of a training run, side by side: batches faintly (of a long run the means
 * of some at a time), their moving average, and the test set after
 * every epoch.
 *
 * @returns an SVG document of 1120 by 470 pixels
 */
export function curvesSvg(data: CurvesData): string {
  const { steps, tests, stepsPerEpoch, words = IMAGES, alone = false } = data;
  const at = (step: number) => step / stepsPerEpoch;
  // About a thirtieth of the run: follows the curve, and takes the noise of single batches away.
  const span = Math.max(1, Math.min(100, Math.round(steps.length / 30)));
  // More points than this only fill the panel with ink.
  const size = Math.ceil(steps.length / MAX_POINTS);
  const { each, about } = stride(steps);
  const series = (read: (entry: CurveStep) => number) => {
    const values = steps.map(read);
    const averages = smooth(values, span);
    const buckets = bucketMeans(values, size);
    const xOf = (position: number) => at(steps[position]?.step ?? 0);
    return {
      raw: buckets.map(({ last, mean }) => ({ x: xOf(last), y: mean })),
      smoothed: buckets.map(({ last }) => ({ x: xOf(last), y: averages[last] ?? Number.NaN })),
      // A validation of one's own may have figures of its own.
      tests: tests
        .map((entry) => ({ x: at(entry.step), y: read(entry) }))
        .filter(({ y }) => !Number.isNaN(y)),
    };
  };
  const epochs = Math.max(1, Math.ceil(at(steps.at(-1)?.step ?? 0)));
  const loss = series((entry) => entry.loss);
  const accuracy = series((entry) => entry.accuracy * 100);
  return picture(
    WIDTH,
    HEIGHT,
    data.title,
    heading(MARGIN, data.title, data.subtitle),
    legend(WIDTH - MARGIN, span * each, size * each, about, words.tests),
    panelSvg(MARGIN - 12, {
      ...loss,
      x: words.x,
      epochs,
      label: alone ? "Loss (log scale)" : "Cross-entropy loss (nats, log scale)",
      ...(alone && { width: WIDTH - 2 * MARGIN + 24 }),
      ...lossScale(loss.smoothed, loss.tests),
      valueLabel: (value) => value.toPrecision(3),
      labelOffset: -15,
    }),
    alone
      ? ""
      : panelSvg(WIDTH - MARGIN - PANEL.width + 12, {
          ...accuracy,
          x: words.x,
          epochs,
          label: `Accuracy (% of ${words.items})`,
          y: accuracyScale(accuracy.smoothed, accuracy.tests),
          valueLabel: (value) => `${value.toFixed(1)} %`,
          labelOffset: 18,
        }),
  );
}
