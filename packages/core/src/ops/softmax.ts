import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { div, mul, sub } from "./binary.ts";
import { runFused } from "./fused.ts";
import type { Op } from "./op.ts";
import { checkAxis, checkFloat, checkOptions } from "./options.ts";
import { max, sum } from "./reduce.ts";
import { swapAxes } from "./shape.ts";
import { exp, log } from "./unary.ts";
import { detach } from "./views.ts";

interface SoftmaxAttributes {
  readonly log: boolean;
}

/** Along the last dimension. The derivative reads the output alone. */
const SOFTMAX: Op<SoftmaxAttributes> = {
  name: "softmax",
  forward: (inputs, attributes, device) => fused("forward", inputs, attributes, device),
  decompose([x], { log: logarithm }) {
    const shifted = sub(x as Tensor, max(detach(x as Tensor), { axis: -1, keepDims: true }));
    const powers = exp(shifted);
    const total = sum(powers, { axis: -1, keepDims: true });
    return [logarithm ? sub(shifted, log(total)) : div(powers, total)];
  },
  gradient: {
    save: (_inputs, [y]) => [y as Tensor],
    vjp({ saved: [y], gradients: [g], attributes, createGraph }) {
      const inputs = [g as Tensor, y as Tensor];
      return createGraph ? gradientOf(inputs, attributes) : apply(SOFTMAX_GRAD, inputs, attributes);
    },
  },
};

const SOFTMAX_GRAD: Op<SoftmaxAttributes> = {
  name: "softmaxGrad",
  forward: (inputs, attributes, device) => fused("backward", inputs, attributes, device),
  decompose: gradientOf,
};

/** softmax: y (g - Σ g y); its logarithm: g - e^y Σ g. */
function gradientOf(
  [gradient, output]: readonly Tensor[],
  { log: logarithm }: SoftmaxAttributes,
): readonly Tensor[] {
  const g = gradient as Tensor;
  const y = output as Tensor;
  if (logarithm) return [sub(g, mul(exp(y), sum(g, { axis: -1, keepDims: true })))];
  return [mul(y, sub(g, sum(mul(g, y), { axis: -1, keepDims: true })))];
}

function fused(
  pass: "forward" | "backward",
  inputs: readonly Tensor[],
  { log: logarithm }: SoftmaxAttributes,
  device: Device,
): readonly Tensor[] | undefined {
  const { shape, dtype } = inputs[0] as Tensor;
  return runFused(device, "softmax", { kernel: "softmax", attributes: { pass, log: logarithm } }, inputs, [
    { shape, dtype },
  ]);
}

/** Options of the softmax family. */
export interface SoftmaxOptions {
  /** Axis that adds up to 1; default the last. */
  readonly axis?: number;
}

function along(op: string, x: Tensor, options: SoftmaxOptions, logarithm: boolean): Tensor {
  checkFloat(op, x);
  checkOptions(op, options, ["axis"]);
  const axis = x.rank === 0 ? 0 : checkAxis(op, options.axis ?? -1, x.rank);
  // A single element has all of the share, and of none there is nothing to share.
  if (x.rank === 0 || x.size === 0) return composite([x], () => (logarithm ? sub(x, x) : exp(sub(x, x))));
  if (axis === x.rank - 1) return apply(SOFTMAX, [x], { log: logarithm })[0] as Tensor;
  return composite([x], () => {
    const result = apply(SOFTMAX, [swapAxes(x, axis, -1)], { log: logarithm })[0] as Tensor;
    return swapAxes(result, axis, -1);
  });
}

/** e^x / Σ e^x along an axis; finite at ±1e4. */
export function softmax(x: Tensor, options: SoftmaxOptions = {}): Tensor {
  return along("softmax", x, options, false);
}

/** log(softmax(x)) along an axis, without the detour. */
export function logSoftmax(x: Tensor, options: SoftmaxOptions = {}): Tensor {
  return along("logSoftmax", x, options, true);
}
