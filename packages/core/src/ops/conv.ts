import type { ValueType } from "../autograd/tape.ts";
import { showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { promoteTypes } from "../dtype.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { add } from "./binary.ts";
import { runFused } from "./fused.ts";
import { matmul } from "./matmul.ts";
import { type Op, saveFactors } from "./op.ts";
import { checkChoice, checkInteger, checkOptions, checkTensor } from "./options.ts";
import { sum } from "./reduce.ts";
import { castTo } from "./select.ts";
import { permute, reshape } from "./shape.ts";
import { withUnitDims } from "./views.ts";
import {
  bothSides,
  checkSpatial,
  fold,
  type Padding,
  type PerDimension,
  padTrailing,
  perDimension,
  unpadTrailing,
  windowCount,
  windows,
} from "./windows.ts";

/** Options of convolutions; numbers count for all spatial dimensions. */
export interface ConvOptions {
  /** Step between positions; default 1. */
  readonly stride?: PerDimension;
  /** Zeros on both sides of each spatial dimension (default 0), or "same" (stride 1 only) or "valid". */
  readonly padding?: PerDimension | "same" | "valid";
  /** Step between the kernel's elements; default 1. */
  readonly dilation?: PerDimension;
  /** Independent groups of channels; default 1. */
  readonly groups?: number;
}

/** A convolution with everything resolved. */
export interface ConvAttributes {
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: Padding;
  readonly groups: number;
  readonly xShape: Shape;
  readonly weightShape: Shape;
  readonly outShape: Shape;
}

/*
 * Three operations, each the derivative of the other two with respect to one operand, so that convolution is
 * differentiable to any order by fused kernels alone:
 *   out = conv(x, w)      gx = inputGrad(g, w)      gw = weightGrad(g, x)
 */

const CONV: Op<ConvAttributes> = {
  name: "conv",
  forward: (inputs, attributes, device) => fused("forward", inputs, attributes, attributes.outShape, device),
  decompose([x, weight, bias], attributes) {
    const { groups, outShape, weightShape } = attributes;
    const [batch, outChannels] = outShape as [number, number];
    const columns = unrolled(x as Tensor, attributes);
    const kernels = reshape(weight as Tensor, [groups, outChannels / groups, sizeOf(weightShape.slice(1))]);
    // [batch, groups, positions, inner] x [groups, inner, out/groups]
    const product = matmul(columns, permute(kernels, [0, 2, 1]));
    const out = reshape(permute(product, [0, 1, 3, 2]), [batch, ...outShape.slice(1)]);
    if (bias === undefined) return [out];
    return [add(out, withUnitDims(bias, [outChannels, ...outShape.slice(2).map(() => 1)]))];
  },
  gradient: {
    save: saveFactors,
    vjp({ saved, gradients: [g], needs: [needX, needWeight, needBias], attributes }) {
      const gradient = g as Tensor;
      const [x, weight] = [saved[0], saved.at(-1)];
      const axes = [0, ...attributes.stride.map((_, i) => i + 2)];
      return [
        needX === true ? single(CONV_INPUT_GRAD, [gradient, weight as Tensor], attributes) : undefined,
        needWeight === true ? single(CONV_WEIGHT_GRAD, [gradient, x as Tensor], attributes) : undefined,
        needBias === true ? sum(gradient, { axis: axes }) : undefined,
      ];
    },
  },
};

const CONV_INPUT_GRAD: Op<ConvAttributes> = {
  name: "convInputGrad",
  forward: (inputs, attributes, device) => fused("inputGrad", inputs, attributes, attributes.xShape, device),
  decompose([g, weight], attributes) {
    const { groups, xShape, weightShape, outShape, stride, dilation, padding } = attributes;
    const [batch, channels] = xShape as [number, number];
    const kernel = weightShape.slice(2);
    const inner = sizeOf(weightShape.slice(1));
    const kernels = reshape(weight as Tensor, [groups, -1, inner]);
    const columns = matmul(groupedPositions(g as Tensor, attributes), kernels);
    const rank = kernel.length;
    const split = reshape(columns, [batch, groups, ...outShape.slice(2), channels / groups, ...kernel]);
    const spatial = kernel.map((_, i) => i + 2);
    const ordered = permute(split, [0, 1, 2 + rank, ...spatial, ...spatial.map((axis) => axis + rank + 1)]);
    const padded = [batch, channels, ...xShape.slice(2).map((size, i) => size + bothSides(padding, i))];
    const merged = reshape(ordered, [batch, channels, ...outShape.slice(2), ...kernel]);
    return [unpadTrailing(fold(merged, padded, { kernelSize: kernel, stride, dilation }), padding)];
  },
  gradient: {
    save: saveFactors,
    vjp({ saved, gradients: [c], needs: [needG, needWeight], attributes }) {
      const cotangent = c as Tensor;
      const [g, weight] = [saved[0], saved.at(-1)];
      return [
        needG === true ? single(CONV, [cotangent, weight as Tensor], attributes) : undefined,
        needWeight === true ? single(CONV_WEIGHT_GRAD, [g as Tensor, cotangent], attributes) : undefined,
      ];
    },
  },
};

const CONV_WEIGHT_GRAD: Op<ConvAttributes> = {
  name: "convWeightGrad",
  forward: (inputs, attributes, device) =>
    fused("weightGrad", inputs, attributes, attributes.weightShape, device),
  decompose([g, x], attributes) {
    const { weightShape } = attributes;
    // [batch, groups, out/groups, positions] x [batch, groups, positions, inner], summed over the batch.
    const rows = permute(groupedPositions(g as Tensor, attributes), [0, 1, 3, 2]);
    return [reshape(sum(matmul(rows, unrolled(x as Tensor, attributes)), { axis: 0 }), weightShape)];
  },
  gradient: {
    save: saveFactors,
    vjp({ saved, gradients: [c], needs: [needG, needX], attributes }) {
      const cotangent = c as Tensor;
      const [g, x] = [saved[0], saved.at(-1)];
      return [
        needG === true ? single(CONV, [x as Tensor, cotangent], attributes) : undefined,
        needX === true ? single(CONV_INPUT_GRAD, [g as Tensor, cotangent], attributes) : undefined,
      ];
    },
  },
};

/** The gradient of x from one of out: what a transposed convolution is. */
export function convInputGrad(g: Tensor, weight: Tensor, attributes: ConvAttributes): Tensor {
  return single(CONV_INPUT_GRAD, [g, weight], attributes);
}

function single(op: Op<ConvAttributes>, inputs: readonly Tensor[], attributes: ConvAttributes): Tensor {
  return apply(op, inputs, attributes)[0] as Tensor;
}

/** Windows of x as matrices, `[batch, groups, positions, inChannels / groups * kernel]`. */
function unrolled(
  x: Tensor,
  { groups, padding, stride, dilation, weightShape, outShape, xShape }: ConvAttributes,
): Tensor {
  const kernelSize = weightShape.slice(2);
  const rank = kernelSize.length;
  const [batch, channels] = xShape as [number, number];
  const all = windows(padTrailing(x, padding, 0), { kernelSize, stride, dilation });
  const spatial = kernelSize.map((_, i) => i + 3);
  const grouped = reshape(all, [batch, groups, channels / groups, ...outShape.slice(2), ...kernelSize]);
  const ordered = permute(grouped, [0, 1, ...spatial, 2, ...spatial.map((axis) => axis + rank)]);
  return reshape(ordered, [batch, groups, sizeOf(outShape.slice(2)), sizeOf(weightShape.slice(1))]);
}

/** The gradient of out as matrices, `[batch, groups, positions, outChannels / groups]`. */
function groupedPositions(g: Tensor, { groups, outShape }: ConvAttributes): Tensor {
  const [batch, outChannels] = outShape as [number, number];
  return permute(reshape(g, [batch, groups, outChannels / groups, sizeOf(outShape.slice(2))]), [0, 1, 3, 2]);
}

function fused(
  pass: "forward" | "inputGrad" | "weightGrad",
  inputs: readonly Tensor[],
  { stride, dilation, padding, groups }: ConvAttributes,
  shape: Shape,
  device: Parameters<typeof runFused>[0],
): readonly Tensor[] | undefined {
  const type: ValueType = { shape, dtype: (inputs[0] as Tensor).dtype };
  return runFused(
    device,
    "conv",
    { kernel: "conv", attributes: { pass, stride, dilation, padding, groups } },
    inputs,
    [type],
  );
}

const CONV_OPTIONS = ["stride", "padding", "dilation", "groups"];

function convolve(
  op: string,
  rank: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  options: ConvOptions,
): Tensor {
  checkOptions(op, options, CONV_OPTIONS);
  checkSpatial(op, x, rank);
  checkTensor(op, weight);
  if (bias !== undefined) checkTensor(op, bias, " as the bias, the third argument (options come fourth)");
  const stride = perDimension(op, "stride", options.stride ?? 1, rank, 1);
  const dilation = perDimension(op, "dilation", options.dilation ?? 1, rank, 1);
  const groups = checkInteger(op, "groups", options.groups ?? 1, 1);
  const channels = x.shape[1] as number;
  const outChannels = weight.shape[0] as number;
  if (
    weight.rank !== rank + 2 ||
    (weight.shape[1] as number) * groups !== channels ||
    outChannels % groups !== 0
  ) {
    throw new ShapeError(
      `${op}: weight ${showShape(weight.shape)} does not fit x ${showShape(x.shape)} with ${groups} group(s): expected ` +
        `[outChannels, ${channels / groups}, ${rank} kernel sizes], with outChannels a multiple of ${groups}.`,
    );
  }
  if (bias !== undefined && (bias.rank !== 1 || bias.size !== outChannels)) {
    throw new ShapeError(`${op}: bias must be [${outChannels}], got ${showShape(bias.shape)}.`);
  }
  const padding = resolvePadding(op, options.padding ?? 0, weight, stride, dilation);
  const outShape = x.shape.slice();
  outShape[1] = outChannels;
  for (let i = 0; i < rank; i++) {
    const length = (outShape[i + 2] as number) + bothSides(padding, i);
    const size = weight.shape[i + 2] as number;
    const count = windowCount(length, size, stride[i] as number, dilation[i] as number);
    if (count < 1) {
      throw new ShapeError(
        `${op}: the kernel ${showShape(weight.shape.slice(2))} (dilation ${showShape(dilation)}) is larger than the padded input of x ${showShape(x.shape)}.`,
      );
    }
    outShape[i + 2] = count;
  }
  const attributes: ConvAttributes = {
    stride,
    dilation,
    padding,
    groups,
    xShape: x.shape,
    weightShape: weight.shape,
    outShape,
  };
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  if (weight.dtype === x.dtype && (bias === undefined || bias.dtype === x.dtype))
    return single(CONV, inputs, attributes);
  const dtype = inputs.map((input) => input.dtype).reduce((a, b) => promoteTypes(a, b, op));
  return composite(inputs, () =>
    single(
      CONV,
      inputs.map((input) => castTo(input, dtype)),
      attributes,
    ),
  );
}

function resolvePadding(
  op: string,
  padding: NonNullable<ConvOptions["padding"]>,
  weight: Tensor,
  stride: readonly number[],
  dilation: readonly number[],
): Padding {
  const rank = stride.length;
  if (typeof padding === "string") checkChoice(op, "padding, if not numbers,", padding, ["same", "valid"]);
  const same = padding === "same";
  if (same && stride.some((step) => step !== 1))
    throw new OptionError(`${op}: padding "same" needs stride 1, got ${showShape(stride)}.`);
  const amounts = typeof padding === "string" ? undefined : perDimension(op, "padding", padding, rank, 0);
  const sides = new Array<readonly [number, number]>(rank);
  for (let i = 0; i < rank; i++) {
    const total = same ? (dilation[i] as number) * ((weight.shape[i + 2] as number) - 1) : 0;
    const before = amounts?.[i] ?? Math.floor(total / 2);
    sides[i] = [before, amounts?.[i] ?? total - before];
  }
  return sides;
}

/** Cross-correlation over one dimension: x `[batch, in, length]`, weight `[out, in / groups, size]`, bias `[out]`. */
export function conv1d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  return convolve("conv1d", 1, x, weight, bias, options);
}

/** Cross-correlation of images: x `[batch, in, height, width]`, weight `[out, in / groups, height, width]`, bias `[out]`. */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  return convolve("conv2d", 2, x, weight, bias, options);
}

/** Cross-correlation of volumes: x `[batch, in, depth, height, width]`, weight `[out, in / groups, …]`, bias `[out]`. */
export function conv3d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  return convolve("conv3d", 3, x, weight, bias, options);
}
