import * as nf from "@nf/core";
import type { Row } from "../model.ts";
import { erfc, maximum, minimum, sigmoid, softplus } from "../reference/special.ts";
import { NUMBERS } from "./define.ts";
import { type UnarySpec, unaryRow } from "./unary.ts";

const FAMILY = "activations";
const clamp = (x: number, low: number, high: number): number => minimum(maximum(x, low), high);
const elu = (x: number, alpha: number): number => (x > 0 ? x : alpha * Math.expm1(x));
const SELU = { alpha: 1.6732632423543772848170429916717, scale: 1.0507009873554804934193349852946 };
const gelu = (x: number): number => (x === -Infinity ? NaN : (x * erfc(-x / Math.SQRT2)) / 2);
const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
/** What the limits of a product with an infinite factor are is not looked at. */
const finite: UnarySpec = {
  extremes: false,
  points: [
    [1e4, 1e4, 1],
    [-1e4, -0, 0],
    [NaN, NaN, NaN],
  ],
};
const around: UnarySpec = { domain: { low: -6, high: 6 } };

/** Activation functions. Joints carry PyTorch's gradients. */
export function activationRows(): readonly Row[] {
  const unary = (
    op: string,
    call: (x: nf.Tensor) => nf.Tensor,
    f: (x: number) => number,
    spec: UnarySpec = {},
    variant?: string,
  ): Row => unaryRow(FAMILY, op, call, f, spec, variant);
  return [
    unary("sigmoid", nf.sigmoid, sigmoid, {
      ...around,
      points: [
        [1e4, 1, 0],
        [-1e4, 0, 0],
        [0, 0.5, 0.25],
      ],
    }),
    unary("relu", nf.relu, (x) => maximum(x, 0), {
      dtypes: NUMBERS,
      tolerance: "exact",
      domain: { joints: [0] },
      points: [
        [0, 0, 0],
        [1, 1, 1],
        [-1, 0, 0],
        [NaN, NaN, 1],
      ],
    }),
    unary("relu6", nf.relu6, (x) => clamp(x, 0, 6), {
      dtypes: NUMBERS,
      tolerance: "exact",
      domain: { low: -2, high: 8, joints: [0, 6] },
      points: [
        [0, 0, 0],
        [6, 6, 0],
        [3, 3, 1],
      ],
    }),
    unary(
      "leakyRelu",
      (x) => nf.leakyRelu(x, { negativeSlope: 0.2 }),
      (x) => (x > 0 ? x : 0.2 * x),
      {
        domain: { joints: [0] },
        points: [
          [0, 0, 0.2],
          [1, 1, 1],
        ],
      },
      "slope 0.2",
    ),
    unary(
      "leakyRelu",
      (x) => nf.leakyRelu(x),
      (x) => (x > 0 ? x : 0.01 * x),
      { domain: { joints: [0] } },
    ),
    unary(
      "elu",
      (x) => nf.elu(x),
      (x) => elu(x, 1),
      {
        domain: { joints: [0] },
        points: [
          [0, 0, 1],
          [-1e4, -1, 0],
          [1e4, 1e4, 1],
        ],
      },
    ),
    unary(
      "elu",
      (x) => nf.elu(x, { alpha: 0.5 }),
      (x) => elu(x, 0.5),
      { domain: { joints: [0] }, points: [[0, 0, 0.5]] },
      "alpha 0.5",
    ),
    unary("selu", nf.selu, (x) => SELU.scale * elu(x, SELU.alpha), { domain: { joints: [0] } }),
    unary("softplus", (x) => nf.softplus(x), softplus, {
      ...around,
      points: [
        [1e4, 1e4, 1],
        [-1e4, 0, 0],
        [0, Math.LN2, 0.5],
      ],
    }),
    unary(
      "softplus",
      (x) => nf.softplus(x, { beta: 2 }),
      (x) => softplus(2 * x) / 2,
      around,
      "beta 2",
    ),
    // A quotient, its square and a power of it round one after the other, and the tail moves by many times that.
    unary("gelu", (x) => nf.gelu(x), gelu, { ...finite, ...around, tolerance: "summed", chain: 4 }),
    unary(
      "gelu",
      (x) => nf.gelu(x, { approximate: "tanh" }),
      geluTanh,
      // Those of a tanh near -1, which 1 is added to and x multiplies: all that is left of it far from 0.
      { ...finite, ...around, tolerance: "summed", roundings: 8 },
      "tanh",
    ),
    unary("silu", nf.silu, (x) => x * sigmoid(x), { ...finite, ...around }),
    unary("mish", nf.mish, (x) => x * Math.tanh(softplus(x)), { ...finite, ...around }),
    unary("logSigmoid", nf.logSigmoid, (x) => -softplus(-x), {
      ...around,
      points: [
        [-1e4, -1e4, 1],
        [1e4, -0, 0],
      ],
    }),
    unary("hardSwish", nf.hardSwish, (x) => (x * clamp(x + 3, 0, 6)) / 6, {
      extremes: false,
      domain: { low: -5, high: 5, joints: [-3, 3] },
      points: [
        [-3, -0, 0],
        [0, 0, 0.5],
        [4, 4, 1],
      ],
    }),
    unary("hardSigmoid", nf.hardSigmoid, (x) => clamp(x + 3, 0, 6) / 6, {
      domain: { low: -5, high: 5, joints: [-3, 3] },
      points: [
        [-3, 0, 0],
        [3, 1, 0],
        [0, 0.5, 1 / 6],
      ],
    }),
    unary("softsign", nf.softsign, (x) => x / (1 + Math.abs(x)), {
      extremes: false,
      domain: { joints: [0] },
      points: [
        [1e4, 1e4 / 10001, 1 / 10001 ** 2],
        [0, 0, 1],
      ],
    }),
  ];
}
