import type { ValueType } from "../autograd/tape.ts";
import { sameShape, showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { DTYPES, promoteTypes } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import * as s from "../scalar/expr.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { add, mul, sub } from "./binary.ts";
import { callElementwise, type Elementwise, elementwise } from "./elementwise.ts";
import { runFused } from "./fused.ts";
import type { Op } from "./op.ts";
import { checkFloat, checkList, checkNumber, checkOptions, checkTensor } from "./options.ts";
import { mean, sum } from "./reduce.ts";
import { castTo } from "./select.ts";
import { reshape } from "./shape.ts";
import { square } from "./unary.ts";

interface NormAttributes {
  /** Whether the mean is taken off: layer norm. Without, RMS norm. */
  readonly centered: boolean;
  readonly weight: boolean;
  readonly bias: boolean;
  readonly eps: number;
}

/** What a row is normalised by; computed in f32 for 16-bit floats. */
interface Statistics {
  /** 1 / √(mean square + eps), last size 1. */
  readonly inverse: Tensor;
  /** x, less its mean where centered. */
  readonly deviation: Tensor;
}

const LAST = { axis: -1, keepDims: true } as const;

/** Over the last dimension. Inputs x, then weight and bias where present; outputs y, inverse deviation and mean. */
const NORM: Op<NormAttributes> = {
  name: "norm",
  forward(inputs, attributes, device) {
    const { shape, dtype } = inputs[0] as Tensor;
    const statistic: ValueType = { shape: [...shape.slice(0, -1), 1], dtype: DTYPES[dtype].compute };
    const types = [{ shape, dtype }, statistic, ...(attributes.centered ? [statistic] : [])];
    return fused("forward", inputs, attributes, types, device);
  },
  decompose([x, ...affine], attributes) {
    const { dtype } = x as Tensor;
    const { inverse, deviation } = statisticsOf(x as Tensor, attributes);
    const weight = attributes.weight ? affine[0] : undefined;
    const bias = attributes.bias ? affine[attributes.weight ? 1 : 0] : undefined;
    const normalized = mul(deviation, inverse);
    const scaled = weight === undefined ? normalized : mul(normalized, weight);
    return [castTo(bias === undefined ? scaled : add(scaled, bias), dtype)];
  },
  gradient: {
    save: ([x, weight], [, ...statistics], _needs, attributes) => [
      x as Tensor,
      ...statistics,
      ...(attributes.weight ? [weight as Tensor] : []),
    ],
    vjp({ saved, gradients: [g], attributes, createGraph }) {
      if (!createGraph) return apply(NORM_GRAD, [g as Tensor, ...saved], attributes);
      // The statistics depend on x too, so they are computed again where that can be differentiated.
      const x = saved[0] as Tensor;
      const weight = attributes.weight ? saved.at(-1) : undefined;
      return gradientOf(g as Tensor, x, statisticsOf(x, attributes), weight, attributes);
    },
  },
};

/** Inputs gradient of y, x, inverse deviation, mean where centered, weight where present; outputs as NORM's inputs. */
const NORM_GRAD: Op<NormAttributes> = {
  name: "normGrad",
  forward(inputs, attributes, device) {
    const { shape, dtype } = inputs[1] as Tensor;
    const row: ValueType = { shape: shape.slice(-1), dtype };
    const types = [{ shape, dtype }, ...(attributes.weight ? [row] : []), ...(attributes.bias ? [row] : [])];
    return fused("backward", inputs, attributes, types, device);
  },
  decompose([g, x, inverse, ...rest], attributes) {
    const wide = castTo(x as Tensor, DTYPES[(x as Tensor).dtype].compute);
    const deviation = attributes.centered ? sub(wide, rest[0] as Tensor) : wide;
    const weight = attributes.weight ? rest.at(-1) : undefined;
    return gradientOf(
      g as Tensor,
      x as Tensor,
      { inverse: inverse as Tensor, deviation },
      weight,
      attributes,
    );
  },
};

/**
 * With x̂ = deviation · inverse and h = g · weight: gradient of x is inverse (h - mean(h) - x̂ mean(h x̂)), without
 * mean(h) for RMS norm; of weight Σ g x̂ and of bias Σ g over the rows.
 */
function gradientOf(
  g: Tensor,
  x: Tensor,
  { inverse, deviation }: Statistics,
  weight: Tensor | undefined,
  attributes: NormAttributes,
): readonly Tensor[] {
  const gradient = castTo(g, inverse.dtype);
  const normalized = mul(deviation, inverse);
  const scaled = weight === undefined ? gradient : mul(gradient, weight);
  const along = mul(normalized, mean(mul(scaled, normalized), LAST));
  const level = attributes.centered ? sub(scaled, mean(scaled, LAST)) : scaled;
  const rows = { axis: x.shape.slice(0, -1).map((_, axis) => axis) };
  return [
    castTo(mul(inverse, sub(level, along)), x.dtype),
    ...(attributes.weight ? [castTo(sum(mul(gradient, normalized), rows), x.dtype)] : []),
    ...(attributes.bias ? [castTo(sum(gradient, rows), x.dtype)] : []),
  ];
}

function statisticsOf(x: Tensor, { centered, eps }: NormAttributes): Statistics {
  const wide = castTo(x, DTYPES[x.dtype].compute);
  const deviation = centered ? sub(wide, mean(wide, LAST)) : wide;
  return { deviation, inverse: inverseDeviation(mean(square(deviation), LAST), eps) };
}

const INVERSE: Elementwise = /* @__PURE__ */ elementwise({
  name: "inverseDeviation",
  result: "float",
  body([variance, eps]) {
    const spread = s.add(variance as s.Expr, eps as s.Expr);
    const y = s.select(s.eq(spread, 0), 0, s.div(s.constant(1, spread.dtype), s.sqrt(spread)));
    return s.stated(y, [variance as s.Expr], [s.mul(s.mul(y, s.mul(y, y)), -0.5)]);
  },
});

/** 1 / √(variance + eps), and 0 where that sum is 0: what has no spread normalises to zeros, not to NaN. */
export function inverseDeviation(variance: Tensor, eps: number): Tensor {
  return callElementwise(INVERSE, [variance, eps]);
}

function fused(
  pass: "forward" | "backward",
  inputs: readonly Tensor[],
  { centered, weight, bias, eps }: NormAttributes,
  types: readonly ValueType[],
  device: Device,
): readonly Tensor[] | undefined {
  const attributes = { pass, centered, weight, bias };
  return runFused(device, "norm", { kernel: "norm", attributes }, inputs, types, [eps]);
}

/** Rows of the last dimension with mean 0 and variance 1. */
export function standardized(x: Tensor, eps: number): Tensor {
  return apply(NORM, [x], { centered: true, weight: false, bias: false, eps })[0] as Tensor;
}

/** Options of {@link rmsNorm}. */
export interface RmsNormOptions {
  /** Trailing sizes that are normalised together; default the shape of `weight`, else the last dimension. */
  readonly normalizedShape?: readonly number[];
  /** Factor of each element, of the normalised shape. */
  readonly weight?: Tensor;
  /** Added under the root. */
  readonly eps?: number;
}

/** Options of {@link layerNorm}. */
export interface LayerNormOptions extends RmsNormOptions {
  /** Added to each element, of the normalised shape. */
  readonly bias?: Tensor;
}

/** Refuses an eps that is not a finite number from 0. */
export function checkEps(op: string, eps: number): number {
  return checkNumber(op, "eps", eps, 0, Number.MAX_VALUE);
}

function trailingShape(op: string, x: Tensor, { normalizedShape, weight, bias }: LayerNormOptions): Shape {
  for (const one of [weight, bias]) if (one !== undefined) checkTensor(op, one);
  if (normalizedShape !== undefined) checkList(op, "normalizedShape", normalizedShape);
  const trailing = normalizedShape ?? weight?.shape ?? bias?.shape ?? x.shape.slice(-1);
  if (trailing.length === 0 || !sameShape(x.shape.slice(-trailing.length), trailing)) {
    throw new ShapeError(
      `${op}: x ${showShape(x.shape)} does not end with the normalised shape ${showShape(trailing)}, which must have at least one dimension.`,
    );
  }
  for (const [name, one] of [
    ["weight", weight],
    ["bias", bias],
  ] as const) {
    if (one !== undefined && !sameShape(one.shape, trailing))
      throw new ShapeError(`${op}: ${name} must be ${showShape(trailing)}, got ${showShape(one.shape)}.`);
  }
  return trailing;
}

function normalize(op: string, centered: boolean, x: Tensor, options: LayerNormOptions, eps: number): Tensor {
  checkFloat(op, x);
  checkEps(op, eps);
  const trailing = trailingShape(op, x, options);
  const { weight, bias } = options;
  const affine = [...(weight === undefined ? [] : [weight]), ...(bias === undefined ? [] : [bias])];
  const attributes = { centered, weight: weight !== undefined, bias: bias !== undefined, eps };
  const inputs = together(op, [x, ...affine]);
  return composite(inputs, () => {
    const dtype = inputs.map((input) => input.dtype).reduce((a, b) => promoteTypes(a, b, op));
    const width = sizeOf(trailing);
    const lead = x.shape.slice(0, x.rank - trailing.length);
    const rows = reshape(castTo(x, dtype), [...lead, width]);
    const vectors = affine.map((one) => reshape(castTo(one, dtype), [width]));
    return reshape(apply(NORM, [rows, ...vectors], attributes)[0] as Tensor, x.shape);
  });
}

/**
 * (x - mean) / √(variance + eps) · weight + bias over trailing dimensions, with the variance of the whole population.
 * eps is 1e-5 unless given. Ba, Kiros, Hinton 2016, arXiv:1607.06450.
 */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  checkOptions("layerNorm", options, ["normalizedShape", "weight", "bias", "eps"]);
  return normalize("layerNorm", true, x, options, options.eps ?? 1e-5);
}

/**
 * x / √(mean(x²) + eps) · weight over trailing dimensions. eps is the spacing of floats at 1 unless given (2^-23, for
 * f64 2^-52), as in PyTorch. Zhang, Sennrich 2019, arXiv:1910.07467.
 */
export function rmsNorm(x: Tensor, options: RmsNormOptions = {}): Tensor {
  checkOptions("rmsNorm", options, ["normalizedShape", "weight", "eps"]);
  return normalize("rmsNorm", false, x, options, options.eps ?? (x.dtype === "f64" ? 2 ** -52 : 2 ** -23));
}
