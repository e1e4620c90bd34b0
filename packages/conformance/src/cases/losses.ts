import type { Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Domain, Edge, Instance, Operand, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { softplus } from "../reference/special.ts";
import { classRows } from "./class-losses.ts";
import { between, data, edge, FLOATS, optionsText, row, shapes, shapesText } from "./define.ts";
import { FAMILY, REDUCTIONS, type Reduction, reduced } from "./reduction.ts";

function elementRow(
  op: string,
  call: (a: Tensor, b: Tensor, options: { reduction?: Reduction }) => Tensor,
  f: (a: number, b: number) => number,
  spec: {
    readonly domains?: readonly [Domain, Domain];
    readonly variant?: string;
    readonly edges?: readonly Edge[];
    readonly targetGradient?: boolean;
  } = {},
): Row {
  const [first, second] = spec.domains ?? [{}, {}];
  const instance = (shape: readonly number[], reduction: Reduction): Instance => ({
    label: `${shapesText(shape)} ${reduction}`,
    operands: [
      data(shape, first),
      { ...data(shape, second), ...(spec.targetGradient === false && { gradient: false }) },
    ],
    run: ([a, b]) => call(a!, b!, { reduction }),
    reference: ([a, b]) => reduced(reference.map(f, a!, b!), reduction),
  });
  return row(FAMILY, {
    op,
    ...(spec.variant !== undefined && { variant: spec.variant }),
    kernels: ["reduce"],
    dtypes: FLOATS,
    tolerance: "composed",
    instances: [
      ...REDUCTIONS.map((reduction) => instance([3, 4], reduction)),
      instance([], "mean"),
      instance([7], "mean"),
      instance([2, 1, 3, 1, 2], "sum"),
      instance([0], "sum"),
    ],
    arbitrary: fc
      .tuple(shapes(0, 3, 5, 1), fc.constantFrom(...REDUCTIONS))
      .map(([shape, reduction]) => instance(shape, reduction)),
    edges: spec.edges ?? [],
  });
}

function similarityRows(): readonly Row[] {
  const dot = (a: readonly number[], b: readonly number[]): number =>
    reference.sum(a.map((value, i) => value * b[i]!));
  const length = (a: readonly number[]): number => Math.sqrt(dot(a, a));
  const cosine = (shape: readonly number[], axis: number): Instance => ({
    label: `${shapesText(shape, shape)} axis ${axis}`,
    operands: [data(shape, { joints: [0] }), data(shape, { joints: [0] })],
    run: ([a, b]) => nf.cosineSimilarity(a!, b!, { axis }),
    reference: ([a, b]) => {
      const axes = [reference.axisOf(axis, shape.length)];
      const [left, right] = [reference.groups(a!, axes), reference.groups(b!, axes)];
      return reference.nd(
        left.shape,
        left.lists.map((list, i) => dot(list, right.lists[i]!) / (length(list) * length(right.lists[i]!))),
      );
    },
  });
  const signs = (shape: readonly number[]): Operand => ({
    shape,
    dtype: "i32",
    values: (source) => Array.from({ length: reference.count(shape) }, () => (source.chance(2) ? 1 : -1)),
  });
  const embedding = (
    batch: number | undefined,
    width: number,
    margin: number,
    reduction: Reduction,
  ): Instance => {
    const shape = batch === undefined ? [width] : [batch, width];
    return {
      label: `${shapesText(shape)} margin ${margin} ${reduction}`,
      operands: [data(shape, { joints: [0] }), data(shape, { joints: [0] }), signs(shape.slice(0, -1))],
      // Those of the cosine, which 1 or the margin is taken from: parallel vectors do not tell of them.
      roundings: 4,
      run: ([a, b, target]) => nf.cosineEmbeddingLoss(a!, b!, target!, { margin, reduction }),
      reference: ([a, b, target]) => {
        const axes = [shape.length - 1];
        const [left, right] = [reference.groups(a!, axes), reference.groups(b!, axes)];
        const losses = left.lists.map((list, i) => {
          const other = right.lists[i]!;
          // As PyTorch does it, squares are never quite 0.
          const cos = dot(list, other) / Math.sqrt((dot(list, list) + 1e-12) * (dot(other, other) + 1e-12));
          return target!.data[i] === 1 ? 1 - cos : Math.max(0, cos - margin);
        });
        return reduced(reference.nd(left.shape, losses), reduction);
      },
    };
  };
  const triplet = (
    shape: readonly number[],
    options: { margin?: number; p?: number; swap?: boolean; reduction?: Reduction },
  ): Instance => ({
    label: shapesText(shape) + optionsText(options),
    operands: [
      data(shape, { low: -1, high: 1 }),
      data(shape, { low: 1.25, high: 3 }),
      data(shape, { low: -4, high: -2 }),
    ],
    run: (inputs) => nf.tripletMarginLoss(inputs[0]!, inputs[1]!, inputs[2]!, options),
    reference: (inputs) => {
      const { margin = 1, p = 2, swap = false, reduction = "mean" } = options;
      const [a, b, c] = inputs.map((x) => reference.groups(x, [shape.length - 1])) as [
        ReturnType<typeof reference.groups>,
        ReturnType<typeof reference.groups>,
        ReturnType<typeof reference.groups>,
      ];
      const distance = (u: readonly number[], v: readonly number[]): number =>
        reference.sum(u.map((value, i) => Math.abs(value - v[i]! + 1e-6) ** p)) ** (1 / p);
      const losses = a.lists.map((anchor, i) => {
        const far = distance(anchor, c.lists[i]!);
        const near = swap ? Math.min(far, distance(b.lists[i]!, c.lists[i]!)) : far;
        return Math.max(0, distance(anchor, b.lists[i]!) - near + margin);
      });
      return reduced(reference.nd(a.shape, losses), reduction);
    },
  });
  const common = { kernels: ["reduce"], tolerance: "composed" } as const;
  return [
    row(FAMILY, {
      op: "cosineSimilarity",
      ...common,
      instances: [cosine([3, 4], 1), cosine([2, 3, 2], 0), cosine([5], 0)],
      arbitrary: shapes(1, 3, 4, 1).map((shape) => cosine(shape, -1)),
    }),
    row(FAMILY, {
      op: "cosineEmbeddingLoss",
      ...common,
      order: 1,
      instances: [
        embedding(3, 4, -1, "mean"),
        embedding(undefined, 4, -1, "sum"),
        embedding(4, 2, -0.9, "none"),
      ],
      arbitrary: fc
        .tuple(between(1, 4), between(1, 4), fc.constantFrom(...REDUCTIONS))
        .map(([n, width, reduction]) => embedding(n, width, -1, reduction)),
    }),
    row(FAMILY, {
      op: "tripletMarginLoss",
      ...common,
      dtypes: ["f32", "f64"],
      instances: [
        triplet([3, 4], { margin: 20 }),
        triplet([4], { margin: 20, p: 3 }),
        triplet([2, 3], { margin: 20, swap: true, reduction: "none" }),
      ],
      arbitrary: fc
        .tuple(shapes(1, 2, 4, 1), fc.constantFrom(...REDUCTIONS), fc.constantFrom(2, 3))
        .map(([shape, reduction, p]) => triplet(shape, { margin: 25, reduction, p })),
    }),
  ];
}

/** Losses, with every reduction. */
export function lossRows(): readonly Row[] {
  const huber =
    (d: number) =>
    (a: number, b: number): number =>
      Math.abs(a - b) < d ? (a - b) ** 2 / 2 : d * (Math.abs(a - b) - d / 2);
  const smooth =
    (beta: number) =>
    (a: number, b: number): number =>
      Math.abs(a - b) < beta ? (a - b) ** 2 / (2 * beta) : Math.abs(a - b) - beta / 2;
  /** Differences that stay on one side of 1 and of 0.5. */
  const near: readonly [Domain, Domain] = [
    { low: 0.0625, high: 0.25 },
    { low: -0.125, high: 0 },
  ];
  const far: readonly [Domain, Domain] = [
    { low: 1, high: 2 },
    { low: -2, high: -0.5 },
  ];
  const chances: readonly [Domain, Domain] = [
    { low: 0.125, high: 0.875 },
    { low: 0, high: 1 },
  ];
  const cross = (p: number, t: number): number =>
    -(t * Math.max(Math.log(p), -100) + (1 - t) * Math.max(Math.log1p(-p), -100));
  const logits =
    (w: number) =>
    (x: number, t: number): number =>
      w * t * softplus(-x) + (1 - t) * softplus(x);
  const batchmean = (shape: readonly number[]): Instance => ({
    label: `${shapesText(shape)} batchmean`,
    operands: [data(shape, { low: -3, high: 0 }), data(shape, { low: 0.0625, high: 1 })],
    run: ([a, b]) => nf.klDiv(a!, b!, { reduction: "batchmean" }),
    reference: ([a, b]) =>
      reference.scalar(
        reference.sum(reference.map((x, t) => t * (Math.log(t) - x), a!, b!).data) / shape[0]!,
      ),
  });
  const logSpace: readonly [Domain, Domain] = [
    { low: -3, high: 0 },
    { low: -3, high: 0 },
  ];
  const kl = elementRow("klDiv", nf.klDiv, (x, t) => (t > 0 ? t * (Math.log(t) - x) : 0), {
    domains: [
      { low: -3, high: 0 },
      { low: 0.0625, high: 1 },
    ],
    edges: [
      edge(
        "a target of 0 counts nothing",
        ([a, b]) => nf.klDiv(a!, b!, { reduction: "sum" }),
        [
          [-1, -2],
          [0, 1],
        ],
        [2],
      ),
    ],
  });
  return [
    ...classRows(),
    elementRow("mseLoss", nf.mseLoss, (a, b) => (a - b) ** 2),
    elementRow("l1Loss", nf.l1Loss, (a, b) => Math.abs(a - b), { domains: far }),
    elementRow("huberLoss", nf.huberLoss, huber(1), { domains: near }),
    elementRow("huberLoss", (a, b, options) => nf.huberLoss(a, b, { ...options, delta: 0.5 }), huber(0.5), {
      domains: far,
      variant: "delta 0.5, far",
    }),
    elementRow("smoothL1Loss", nf.smoothL1Loss, smooth(1), { domains: near }),
    elementRow(
      "smoothL1Loss",
      (a, b, options) => nf.smoothL1Loss(a, b, { ...options, beta: 0.5 }),
      smooth(0.5),
      { domains: far, variant: "beta 0.5, far" },
    ),
    elementRow("bce", nf.bce, cross, {
      domains: chances,
      edges: [
        edge(
          "probabilities of 0 and 1 stay finite",
          ([p, t]) => nf.bce(p!, t!, { reduction: "none" }),
          [
            [0, 1, 0, 1],
            [0, 1, 1, 0],
          ],
          [0, 0, 100, 100],
          { only: ["f32", "f64"] },
        ),
      ],
    }),
    elementRow("bceWithLogits", nf.bceWithLogits, logits(1), {
      domains: [{}, { low: 0, high: 1 }],
      edges: [
        edge(
          "finite at ±1e4",
          ([x, t]) => nf.bceWithLogits(x!, t!, { reduction: "none" }),
          [
            [1e4, -1e4, 1e4],
            [0, 1, 1],
          ],
          [1e4, 1e4, 0],
          { grads: [[1, -1, 0], undefined], only: ["f32", "f64"] },
        ),
      ],
    }),
    elementRow(
      "bceWithLogits",
      (a, b, options) => nf.bceWithLogits(a, b, { ...options, posWeight: 3 }),
      logits(3),
      { domains: [{}, { low: 0, high: 1 }], variant: "posWeight 3" },
    ),
    { ...kl, instances: [...kl.instances, batchmean([3, 4]), batchmean([2])] },
    elementRow(
      "klDiv",
      (a, b, options) => nf.klDiv(a, b, { ...options, logTarget: true }),
      (x, t) => Math.exp(t) * (t - x),
      { domains: logSpace, variant: "of logarithms" },
    ),
    ...similarityRows(),
  ];
}
