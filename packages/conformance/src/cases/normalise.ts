import * as nf from "@nf/core";
import fc from "fast-check";
import type { Domain, Instance, Operand, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { between, data, edge, optionsText, row, shapes, shapesText } from "./define.ts";

const FAMILY = "normalise";
const KERNELS = ["reduce"] as const;

/** Lines of values brought to mean 0 (where centered) and mean square 1. */
function standardize(x: Nd, axes: readonly number[], eps: number, centered = true): Nd {
  const keep = reference.reduce(x, axes, true, (values) =>
    centered ? reference.sum(values) / values.length : 0,
  );
  const deviations = reference.map((value, center) => value - center, x, keep);
  const squares = reference.reduce(
    deviations,
    axes,
    true,
    (values) => reference.sum(values.map((value) => value * value)) / values.length,
  );
  return reference.map((value, square) => value / Math.sqrt(square + eps), deviations, squares);
}

function affine(x: Nd, weight: Nd | undefined, bias: Nd | undefined, shape: readonly number[]): Nd {
  const scaled =
    weight === undefined ? x : reference.map((a, b) => a * b, x, reference.reshape(weight, shape));
  return bias === undefined ? scaled : reference.map((a, b) => a + b, scaled, reference.reshape(bias, shape));
}

/** Which of weight and bias are there. */
type Parts = "neither" | "weight" | "bias" | "both";
const PARTS: readonly Parts[] = ["neither", "weight", "bias", "both"];
const hasWeight = (parts: Parts): boolean => parts === "weight" || parts === "both";
const hasBias = (parts: Parts): boolean => parts === "bias" || parts === "both";

function vectors(parts: Parts, shape: readonly number[]): Operand[] {
  return [...(hasWeight(parts) ? [data(shape)] : []), ...(hasBias(parts) ? [data(shape)] : [])];
}

/** Weight and bias among further operands. */
function named<T>(parts: Parts, rest: readonly T[]): { weight?: T; bias?: T } {
  const weight = hasWeight(parts) ? rest[0] : undefined;
  const bias = hasBias(parts) ? rest[hasWeight(parts) ? 1 : 0] : undefined;
  return { ...(weight !== undefined && { weight }), ...(bias !== undefined && { bias }) };
}

const TRAILING = { layerNorm: nf.layerNorm, rmsNorm: nf.rmsNorm } as const;

/**
 * Mean, deviation, variance, its root, a quotient, weight and bias: each rounds what the one before left. Values that lie
 * next to a mean which their signs brought near 0 do not tell of the rounding of the sums that led to it.
 */
const ROUNDED = { chain: 6, roundings: 1 } as const;
/** Values whose mean is far greater than their spread: a variance by the mean of squares loses its digits. */
const FAR: Domain = { low: 30, high: 34, distinct: true };

function trailingRow(op: "layerNorm" | "rmsNorm"): Row {
  const centered = op === "layerNorm";
  const instance = (
    shape: readonly number[],
    trailing: number,
    parts: Parts,
    eps?: number,
    domain: Domain = { distinct: true },
  ): Instance => {
    const own = centered ? parts : hasWeight(parts) ? "weight" : "neither";
    const normalizedShape = shape.slice(shape.length - trailing);
    const options = { normalizedShape, ...(eps !== undefined && { eps }) };
    return {
      label: `${shapesText(shape)} ${own}${optionsText(options)}${domain === FAR ? " far from 0" : ""}`,
      // Distinct values keep variances away from 0.
      ...ROUNDED,
      operands: [data(shape, domain), ...vectors(own, normalizedShape)],
      run: ([x, ...rest]) => TRAILING[op](x!, { ...options, ...named(own, rest) }),
      reference: ([x, ...rest], dtype) => {
        const { weight, bias } = named(own, rest);
        const axes = normalizedShape.map((_, i) => shape.length - trailing + i);
        const fallback = centered ? 1e-5 : dtype === "f64" ? 2 ** -52 : 2 ** -23;
        return affine(standardize(x!, axes, eps ?? fallback, centered), weight, bias, normalizedShape);
      },
    };
  };
  const any = fc
    .tuple(
      shapes(0, 2, 3, 1),
      between(1, 2),
      between(2, 4),
      fc.constantFrom(...PARTS),
      fc.constantFrom(undefined, 1e-5, 0.5),
    )
    .map(([lead, trailing, size, parts, eps]) =>
      instance([...lead, ...new Array<number>(trailing).fill(size)], trailing, parts, eps),
    );
  return row(FAMILY, {
    op,
    kernels: KERNELS,
    tolerance: "composed",
    instances: [
      instance([2, 3, 4], 1, "both"),
      instance([3, 5], 1, "neither"),
      instance([2, 3, 4], 2, "weight"),
      instance([4, 8], 1, "bias", 0.5),
      instance([7], 1, "both"),
      instance([1, 1, 2, 2, 3], 1, "both"),
      instance([3, 33], 1, "neither", undefined, FAR),
    ],
    large: [
      instance([5, 257], 1, "both"),
      instance([67, 33], 1, "weight"),
      instance([3, 9, 31], 2, "neither"),
    ],
    arbitrary: any,
    edges: centered
      ? [edge("equal values give 0, not NaN", ([x]) => nf.layerNorm(x!), [[3, 3, 3]], [0, 0, 0])]
      : [edge("zeros give 0, not NaN", ([x]) => nf.rmsNorm(x!), [[0, 0, 0]], [0, 0, 0])],
  });
}

const channelShape = (x: readonly number[]): number[] => [x[1]!, ...x.slice(2).map(() => 1)];

function groupRow(op: "groupNorm" | "instanceNorm"): Row {
  const instance = (x: readonly number[], groups: number, parts: Parts): Instance => {
    const count = op === "instanceNorm" ? x[1]! : groups;
    return {
      label: `${shapesText(x)} ${count} groups, ${parts}`,
      ...ROUNDED,
      operands: [data(x, { distinct: true }), ...vectors(parts, [x[1]!])],
      run: ([input, ...rest]) =>
        op === "groupNorm"
          ? nf.groupNorm(input!, { groups, ...named(parts, rest) })
          : nf.instanceNorm(input!, named(parts, rest)),
      reference: ([input, ...rest]) => {
        const { weight, bias } = named(parts, rest);
        const flat = reference.reshape(input!, [x[0]!, count, -1]);
        return affine(reference.reshape(standardize(flat, [2], 1e-5), x), weight, bias, channelShape(x));
      },
    };
  };
  const any = fc
    .tuple(
      between(1, 2),
      between(1, 2),
      between(1, 2),
      fc.array(between(2, 4), { minLength: 1, maxLength: 2 }),
      fc.constantFrom(...PARTS),
    )
    .map(([n, groups, per, spatial, parts]) => instance([n, groups * per, ...spatial], groups, parts));
  return row(FAMILY, {
    op,
    kernels: KERNELS,
    tolerance: "composed",
    instances: [
      instance([2, 4, 3], 2, "both"),
      instance([2, 4, 3, 2], 4, "weight"),
      instance([1, 6, 2, 2], 3, "neither"),
      instance([2, 2, 2, 2, 2], 1, "both"),
    ],
    large: [instance([3, 8, 17, 5], 4, "both")],
    arbitrary: any,
  });
}

/** Mean and biased variance of each channel. */
function moments(x: Nd): { mean: Nd; variance: Nd; count: number } {
  const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  const mean = reference.reduce(x, axes, false, (values) => reference.sum(values) / values.length);
  const variance = reference.reduce(x, axes, false, (values) => {
    const center = reference.sum(values) / values.length;
    return reference.sum(values.map((value) => (value - center) ** 2)) / values.length;
  });
  return { mean, variance, count: x.data.length / x.shape[1]! };
}

function batchRows(): readonly Row[] {
  const normalize = (x: Nd, mean: Nd, variance: Nd, eps = 1e-5): Nd => {
    const shape = channelShape(x.shape);
    return reference.map(
      (value, center, spread) => (value - center) / Math.sqrt(spread + eps),
      x,
      reference.reshape(mean, shape),
      reference.reshape(variance, shape),
    );
  };
  const blend = (old: Nd, fresh: Nd, momentum: number, factor = 1): Nd =>
    reference.map((a, b) => a * (1 - momentum) + b * factor * momentum, old, fresh);
  const vector = (channels: number): Operand => ({ shape: [channels], gradient: false, dense: true });
  const spread = (channels: number): Operand => ({ ...vector(channels), domain: { low: 0.25, high: 2 } });
  const training = (x: readonly number[], parts: Parts): Instance => ({
    label: `${shapesText(x)} ${parts}`,
    ...ROUNDED,
    operands: [data(x, { distinct: true }), ...vectors(parts, [x[1]!])],
    run: ([input, ...rest]) => nf.batchNorm(input!, { training: true, ...named(parts, rest) }),
    reference: ([input, ...rest]) => {
      const { weight, bias } = named(parts, rest);
      const { mean, variance } = moments(input!);
      return affine(normalize(input!, mean, variance), weight, bias, channelShape(x));
    },
  });
  const evaluation = (x: readonly number[], parts: Parts): Instance => ({
    label: `${shapesText(x)} ${parts}`,
    ...ROUNDED,
    operands: [data(x), vector(x[1]!), spread(x[1]!), ...vectors(parts, [x[1]!])],
    run: ([input, runningMean, runningVariance, ...rest]) =>
      nf.batchNorm(input!, {
        runningMean: runningMean!,
        runningVariance: runningVariance!,
        eps: 0.01,
        ...named(parts, rest),
      }),
    reference: ([input, mean, variance, ...rest]) => {
      const { weight, bias } = named(parts, rest);
      return affine(normalize(input!, mean!, variance!, 0.01), weight, bias, channelShape(x));
    },
  });
  /** The output, and the running statistics after it: in place, or as fresh tensors. */
  const running = (x: readonly number[], pure: boolean): Instance => ({
    label: `${shapesText(x)} momentum 0.25`,
    ...ROUNDED,
    // Statistics have fewer steps than what is made of them.
    chain: 4,
    operands: [data(x, { distinct: true }), vector(x[1]!), spread(x[1]!)],
    run: ([input, runningMean, runningVariance]) => {
      const statistics = { runningMean: runningMean!, runningVariance: runningVariance!, momentum: 0.25 };
      if (pure) {
        const result = nf.batchNormPure(input!, statistics);
        return [result.output, result.runningMean, result.runningVariance];
      }
      const output = nf.batchNorm(input!, { ...statistics, training: true });
      return [output, nf.clone(runningMean!), nf.clone(runningVariance!)];
    },
    reference: ([input, mean, variance]) => {
      const own = moments(input!);
      return [
        normalize(input!, own.mean, own.variance),
        blend(mean!, own.mean, 0.25),
        blend(variance!, own.variance, 0.25, own.count / (own.count - 1)),
      ];
    },
  });
  const inputs = fc
    .tuple(between(2, 3), between(1, 3), fc.array(between(1, 3), { maxLength: 2 }))
    .map(([n, c, spatial]) => [n, c, ...spatial]);
  const parts = fc.constantFrom(...PARTS);
  const common = { kernels: KERNELS, tolerance: "composed" } as const;
  return [
    row(FAMILY, {
      op: "batchNorm",
      ...common,
      instances: [training([4, 3], "both"), training([2, 3, 2, 2], "weight"), training([3, 1, 2], "neither")],
      large: [training([70, 9], "both"), training([3, 5, 17, 9], "weight")],
      arbitrary: fc.tuple(inputs, parts).map(([x, which]) => training(x, which)),
    }),
    row(FAMILY, {
      op: "batchNorm",
      variant: "with given statistics",
      ...common,
      instances: [evaluation([4, 3], "both"), evaluation([2, 3, 2, 2], "neither")],
      arbitrary: fc.tuple(inputs, parts).map(([x, which]) => evaluation(x, which)),
    }),
    row(FAMILY, {
      op: "batchNorm",
      variant: "updates running statistics",
      ...common,
      dtypes: ["f32", "f64"],
      order: 0,
      instances: [running([4, 3], false), running([2, 3, 2, 2], false)],
      arbitrary: inputs.map((x) => running(x, false)),
    }),
    row(FAMILY, {
      op: "batchNormPure",
      ...common,
      dtypes: ["f32", "f64"],
      order: 0,
      instances: [running([4, 3], true), running([2, 3, 2, 2], true)],
      arbitrary: inputs.map((x) => running(x, true)),
    }),
  ];
}

function l2Row(): Row {
  const instance = (shape: readonly number[], options: { axis?: number; eps?: number }): Instance => ({
    label: shapesText(shape) + optionsText(options),
    operands: [data(shape, { joints: [0] })],
    run: ([x]) => nf.l2Normalize(x!, options),
    reference: ([x]) => {
      const lengths = reference.reduce(x!, options.axis ?? 1, true, (values) =>
        Math.sqrt(reference.sum(values.map((value) => value * value))),
      );
      return reference.map((value, length) => value / Math.max(length, options.eps ?? 1e-12), x!, lengths);
    },
  });
  return row(FAMILY, {
    op: "l2Normalize",
    kernels: KERNELS,
    tolerance: "composed",
    instances: [
      instance([3, 4], {}),
      instance([2, 3, 2], { axis: 0 }),
      instance([5], { axis: -1, eps: 0.5 }),
    ],
    arbitrary: fc
      .tuple(shapes(1, 3, 4, 1), between(0, 2))
      .map(([shape, axis]) => instance(shape, { axis: axis % shape.length })),
    edges: [
      edge("zeros stay zeros", ([x]) => nf.l2Normalize(x!, { axis: 0 }), [[0, 0]], [0, 0], {
        only: ["f32", "f64"],
      }),
    ],
  });
}

/** Normalisation over trailing dimensions, groups of channels and batches. */
export function normaliseRows(): readonly Row[] {
  return [
    trailingRow("layerNorm"),
    trailingRow("rmsNorm"),
    groupRow("groupNorm"),
    groupRow("instanceNorm"),
    ...batchRows(),
    l2Row(),
  ];
}
