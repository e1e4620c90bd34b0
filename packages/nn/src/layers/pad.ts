import {
  checkInteger,
  checkNumber,
  OptionError,
  type PadOptions,
  pad,
  type Spatial,
  type Tensor,
} from "@nf/core";
import { checkSpatial, compact, showList } from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/**
 * How much a padding layer adds: one number for all sides, or two for each spatial dimension in PyTorch's order, from the last
 * dimension to the first: `[left, right]`, `[left, right, top, bottom]`, `[left, right, top, bottom, front, back]`.
 */
export type PadAmounts = number | readonly number[];

/** Amounts in PyTorch's order, two for each spatial dimension. */
function amountsOf(layer: string, padding: PadAmounts, dimensions: number, least: number): readonly number[] {
  const list = typeof padding === "number" ? new Array<number>(2 * dimensions).fill(padding) : padding;
  if (!Array.isArray(list) || list.length !== 2 * dimensions) {
    throw new OptionError(
      `${layer}: padding must be a number or a list of ${2 * dimensions}, ` +
        `[${["left", "right", "top", "bottom", "front", "back"].slice(0, 2 * dimensions).join(", ")}], ` +
        `got ${showList(padding)}.`,
    );
  }
  for (const amount of list) checkInteger(layer, "padding", amount, least);
  return [...list];
}

/** What the padding layers share: more around the spatial dimensions of `[batch, channels, …]`. */
abstract class Pad<N extends 1 | 2 | 3> extends Layer<Spatial<N>, Same> {
  /** In PyTorch's order: two for each spatial dimension, the last one first. */
  readonly padding: readonly number[];
  private readonly options: PadOptions;

  constructor(layer: string, dimensions: N, padding: PadAmounts, options: PadOptions) {
    super();
    const mayCut = options.mode === undefined;
    this.padding = amountsOf(layer, padding, dimensions, mayCut ? Number.MIN_SAFE_INTEGER : 0);
    this.options = options;
  }

  /** @throws ShapeError where more is cut off, mirrored or wrapped than there is. */
  override forward<C extends number>(input: Tensor<Spatial<N, C>>): Tensor<Spatial<N, C>> {
    const { padding } = this;
    const dimensions = padding.length / 2;
    checkSpatial(this, input, dimensions);
    const amounts = Array.from({ length: dimensions }, (_, axis): readonly [number, number] => {
      const at = 2 * (dimensions - 1 - axis);
      return [padding[at] as number, padding[at + 1] as number];
    });
    return pad(input, [[0, 0], [0, 0], ...amounts], this.options);
  }

  protected override describe(): string {
    return compact(this.padding);
  }
}

/** Puts zeros around signals; negative amounts cut off. */
export class ZeroPad1d extends Pad<1> {
  constructor(padding: PadAmounts) {
    super("ZeroPad1d", 1, padding, {});
  }
}

/**
 * Puts zeros around images; negative amounts cut off.
 *
 * @example
 * ```ts no-run
 * import { Conv2d, sequential, ZeroPad2d } from "@nf/nn";
 *
 * const stem = sequential(new ZeroPad2d([0, 1, 0, 1]), new Conv2d(3, 32, 3, { stride: 2 })); // more on the right and below
 * ```
 */
export class ZeroPad2d extends Pad<2> {
  constructor(padding: PadAmounts) {
    super("ZeroPad2d", 2, padding, {});
  }
}

/** Puts zeros around volumes; negative amounts cut off. */
export class ZeroPad3d extends Pad<3> {
  constructor(padding: PadAmounts) {
    super("ZeroPad3d", 3, padding, {});
  }
}

/** What the layers share that put one value around. */
abstract class ConstantPad<N extends 1 | 2 | 3> extends Pad<N> {
  readonly value: number;

  constructor(dimensions: N, padding: PadAmounts, value: number) {
    const layer = `ConstantPad${dimensions}d`;
    super(layer, dimensions, padding, { value: checkNumber(layer, "value", value) });
    this.value = value;
  }

  protected override describe(): string {
    return `${super.describe()}, ${this.value}`;
  }
}

/** Puts a value around signals; negative amounts cut off. */
export class ConstantPad1d extends ConstantPad<1> {
  constructor(padding: PadAmounts, value: number) {
    super(1, padding, value);
  }
}

/** Puts a value around images; negative amounts cut off. */
export class ConstantPad2d extends ConstantPad<2> {
  constructor(padding: PadAmounts, value: number) {
    super(2, padding, value);
  }
}

/** Puts a value around volumes; negative amounts cut off. */
export class ConstantPad3d extends ConstantPad<3> {
  constructor(padding: PadAmounts, value: number) {
    super(3, padding, value);
  }
}

/** Mirrors signals at their outermost elements, which are not repeated. */
export class ReflectionPad1d extends Pad<1> {
  constructor(padding: PadAmounts) {
    super("ReflectionPad1d", 1, padding, { mode: "reflect" });
  }
}

/** Mirrors images at their outermost elements, which are not repeated. */
export class ReflectionPad2d extends Pad<2> {
  constructor(padding: PadAmounts) {
    super("ReflectionPad2d", 2, padding, { mode: "reflect" });
  }
}

/** Mirrors volumes at their outermost elements, which are not repeated. */
export class ReflectionPad3d extends Pad<3> {
  constructor(padding: PadAmounts) {
    super("ReflectionPad3d", 3, padding, { mode: "reflect" });
  }
}

/** Repeats the outermost elements of signals. */
export class ReplicationPad1d extends Pad<1> {
  constructor(padding: PadAmounts) {
    super("ReplicationPad1d", 1, padding, { mode: "replicate" });
  }
}

/** Repeats the outermost elements of images. */
export class ReplicationPad2d extends Pad<2> {
  constructor(padding: PadAmounts) {
    super("ReplicationPad2d", 2, padding, { mode: "replicate" });
  }
}

/** Repeats the outermost elements of volumes. */
export class ReplicationPad3d extends Pad<3> {
  constructor(padding: PadAmounts) {
    super("ReplicationPad3d", 3, padding, { mode: "replicate" });
  }
}

/** Goes on with the other end of signals. */
export class CircularPad1d extends Pad<1> {
  constructor(padding: PadAmounts) {
    super("CircularPad1d", 1, padding, { mode: "circular" });
  }
}

/** Goes on with the other end of images. */
export class CircularPad2d extends Pad<2> {
  constructor(padding: PadAmounts) {
    super("CircularPad2d", 2, padding, { mode: "circular" });
  }
}

/** Goes on with the other end of volumes. */
export class CircularPad3d extends Pad<3> {
  constructor(padding: PadAmounts) {
    super("CircularPad3d", 3, padding, { mode: "circular" });
  }
}
