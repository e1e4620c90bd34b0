import type { TextEvaluation } from "./evaluate.ts";

/** A step in the metrics. */
export interface StepLine {
  readonly kind: "step";
  readonly step: number;
  readonly loss: number;
  readonly accuracy: number;
  readonly characters: number;
  readonly learningRate: number;
}

/** An evaluation in the metrics. */
export interface EvaluationLine extends TextEvaluation {
  readonly kind: "evaluation";
  readonly step: number;
  /** Of the steps before it; null where none of them is known, as `accuracy`. */
  readonly loss: number | null;
  readonly accuracy: number | null;
  readonly seconds: number;
}

/**
 * The lines of a metrics file that are whole, in the order of their steps. Half a line that a killed run left behind is left
 * out, and so is whatever else is no line of metrics.
 */
export function linesOf(metrics: string): (StepLine | EvaluationLine)[] {
  const lines: (StepLine | EvaluationLine)[] = [];
  const last = { step: 0, evaluation: 0 };
  for (const text of metrics.split("\n")) {
    const line = parse(text);
    // Each kind goes up.
    if (line === undefined || line.step <= last[line.kind]) continue;
    last[line.kind] = line.step;
    lines.push(line);
  }
  return lines;
}

function parse(text: string): StepLine | EvaluationLine | undefined {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    return undefined;
  }
  const step = Number.isSafeInteger(get(line, "step")) && has(line, ["step"]);
  const kind = get(line, "kind");
  if (step && kind === "step" && has(line, ["loss", "accuracy", "characters", "learningRate"]))
    return line as StepLine;
  const whole =
    step &&
    kind === "evaluation" &&
    has(line, ["seconds"]) &&
    ["loss", "accuracy"].every((name) => get(line, name) === null || has(line, [name])) &&
    ["train", "validation"].every((part) => has(get(line, part), ["loss", "accuracy", "characters"]));
  return whole ? (line as EvaluationLine) : undefined;
}

function get(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}

function has(value: unknown, names: readonly string[]): boolean {
  return names.every((name) => Number.isFinite(get(value, name)));
}
