import { showShape } from "../backend/geometry.ts";
import { DTYPES } from "../dtype.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { checkHeld } from "./create.ts";
import { checkChoice, checkInteger, checkOptions, checkTensor, show } from "./options.ts";
import { concat } from "./place.ts";
import { expandTo } from "./programs.ts";
import { flip, slice } from "./shape.ts";
import { ownResult } from "./views.ts";
import { type Padding, padTrailing } from "./windows.ts";

/** What {@link pad} puts outside. */
export type PadMode = "constant" | "reflect" | "replicate" | "circular";

/** Options of {@link pad}. */
export interface PadOptions {
  /**
   * `constant` (default) one value, `reflect` the inside mirrored at the outermost element, `replicate` the outermost
   * element, `circular` the other end.
   */
  readonly mode?: PadMode;
  /** The value of `constant`; default 0. */
  readonly value?: number;
}

/**
 * x with more on both sides of its dimensions, `[before, after]` for each of them. Negative amounts cut off, in mode
 * `constant`. `reflect` takes less than the dimension has, `circular` at most as much.
 */
export function pad(x: Tensor, padding: Padding, options: PadOptions = {}): Tensor {
  checkTensor("pad", x);
  checkOptions("pad", options, ["mode", "value"]);
  const mode = checkChoice("pad", "mode", options.mode ?? "constant", [
    "constant",
    "reflect",
    "replicate",
    "circular",
  ]);
  checkPadding(x, padding, mode);
  if (mode !== "constant") {
    if (options.value !== undefined)
      throw new OptionError(`pad: value goes with mode "constant", not with "${mode}".`);
    return composite([x], () =>
      ownResult(
        x,
        padding.reduce<Tensor>((padded, amounts, axis) => extended(padded, amounts, axis, mode), x),
      ),
    );
  }
  const { value = 0 } = options;
  if (typeof value !== "number" || (DTYPES[x.dtype].kind !== "float" && !Number.isInteger(value)))
    throw new OptionError(`pad: value must be a number that ${x.dtype} holds, got ${show(value)}.`);
  if (x.dtype === "bool" && value !== 0 && value !== 1)
    throw new OptionError(`pad: value must be 0 or 1 for bool, got ${value}.`);
  checkHeld("pad", x.dtype, value);
  return composite([x], () => padTrailing(x, padding, value));
}

function checkPadding(x: Tensor, padding: Padding, mode: PadMode): void {
  if (!Array.isArray(padding) || padding.length !== x.rank || padding.some((pair) => pair?.length !== 2)) {
    throw new ShapeError(
      `pad: expected one [before, after] for each dimension of x ${showShape(x.shape)}, got ${show(padding)}.`,
    );
  }
  padding.forEach(([before, after]: readonly [number, number], axis: number) => {
    const size = x.shape[axis] as number;
    for (const amount of [before, after])
      checkInteger("pad", "each amount", amount, mode === "constant" ? Number.MIN_SAFE_INTEGER : 0);
    const cut = Math.max(0, -before) + Math.max(0, -after);
    if (cut > size) {
      throw new ShapeError(
        `pad: [${before}, ${after}] cuts ${cut} off dimension ${axis}, which has size ${size}.`,
      );
    }
    const most = mode === "reflect" ? Math.max(0, size - 1) : mode === "circular" ? size : Infinity;
    if (Math.max(before, after) > (size === 0 && mode !== "constant" ? 0 : most)) {
      throw new ShapeError(
        `pad: mode "${mode}" cannot take [${before}, ${after}] from dimension ${axis} of size ${size}${size > 0 ? `: at most ${most}` : ""}.`,
      );
    }
  });
}

/** One dimension longer at both ends: parts of x itself, joined. */
function extended(
  x: Tensor,
  [before, after]: readonly [number, number],
  axis: number,
  mode: Exclude<PadMode, "constant">,
): Tensor {
  const size = x.shape[axis] as number;
  const part = (start: number, end: number): Tensor =>
    slice(x, ...x.shape.map((_, position) => (position === axis ? ([start, end] as const) : null)));
  const ends: Readonly<Record<typeof mode, () => readonly [Tensor, Tensor]>> = {
    reflect: () => [flip(part(1, before + 1), axis), flip(part(size - 1 - after, size - 1), axis)],
    circular: () => [part(size - before, size), part(0, after)],
    replicate: () => [repeated(part(0, 1), axis, before), repeated(part(size - 1, size), axis, after)],
  };
  if (before === 0 && after === 0) return x;
  const [front, back] = ends[mode]();
  return concat([...(before > 0 ? [front] : []), x, ...(after > 0 ? [back] : [])], axis);
}

function repeated(x: Tensor, axis: number, count: number): Tensor {
  return expandTo(
    x,
    x.shape.map((size, position) => (position === axis ? count : size)),
  );
}
