import {
  checkChoice,
  checkInteger,
  OptionError,
  ShapeError,
  type Spatial,
  type Tensor,
  type UpsampleOptions,
  upsample,
} from "@nf/core";
import { checkInput, checkLayerOptions, compact, shapeText, show } from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/** Spatial dimensions of what a mode takes; nearest takes any number. */
const DIMENSIONS: Readonly<Record<string, number>> = { linear: 1, bilinear: 2 };

/**
 * Enlarges (or shrinks) the spatial dimensions of `[batch, channels, …]`, to a `size` or by a `scaleFactor`: by the nearest
 * element, or linearly between neighbours (`linear` for signals, `bilinear` for images).
 *
 * @example
 * ```ts no-run
 * import { Conv2d, sequential, Upsample } from "@nf/nn";
 *
 * const decoder = sequential(new Upsample({ scaleFactor: 2 }), new Conv2d(64, 32, 3, { padding: 1 }));
 * ```
 */
export class Upsample extends Layer<Spatial<number>, Same> {
  readonly size: number | readonly number[] | null;
  readonly scaleFactor: number | readonly number[] | null;
  readonly mode: "nearest" | "linear" | "bilinear";
  /** Whether the corner elements of both lie on each other; null for nearest, which has none. */
  readonly alignCorners: boolean | null;

  /** @throws OptionError for both a size and a scale or neither, and for `alignCorners` with `nearest`. */
  constructor(options: UpsampleOptions) {
    super();
    checkLayerOptions("Upsample", options ?? null, ["size", "scaleFactor", "mode", "alignCorners"]);
    const { size, scaleFactor, mode = "nearest", alignCorners } = options;
    if ((size === undefined) === (scaleFactor === undefined))
      throw new OptionError("Upsample: give either size or scaleFactor.");
    this.mode = checkChoice("Upsample", "mode", mode, ["nearest", "linear", "bilinear"]);
    if (mode === "nearest" && alignCorners !== undefined)
      throw new OptionError('Upsample: alignCorners goes with "linear" and "bilinear", not with "nearest".');
    for (const one of size === undefined ? [] : [size].flat()) checkInteger("Upsample", "size", one, 1);
    for (const one of scaleFactor === undefined ? [] : [scaleFactor].flat()) {
      if (typeof one !== "number" || !(one > 0 && Number.isFinite(one)))
        throw new OptionError(`Upsample: scaleFactor must be positive, got ${show(one)}.`);
    }
    this.size = size ?? null;
    this.scaleFactor = scaleFactor ?? null;
    this.alignCorners = mode === "nearest" ? null : (alignCorners ?? false);
  }

  override forward<N extends number, C extends number>(input: Tensor<Spatial<N, C>>): Tensor<Spatial<N, C>> {
    checkInput(this, input);
    const { size, scaleFactor, mode, alignCorners } = this;
    const wanted = DIMENSIONS[mode];
    if (input.rank < 3 || (wanted !== undefined && input.rank !== wanted + 2)) {
      const expected = [
        "[batch, channels, …spatial]",
        "[batch, channels, length]",
        "[batch, channels, height, width]",
      ];
      throw new ShapeError(`${this}: expected an input ${expected[wanted ?? 0]}, got ${shapeText(input)}.`);
    }
    return upsample(input, {
      mode,
      ...(size !== null && { size }),
      ...(scaleFactor !== null && { scaleFactor }),
      ...(alignCorners !== null && { alignCorners }),
    });
  }

  protected override describe(): string {
    const { size, scaleFactor, mode, alignCorners } = this;
    const options = [
      ...(size === null ? [] : [`size: ${compact([size].flat())}`]),
      ...(scaleFactor === null ? [] : [`scaleFactor: ${compact([scaleFactor].flat())}`]),
      ...(mode === "nearest" ? [] : [`mode: "${mode}"`]),
      ...(alignCorners === true ? ["alignCorners: true"] : []),
    ];
    return `{ ${options.join(", ")} }`;
  }
}
