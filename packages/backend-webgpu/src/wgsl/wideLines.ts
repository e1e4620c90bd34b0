import type { ReduceCall } from "@nf/core";
import { computeDtype, isWord, VALUE_TYPE } from "./access.ts";
import type { LineSpace } from "./lines.ts";
import { hasChecks } from "./printer.ts";

/** Lines of which four neighbouring elements are taken at a time: of one line, or of four lines side by side. */
export interface WideLines {
  /** The dimension that is counted in vectors. */
  readonly axis: number;
  /** Inputs that stand still along it: their index counts elements. */
  readonly still: readonly boolean[];
  /** The space with that dimension counted in vectors; outputs' steps are those of whole vectors. */
  readonly space: LineSpace;
  /** Offsets of inputs, in vectors where they move. */
  readonly offsets: readonly number[];
}

/** The wide form of a reduction, where its inputs are words that lie in whole vectors. */
export function wideLines(call: ReduceCall, space: LineSpace): WideLines | undefined {
  const { program, inputs, outputs } = call;
  if (inputs.length === 0 || program.coordinates.length > 0 || hasChecks(program)) return undefined;
  if (!inputs.every(({ dtype }) => isWord(dtype))) return undefined;
  if (inputs.some((input) => outputs.some(({ buffer }) => buffer === input.buffer))) return undefined;
  const rank = space.shape.length;
  for (const axis of rank > space.kept ? [rank - 1, space.kept - 1] : []) {
    if (axis >= 0 && fits(call, space, axis)) return counted(call, space, axis);
  }
  return undefined;
}

function fits({ inputs }: ReduceCall, { shape, strides }: LineSpace, axis: number): boolean {
  if (shape[axis] % 4 !== 0) return false;
  let moves = false;
  for (let view = 0; view < inputs.length; view++) {
    const steps = strides[view];
    if (steps[axis] === 0) continue;
    moves = true;
    if (steps[axis] !== 1 || inputs[view].offset % 4 !== 0) return false;
    if (steps.some((step, other) => other !== axis && step % 4 !== 0)) return false;
  }
  return moves;
}

function counted({ inputs }: ReduceCall, space: LineSpace, axis: number): WideLines {
  const still = inputs.map((_, view) => space.strides[view][axis] === 0);
  const along = axis >= space.kept;
  return {
    axis,
    still,
    offsets: inputs.map(({ offset }, view) => (still[view] ? offset : offset / 4)),
    space: {
      ...space,
      shape: space.shape.map((size, one) => (one === axis ? size / 4 : size)),
      strides: space.strides.map((steps, view) =>
        steps.map((step, one) => {
          if (view >= inputs.length) return one === axis ? 4 * step : step;
          return one === axis || still[view] ? step : step / 4;
        }),
      ),
      lines: along ? space.lines : space.lines / 4,
      length: along ? space.length / 4 : space.length,
    },
  };
}

/** Four elements of an input, at `x0`, `x1`, …. */
export function loadWide({ inputs }: ReduceCall, wide: WideLines, input: number, buffer: string): string {
  const type = VALUE_TYPE[computeDtype(inputs[input].dtype)];
  const at = `x${input}`;
  if (!wide.still[input]) return `bitcast<${type}>(${buffer}[${at}])`;
  return `bitcast<${type}>(U(${buffer}[${at} >> 2u][u32(${at}) & 3u]))`;
}
