import { showShape } from "../backend/geometry.ts";
import type { Shape } from "../backend/view.ts";
import { promoteTypes } from "../dtype.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite, together } from "./apply.ts";
import { add } from "./binary.ts";
import { convInputGrad } from "./conv.ts";
import { checkInteger, checkOptions, checkTensor } from "./options.ts";
import { castTo } from "./select.ts";
import { withUnitDims } from "./views.ts";
import { checkSpatial, type Padding, type PerDimension, perDimension, unpadTrailing } from "./windows.ts";

/** Options of transposed convolutions; numbers count for all spatial dimensions. */
export interface ConvTransposeOptions {
  /** Step between the places that neighbours of x are spread to; default 1. */
  readonly stride?: PerDimension;
  /** Cut off on both sides of each spatial dimension of the result; default 0. */
  readonly padding?: PerDimension;
  /** Added at the end of each spatial dimension of the result, less than stride or dilation; default 0. */
  readonly outputPadding?: PerDimension;
  /** Step between the kernel's elements; default 1. */
  readonly dilation?: PerDimension;
  /** Independent groups of channels; default 1. */
  readonly groups?: number;
}

function convolveTransposed(
  op: string,
  rank: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  options: ConvTransposeOptions,
): Tensor {
  checkOptions(op, options, ["stride", "padding", "outputPadding", "dilation", "groups"]);
  checkSpatial(op, x, rank);
  checkTensor(op, weight);
  if (bias !== undefined) checkTensor(op, bias, " as the bias, the third argument (options come fourth)");
  const stride = perDimension(op, "stride", options.stride ?? 1, rank, 1);
  const dilation = perDimension(op, "dilation", options.dilation ?? 1, rank, 1);
  const amounts = perDimension(op, "padding", options.padding ?? 0, rank, 0);
  const extra = perDimension(op, "outputPadding", options.outputPadding ?? 0, rank, 0);
  const groups = checkInteger(op, "groups", options.groups ?? 1, 1);
  const channels = x.shape[1] as number;
  if (weight.rank !== rank + 2 || weight.shape[0] !== channels || channels % groups !== 0) {
    throw new ShapeError(
      `${op}: weight ${showShape(weight.shape)} does not fit x ${showShape(x.shape)} with ${groups} group(s): expected ` +
        `[${channels}, outChannels / groups, ${rank} kernel sizes], with the channels of x a multiple of groups.`,
    );
  }
  const outChannels = (weight.shape[1] as number) * groups;
  if (bias !== undefined && (bias.rank !== 1 || bias.size !== outChannels))
    throw new ShapeError(`${op}: bias must be [${outChannels}], got ${showShape(bias.shape)}.`);
  extra.forEach((amount, i) => {
    const limit = Math.max(stride[i] as number, dilation[i] as number);
    if (amount >= limit)
      throw new OptionError(
        `${op}: outputPadding must be less than stride or dilation (${limit}), got ${amount}.`,
      );
  });
  // Where the result ends later than a convolution's input with as many positions could, it is cut from the whole one.
  const cut = extra.some((amount, i) => amount >= (stride[i] as number));
  const kept: Padding = amounts.map((amount, i) => [amount, amount - (extra[i] as number)]);
  const padding: Padding = cut ? amounts.map(() => [0, 0]) : amounts.map((amount) => [amount, amount]);
  const whole = x.shape.slice(2).map((size, i) => {
    const kernel = weight.shape[i + 2] as number;
    return Math.max(0, size - 1) * (stride[i] as number) + (dilation[i] as number) * (kernel - 1) + 1;
  });
  const sizes = whole.map((size, i) => size - 2 * (amounts[i] as number) + (extra[i] as number));
  if (sizes.some((size) => size < 1)) {
    throw new ShapeError(
      `${op}: the padding ${showShape(amounts)} leaves nothing of the result of x ${showShape(x.shape)} and the kernel ${showShape(weight.shape.slice(2))}.`,
    );
  }
  const resultShape = (spatial: Shape): Shape => [x.shape[0] as number, outChannels, ...spatial];
  const attributes = {
    stride,
    dilation,
    padding,
    groups,
    xShape: resultShape(cut ? whole : sizes),
    weightShape: weight.shape,
    outShape: x.shape,
  };
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  return composite(together(op, inputs), () => {
    const dtype = inputs.map((input) => input.dtype).reduce((a, b) => promoteTypes(a, b, op));
    const spread = convInputGrad(castTo(x, dtype), castTo(weight, dtype), attributes);
    const result = cut ? unpadTrailing(spread, kept) : spread;
    if (bias === undefined) return result;
    return add(result, withUnitDims(castTo(bias, dtype), [outChannels, ...sizes.map(() => 1)]));
  });
}

/**
 * The transpose of `conv1d`: spreads x `[batch, in, length]` over a longer result `[batch, out, …]`. Weight `[in, out /
 * groups, size]`, bias `[out]`.
 */
export function convTranspose1d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  return convolveTransposed("convTranspose1d", 1, x, weight, bias, options);
}

/**
 * The transpose of `conv2d`: spreads x `[batch, in, height, width]` over a larger result `[batch, out, …]`. Weight `[in,
 * out / groups, height, width]`, bias `[out]`.
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  return convolveTransposed("convTranspose2d", 2, x, weight, bias, options);
}

/** The transpose of `conv3d`: volumes `[batch, in, depth, height, width]`, weight `[in, out / groups, …]`, bias `[out]`. */
export function convTranspose3d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  return convolveTransposed("convTranspose3d", 3, x, weight, bias, options);
}
