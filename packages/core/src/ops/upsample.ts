import { showShape } from "../backend/geometry.ts";
import { OptionError, ShapeError } from "../errors.ts";
import * as s from "../scalar/expr.ts";
import { hostArray } from "../tensor/host.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { upload } from "./create.ts";
import { callElementwise, type Elementwise, elementwise } from "./elementwise.ts";
import { indexSelect } from "./index-ops.ts";
import { checkChoice, checkFloat, checkOptions, show } from "./options.ts";
import { expandTo } from "./programs.ts";
import { reshape } from "./shape.ts";
import { withUnitDims } from "./views.ts";
import { type PerDimension, perDimension } from "./windows.ts";

/** Options of {@link upsample}: either `size` or `scaleFactor`. */
export interface UpsampleOptions {
  /** Sizes of the result's spatial dimensions. */
  readonly size?: PerDimension;
  /** How many times larger the result is; sizes are rounded down. */
  readonly scaleFactor?: number | readonly number[];
  /** `linear` for one spatial dimension, `bilinear` for two; default nearest. */
  readonly mode?: "nearest" | "linear" | "bilinear";
  /** Whether the corner elements of both lie on each other, not the corners of the edges; not for nearest. Default false. */
  readonly alignCorners?: boolean;
}

/** How one dimension grows. */
interface Growth {
  readonly axis: number;
  readonly from: number;
  readonly to: number;
  /** Step in x for a step in the result. */
  readonly step: number;
}

function growthOf(x: Tensor, rank: number, { size, scaleFactor }: UpsampleOptions): readonly Growth[] {
  const spatial = x.shape.slice(2);
  if ((size === undefined) === (scaleFactor === undefined))
    throw new OptionError("upsample: give either size or scaleFactor.");
  if (spatial.includes(0))
    throw new ShapeError(`upsample: x ${showShape(x.shape)} has nothing to take from.`);
  const growth = (to: number, i: number, step: number): Growth => {
    if (to < 1) throw new OptionError(`upsample: scaleFactor leaves nothing of x ${showShape(x.shape)}.`);
    return { axis: i + 2, from: spatial[i] as number, to, step };
  };
  if (size !== undefined) {
    return perDimension("upsample", "size", size, rank, 1).map((to, i) =>
      growth(to, i, (spatial[i] as number) / to),
    );
  }
  const factors = typeof scaleFactor === "number" ? new Array<number>(rank).fill(scaleFactor) : scaleFactor;
  if (
    !Array.isArray(factors) ||
    factors.length !== rank ||
    !factors.every((f) => f > 0 && Number.isFinite(f))
  ) {
    throw new OptionError(
      `upsample: scaleFactor must be a positive number or an array of ${rank}, got ${show(scaleFactor)}.`,
    );
  }
  return factors.map((factor: number, i: number) =>
    growth(Math.floor((spatial[i] as number) * factor), i, 1 / factor),
  );
}

/** Element floor(i · step), the last at most. */
function nearest(x: Tensor, { axis, from, to, step }: Growth): Tensor {
  if (to % from === 0 && step === from / to) {
    const times = to / from;
    const lifted = withUnitDims(x, [...x.shape.slice(0, axis + 1), 1, ...x.shape.slice(axis + 1)]);
    const repeated = [...x.shape.slice(0, axis + 1), times, ...x.shape.slice(axis + 1)];
    return reshape(expandTo(lifted, repeated), [...x.shape.slice(0, axis), to, ...x.shape.slice(axis + 1)]);
  }
  const index = Int32Array.from({ length: to }, (_, i) => Math.min(Math.floor(i * step), from - 1));
  return indexSelect(x, axis, upload("upsample", x.device, index, [to], "i32"));
}

const BLEND: Elementwise = /* @__PURE__ */ elementwise({
  name: "upsample",
  result: "float",
  body([low, high, share]) {
    const rest = s.sub(s.constant(1, (share as s.Expr).dtype), share as s.Expr);
    return s.add(s.mul(low as s.Expr, rest), s.mul(high as s.Expr, share as s.Expr));
  },
});

/** Between the two neighbours of a place in x, each the more the nearer it is. */
function linear(x: Tensor, { axis, from, to, step }: Growth, alignCorners: boolean): Tensor {
  const places = Array.from({ length: to }, (_, i) =>
    alignCorners ? (to === 1 ? 0 : (i * (from - 1)) / (to - 1)) : Math.max(0, (i + 0.5) * step - 0.5),
  );
  const lows = Int32Array.from(places, (place) => Math.min(Math.floor(place), from - 1));
  const highs = lows.map((low) => Math.min(low + 1, from - 1));
  const shares = hostArray(x.dtype, to);
  places.forEach((place, i) => {
    shares[i] = Math.min(place - (lows[i] as number), 1);
  });
  const select = (index: Int32Array): Tensor =>
    indexSelect(x, axis, upload("upsample", x.device, index, [to], "i32"));
  const shape = x.shape.slice(axis).map((_, i) => (i === 0 ? to : 1));
  return callElementwise(BLEND, [
    select(lows),
    select(highs),
    upload("upsample", x.device, shares, shape, x.dtype),
  ]);
}

/**
 * Enlarges (or shrinks) the spatial dimensions of x `[batch, channels, …spatial]`: by the nearest element (any number of
 * spatial dimensions) or linearly between neighbours.
 */
export function upsample(x: Tensor, options: UpsampleOptions): Tensor {
  checkOptions("upsample", options ?? null, ["size", "scaleFactor", "mode", "alignCorners"]);
  checkFloat("upsample", x);
  const rank = x.rank - 2;
  const { mode = "nearest", alignCorners } = options;
  checkChoice("upsample", "mode", mode, ["nearest", "linear", "bilinear"]);
  const wanted = mode === "linear" ? 1 : mode === "bilinear" ? 2 : Math.max(rank, 1);
  if (rank !== wanted) {
    throw new ShapeError(
      `upsample: mode "${mode}" needs x [batch, channels, ${wanted === 2 ? "height, width" : "length"}], got ${showShape(x.shape)}.`,
    );
  }
  if (mode === "nearest" && alignCorners !== undefined)
    throw new OptionError('upsample: alignCorners goes with "linear" and "bilinear", not with "nearest".');
  const growths = growthOf(x, rank, options);
  return composite([x], () =>
    growths.reduce(
      (partial, growth) =>
        mode === "nearest" ? nearest(partial, growth) : linear(partial, growth, alignCorners ?? false),
      x,
    ),
  );
}
