import { element, GREEN, heading, INK, MUTED, picture, RED, RULE, text } from "@nf/train/curves";

/** One classified image. */
export interface Prediction {
  /** Position in the test set. */
  readonly index: number;
  /** Grey levels, row-major, 0 (background) to 1 (ink). */
  readonly pixels: ArrayLike<number>;
  readonly label: number;
  readonly predicted: number;
  /** Softmax probability of the predicted class, 0 to 1. */
  readonly confidence: number;
}

/** What {@link predictionsSvg} draws. */
export interface PredictionsData {
  readonly title: string;
  readonly subtitle: string;
  /** Width and height of every image, in its own pixels. */
  readonly side: number;
  /** Images as they come, right or wrong. */
  readonly samples: readonly Prediction[];
  /** Wrong ones alone, shown in a part of their own. */
  readonly mistakes: readonly Prediction[];
}

const COLUMNS = 12;
const MARGIN = 32;
const GAP = 10;
const IMAGE = 76;
const CELL = { width: IMAGE + 4, height: IMAGE + 40 };
const WIDTH = 2 * MARGIN + COLUMNS * CELL.width + (COLUMNS - 1) * GAP;
/** Grey levels that are told apart; more make the file larger and look the same. */
const LEVELS = 15;

/** Colour between white and ink. */
function grey(level: number): string {
  const share = level / LEVELS;
  const channels = [0x11, 0x18, 0x27].map((ink) => Math.round(255 + (ink - 255) * share));
  return `#${channels.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}

/** An image as one path a grey level, each made of the level's runs of pixels. */
function pixelPaths(pixels: ArrayLike<number>, side: number): string {
  const paths = new Map<number, string>();
  const levelAt = (position: number) => Math.round(Math.min(1, Math.max(0, pixels[position] ?? 0)) * LEVELS);
  for (let row = 0; row < side; row++) {
    for (let start = 0, end = 0; start < side; start = end) {
      const level = levelAt(row * side + start);
      end = start + 1;
      while (end < side && levelAt(row * side + end) === level) end++;
      if (level > 0) {
        paths.set(level, `${paths.get(level) ?? ""}M${start} ${row}h${end - start}v1h${start - end}z`);
      }
    }
  }
  return [...paths].map(([level, d]) => element("path", { fill: grey(level), d })).join("");
}

const percent = (share: number): string => `${(share * 100).toFixed(share >= 0.9995 ? 0 : 1)} %`;

function cell(x: number, y: number, side: number, entry: Prediction): string {
  const right = entry.predicted === entry.label;
  const colour = right ? GREEN : RED;
  const frame = element("rect", {
    x: 1,
    y: 1,
    width: CELL.width - 2,
    height: IMAGE + 2,
    rx: 4,
    fill: "#ffffff",
    stroke: right ? RULE : RED,
    "stroke-width": right ? 1 : 2,
  });
  const image = element(
    "g",
    { transform: `translate(2 2) scale(${IMAGE / side})`, "shape-rendering": "crispEdges" },
    pixelPaths(entry.pixels, side),
  );
  const verdict = right ? `${entry.predicted} ✓` : `${entry.predicted} ✗ true ${entry.label}`;
  return element(
    "g",
    { transform: `translate(${x} ${y})`, class: right ? "right" : "wrong" },
    element("title", {}, `image ${entry.index}: predicted ${entry.predicted}, true label ${entry.label}`),
    frame,
    image,
    text(CELL.width / 2, IMAGE + 21, verdict, { fill: colour, "font-weight": 600, "text-anchor": "middle" }),
    text(CELL.width / 2, IMAGE + 36, percent(entry.confidence), {
      fill: MUTED,
      "font-size": 11,
      "text-anchor": "middle",
    }),
  );
}

function grid(top: number, side: number, entries: readonly Prediction[]): string {
  return entries
    .map((entry, index) => {
      const column = index % COLUMNS;
      const row = Math.floor(index / COLUMNS);
      return cell(MARGIN + column * (CELL.width + GAP), top + row * (CELL.height + GAP), side, entry);
    })
    .join("");
}

const gridHeight = (count: number): number => Math.ceil(count / COLUMNS) * (CELL.height + GAP);

/**
 * A sheet of classified images: each with the predicted class, the true one where they differ, and the confidence.
 * Wrong ones are framed in red; where there are any, a second part shows them alone.
 *
 * @returns an SVG document, 1134 pixels wide and as high as it needs
 */
export function predictionsSvg(data: PredictionsData): string {
  const { samples, mistakes, side } = data;
  const parts = [heading(MARGIN, data.title, data.subtitle)];
  let y = 90;
  const part = (title: string, entries: readonly Prediction[]) => {
    if (entries.length === 0) return;
    parts.push(
      text(MARGIN, y, title, { fill: INK, "font-weight": 600, "font-size": 14 }),
      grid(y + 14, side, entries),
    );
    y += 14 + gridHeight(entries.length) + 30;
  };
  part("From the test set, as they come", samples);
  part("Mistakes, the most confident first", mistakes);
  return picture(WIDTH, y - 20, data.title, ...parts);
}
