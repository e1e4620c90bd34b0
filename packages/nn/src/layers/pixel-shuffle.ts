import { checkInteger, permute, reshape, ShapeError, type Spatial, type Tensor } from "@nf/core";
import { checkSpatial, shapeText } from "../check.ts";
import { Layer } from "./layer.ts";

/**
 * Lays channels out in space: `[batch, C r², height, width]` to `[batch, C, height r, width r]`. Shi et al. 2016,
 * arXiv:1609.05158.
 */
export class PixelShuffle extends Layer<Spatial<2>, Spatial<2>> {
  readonly upscaleFactor: number;

  constructor(upscaleFactor: number) {
    super();
    this.upscaleFactor = checkInteger("PixelShuffle", "upscaleFactor", upscaleFactor, 1);
  }

  /** @throws ShapeError where the channels are no multiple of the factor's square. */
  override forward(input: Tensor<Spatial<2>>): Tensor<Spatial<2>> {
    checkSpatial(this, input, 2);
    const r = this.upscaleFactor;
    const [batch, channels, height, width] = input.shape as [number, number, number, number];
    if (channels % (r * r) !== 0) {
      throw new ShapeError(
        `${this}: the channels must be a multiple of ${r * r}, got ${channels} in ${shapeText(input)}.`,
      );
    }
    const apart = reshape(input, [batch, channels / (r * r), r, r, height, width]);
    const woven = permute(apart, [0, 1, 4, 2, 5, 3]); //             [batch, C, height, r, width, r]
    return reshape(woven, [batch, channels / (r * r), height * r, width * r]);
  }

  protected override describe(): string {
    return String(this.upscaleFactor);
  }
}

/** The way back from {@link PixelShuffle}: `[batch, C, height r, width r]` to `[batch, C r², height, width]`. */
export class PixelUnshuffle extends Layer<Spatial<2>, Spatial<2>> {
  readonly downscaleFactor: number;

  constructor(downscaleFactor: number) {
    super();
    this.downscaleFactor = checkInteger("PixelUnshuffle", "downscaleFactor", downscaleFactor, 1);
  }

  /** @throws ShapeError where height or width is no multiple of the factor. */
  override forward(input: Tensor<Spatial<2>>): Tensor<Spatial<2>> {
    checkSpatial(this, input, 2);
    const r = this.downscaleFactor;
    const [batch, channels, height, width] = input.shape as [number, number, number, number];
    if (height % r !== 0 || width % r !== 0) {
      throw new ShapeError(`${this}: height and width must be multiples of ${r}, got ${shapeText(input)}.`);
    }
    const apart = reshape(input, [batch, channels, height / r, r, width / r, r]);
    const stacked = permute(apart, [0, 1, 3, 5, 2, 4]); //           [batch, C, r, r, height, width]
    return reshape(stacked, [batch, channels * r * r, height / r, width / r]);
  }

  protected override describe(): string {
    return String(this.downscaleFactor);
  }
}
