import {
  checkAxis,
  checkInteger,
  type Flat,
  flatten,
  OptionError,
  reshape,
  ShapeError,
  type Spatial,
  type Tensor,
} from "@nf/core";
import { checkInput, shapeText, show } from "../check.ts";
import { type FromFlat, Layer } from "./layer.ts";

/**
 * Lays dimensions out in one: all but the first (`[batch, …]` to `[batch, features]`), or those from `startDim` to `endDim`,
 * both included.
 */
export class Flatten<const S extends number = 1> extends Layer<unknown, S extends 1 ? Flat : unknown> {
  readonly startDim: number;
  readonly endDim: number;

  constructor(startDim?: S, endDim = -1) {
    super();
    this.startDim = startDim ?? 1;
    this.endDim = endDim;
    for (const dim of [this.startDim, endDim])
      if (!Number.isInteger(dim))
        throw new OptionError(`Flatten: dimensions must be whole numbers, got ${show(dim)}.`);
  }

  override forward(input: Tensor): Tensor<S extends 1 ? Flat : unknown> {
    return flatten(input, this.startDim, this.endDim);
  }

  protected override describe(): string {
    const { startDim, endDim } = this;
    return endDim === -1 ? (startDim === 1 ? "" : String(startDim)) : `${startDim}, ${endDim}`;
  }
}

/** What {@link Unflatten} of features gives: channels over as many spatial dimensions as there are further sizes. */
type Unflattened<A, S> = A extends 1
  ? S extends readonly [infer C extends number, number]
    ? Spatial<1, C>
    : S extends readonly [infer C extends number, number, number]
      ? Spatial<2, C>
      : S extends readonly [infer C extends number, number, number, number]
        ? Spatial<3, C>
        : unknown
  : unknown;

/**
 * Cuts one dimension into several: `new Unflatten(1, [16, 4, 4])` makes `[batch, 16, 4, 4]` of `[batch, 256]`. One size may
 * be -1, which takes what is left.
 */
export class Unflatten<
  const A extends number = number,
  const S extends readonly number[] = readonly number[],
> extends Layer<unknown, FromFlat<Unflattened<A, S>>> {
  readonly axis: A;
  readonly unflattenedSize: S;

  constructor(axis: A, unflattenedSize: S) {
    super();
    if (!Number.isInteger(axis))
      throw new OptionError(`Unflatten: axis must be a whole number, got ${show(axis)}.`);
    if (!Array.isArray(unflattenedSize) || unflattenedSize.length === 0) {
      throw new OptionError(
        `Unflatten: unflattenedSize must be a list of sizes, got ${show(unflattenedSize)}.`,
      );
    }
    for (const size of unflattenedSize) checkInteger("Unflatten", "unflattenedSize", size, -1);
    if (unflattenedSize.filter((size) => size === -1).length > 1)
      throw new OptionError("Unflatten: only one size can be -1.");
    this.axis = axis;
    this.unflattenedSize = unflattenedSize;
  }

  /** @throws ShapeError where the sizes do not make up the dimension. */
  override forward(input: Tensor<Flat>): Tensor<Unflattened<A, S>>;
  override forward(input: Tensor<unknown>): Tensor;
  override forward(input: Tensor): Tensor {
    checkInput(this, input);
    const axis = checkAxis("Unflatten", this.axis, input.rank);
    const whole = input.shape[axis] as number;
    const known = this.unflattenedSize.reduce((product, size) => (size === -1 ? product : product * size), 1);
    const open = this.unflattenedSize.includes(-1);
    if (open ? known === 0 || whole % known !== 0 : whole !== known) {
      throw new ShapeError(
        `${this}: dimension ${axis} of ${shapeText(input)} is ${whole}, which the sizes do not make up.`,
      );
    }
    const sizes = this.unflattenedSize.map((size) => (size === -1 ? whole / known : size));
    return reshape(input, [...input.shape.slice(0, axis), ...sizes, ...input.shape.slice(axis + 1)]);
  }

  protected override describe(): string {
    return `${this.axis}, [${this.unflattenedSize.join(", ")}]`;
  }
}
