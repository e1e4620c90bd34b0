import type { CrossEntropyOptions, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Edge, Instance, Operand, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { between, data, edge, optionsText, row, shapesText } from "./define.ts";
import { FAMILY, REDUCTIONS, type Reduction, reduced } from "./reduction.ts";

interface ClassSetup {
  readonly x: readonly number[];
  readonly options: Omit<CrossEntropyOptions, "weight"> & { readonly reduction?: Reduction };
  readonly weighted: boolean;
  readonly probabilities: boolean;
}

/** Row by row: -Σ target · weight · log-probability, ignored rows count nothing. */
function classLoss(
  logs: (row: readonly number[]) => readonly number[],
  x: Nd,
  target: Nd,
  weight: Nd | undefined,
  setup: ClassSetup,
): Nd {
  const { options, probabilities } = setup;
  const { reduction = "mean", ignoreIndex = -100, labelSmoothing = 0 } = options;
  const axis = x.shape.length === 1 ? 0 : 1;
  const classes = x.shape[axis]!;
  const rest = x.shape.filter((_, i) => i !== axis);
  let divisor = 0;
  const losses = reference.build(rest, (index, position) => {
    const at = (c: number): number[] => [...index.slice(0, axis), c, ...index.slice(axis)];
    const values = logs(Array.from({ length: classes }, (_, c) => reference.at(x, at(c))));
    const weights = Array.from({ length: classes }, (_, c) => weight?.data[c] ?? 1);
    if (probabilities) {
      divisor++;
      return -reference.sum(
        values.map(
          (value, c) =>
            value *
            weights[c]! *
            (reference.at(target, at(c)) * (1 - labelSmoothing) + labelSmoothing / classes),
        ),
      );
    }
    const wanted = target.data[position]!;
    if (wanted === ignoreIndex) return 0;
    divisor += weights[wanted]!;
    const spread = reference.sum(values.map((value, c) => -value * weights[c]!));
    return (
      -values[wanted]! * weights[wanted]! * (1 - labelSmoothing) +
      (labelSmoothing > 0 ? (spread * labelSmoothing) / classes : 0)
    );
  });
  return reduced(losses, reduction, divisor);
}

function logSoftmax(line: readonly number[]): readonly number[] {
  const top = Math.max(...line);
  const total = Math.log(reference.sum(line.map((value) => Math.exp(value - top))));
  return line.map((value) => value - top - total);
}

const CLASS_LOSSES = { crossEntropy: nf.crossEntropy, nllLoss: nf.nllLoss } as const;

function classRow(
  op: "crossEntropy" | "nllLoss",
  variant: string | undefined,
  fixed: readonly ClassSetup[],
  any: fc.Arbitrary<ClassSetup>,
  edges: readonly Edge[] = [],
): Row {
  const instance = (setup: ClassSetup): Instance => {
    const { x, options, weighted, probabilities } = setup;
    const axis = x.length === 1 ? 0 : 1;
    const classes = x[axis]!;
    const rows = x.filter((_, i) => i !== axis);
    const { ignoreIndex } = options;
    const indices: Operand = {
      shape: rows,
      dtype: "i32",
      values: (source) => {
        // Ignored rows, but never all of them.
        const all = Array.from({ length: reference.count(rows) }, () =>
          ignoreIndex !== undefined && source.chance(3) ? ignoreIndex : source.below(classes),
        );
        if (all[0] === ignoreIndex) all[0] = classes - 1;
        return all;
      },
    };
    const target = probabilities ? data(x, { low: 0.0625, high: 1 }) : indices;
    const weights: Operand[] = weighted
      ? [{ ...data([classes], { low: 0.25, high: 2 }), gradient: false }]
      : [];
    return {
      label: `${shapesText(x)}${weighted ? " weighted" : ""}${probabilities ? " probabilities" : ""}${optionsText(options)}`,
      operands: [data(x), target, ...weights],
      // The sum of powers is a number from 1 up, whose logarithm may be near 0.
      ...(op === "crossEntropy" && { roundings: 1 }),
      run: ([logits, wanted, weight]) =>
        CLASS_LOSSES[op](logits!, wanted!, { ...options, ...(weight !== undefined && { weight }) }),
      reference: ([logits, wanted, weight]) =>
        classLoss(op === "crossEntropy" ? logSoftmax : (line) => line, logits!, wanted!, weight, setup),
    };
  };
  return row(FAMILY, {
    op,
    ...(variant !== undefined && { variant }),
    kernels: ["reduce", "gather", "scatter"],
    tolerance: "composed",
    instances: fixed.map(instance),
    large: [setup([3, 1000]), setup([67, 65], { reduction: "sum" }, true)].map(instance),
    arbitrary: any.map(instance),
    edges,
  });
}

const setup = (
  x: readonly number[],
  options: ClassSetup["options"] = {},
  weighted = false,
  probabilities = false,
): ClassSetup => ({ x, options, weighted, probabilities });
const predictions = fc
  .tuple(between(1, 4), between(2, 5), fc.array(between(1, 2), { maxLength: 2 }), fc.nat(9))
  .map(([n, c, rest, kind]) => (kind === 0 ? [c] : [n, c, ...rest]));
const commonOptions = fc.record({
  reduction: fc.constantFrom(...REDUCTIONS),
  ignored: fc.boolean(),
  smoothing: fc.constantFrom(0, 0.1),
});

/** Losses of classes: indices or probabilities, weights, ignored rows, smoothing. */
export function classRows(): readonly Row[] {
  const withIndices = (smooth: boolean): fc.Arbitrary<ClassSetup> =>
    fc
      .tuple(predictions, commonOptions, fc.boolean())
      .map(([x, { reduction, ignored, smoothing }, weighted]) =>
        setup(
          x,
          {
            reduction,
            ...(ignored && { ignoreIndex: -1 }),
            ...(smooth && smoothing > 0 && { labelSmoothing: smoothing }),
          },
          weighted,
        ),
      );
  const withProbabilities = fc
    .tuple(predictions, commonOptions, fc.boolean())
    .map(([x, { reduction, smoothing }, weighted]) =>
      setup(x, { reduction, ...(smoothing > 0 && { labelSmoothing: smoothing }) }, weighted, true),
    );
  const fixed = [
    setup([4, 3]),
    setup([4, 3], { reduction: "sum" }),
    setup([4, 3], { reduction: "none" }),
    setup([5]),
    setup([2, 3, 2, 2]),
    setup([4, 3], { ignoreIndex: -1 }),
    setup([4, 3], { ignoreIndex: 1, reduction: "sum" }),
    setup([4, 3], {}, true),
    setup([1, 2]),
  ];
  const pair = ([x, t]: readonly Tensor[]): Tensor => nf.crossEntropy(x!, t!);
  return [
    classRow(
      "crossEntropy",
      undefined,
      [
        ...fixed,
        setup([4, 3], { labelSmoothing: 0.1 }),
        setup([4, 3], { labelSmoothing: 0.2, ignoreIndex: -1 }, true),
      ],
      withIndices(true),
      [
        edge(
          "finite at ±1e4",
          pair,
          [reference.nd([2, 2], [1e4, -1e4, -1e4, 1e4]), reference.nd([2], [0, 0])],
          [1e4],
          { dtypes: [undefined, "i32"], grads: [[0, 0, -0.5, 0.5], undefined], only: ["f32", "f64"] },
        ),
        edge(
          "nothing but ignored rows",
          (inputs) => nf.crossEntropy(inputs[0]!, inputs[1]!, { reduction: "sum" }),
          [reference.nd([1, 2], [1, 2]), reference.nd([1], [-100])],
          [0],
          { dtypes: [undefined, "i32"], grads: [[0, 0], undefined] },
        ),
      ],
    ),
    classRow(
      "crossEntropy",
      "with probabilities",
      [
        setup([4, 3], {}, false, true),
        setup([2, 3, 2], { reduction: "none" }, true, true),
        setup([3], { labelSmoothing: 0.1 }, false, true),
      ],
      withProbabilities,
    ),
    classRow("nllLoss", undefined, fixed, withIndices(false)),
  ];
}
