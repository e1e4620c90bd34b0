import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { maximum, sigmoid } from "../reference/special.ts";
import { axisFor, data, edge, optionsText, row, shapes, shapesText } from "./define.ts";
import { uniforms } from "./random.ts";

const FAMILY = "softmax";

/** e^x over its sum along a line. */
export function softmax(line: readonly number[]): number[] {
  const top = line.reduce(maximum, -Infinity);
  const powers = line.map((value) => Math.exp(value - top));
  const total = reference.sum(powers);
  return powers.map((power) => power / total);
}

function logSoftmax(line: readonly number[]): number[] {
  const top = line.reduce(maximum, -Infinity);
  const total = reference.sum(line.map((value) => Math.exp(value - top)));
  return line.map((value) => value - top - Math.log(total));
}

const ALONG = { softmax: nf.softmax, logSoftmax: nf.logSoftmax } as const;

function softmaxRow(op: "softmax" | "logSoftmax"): Row {
  const f = op === "softmax" ? softmax : logSoftmax;
  const instance = (shape: readonly number[], options: { axis?: number }): Instance => ({
    label: shapesText(shape) + optionsText(options),
    operands: [data(shape)],
    // A difference, a power, a quotient.
    chain: 3,
    // The sum of powers is a number from 1 up, whose logarithm may be near 0.
    ...(op === "logSoftmax" && { roundings: 1 }),
    run: ([x]) => ALONG[op](x!, options),
    reference: ([x]) =>
      shape.length === 0 ? { shape, data: f(x!.data) } : reference.lines(x!, options.axis ?? -1, f),
  });
  const run = ([x]: readonly nf.Tensor[]): nf.Tensor => ALONG[op](x!);
  return row(FAMILY, {
    op,
    kernels: ["reduce"],
    tolerance: "composed",
    instances: [
      instance([], {}),
      instance([5], {}),
      instance([3, 4], {}),
      instance([3, 4], { axis: 0 }),
      instance([2, 3, 4], { axis: 1 }),
      instance([2, 1, 3, 1, 2], { axis: 2 }),
      instance([1], {}),
      instance([0, 3], {}),
      instance([3, 70], {}),
    ],
    large: [instance([2, 1025], {}), instance([130, 3], { axis: 0 })],
    arbitrary: shapes(0, 4, 5, 1).chain((shape) =>
      shape.length === 0
        ? fc.constant(instance(shape, {}))
        : axisFor(shape.length).map((axis) => instance(shape, { axis })),
    ),
    edges: [
      edge("±1e4", run, [[1e4, 0, -1e4]], op === "softmax" ? [1, 0, 0] : [0, -1e4, -2e4], {
        grads: [op === "softmax" ? [0, 0, 0] : [-2, 1, 1]],
      }),
      edge(
        "-Infinity has no part",
        run,
        [[0, -Infinity, 0]],
        op === "softmax" ? [0.5, 0, 0.5] : [-Math.LN2, -Infinity, -Math.LN2],
      ),
      edge("NaN spreads", run, [[0, NaN, 1]], [NaN, NaN, NaN]),
    ],
  });
}

function gluRow(): Row {
  const instance = (shape: readonly number[], options: { axis?: number }): Instance => {
    const axis = reference.axisOf(options.axis ?? -1, shape.length);
    const half = shape[axis]! / 2;
    return {
      label: shapesText(shape) + optionsText(options),
      operands: [data(shape)],
      run: ([x]) => nf.glu(x!, options),
      reference: ([x]) =>
        reference.map(
          (value, gate) => value * sigmoid(gate),
          reference.cut(x!, axis, 0, half),
          reference.cut(x!, axis, half, 2 * half),
        ),
    };
  };
  return row("activations", {
    op: "glu",
    tolerance: "composed",
    instances: [instance([4], {}), instance([2, 6], {}), instance([4, 3], { axis: 0 }), instance([0, 2], {})],
    arbitrary: shapes(1, 3, 3).chain((shape) =>
      axisFor(shape.length).map((axis) =>
        instance(
          shape.map((size, i) => (i === reference.axisOf(axis, shape.length) ? 2 * size : size)),
          { axis },
        ),
      ),
    ),
  });
}

/** Noise from a known seed, so that the reference can follow. */
function gumbelRow(): Row {
  const instance = (shape: readonly number[], tau: number, hard: boolean, seed: number): Instance => ({
    label: `${shapesText(shape)} tau ${tau}${hard ? " hard" : ""} seed ${seed}`,
    operands: [data(shape)],
    run: ([x]) => nf.gumbelSoftmax(x!, { tau, hard, generator: new nf.Generator(seed) }),
    reference: ([x], dtype) => {
      const noise = uniforms(seed, x!.data.length, dtype === "f64" ? "f64" : "f32").map(
        (u) => -Math.log(Math.max(-Math.log1p(-u), 2 ** -54)),
      );
      const soft = reference.lines(
        reference.map((value, g) => (value + g) / tau, x!, reference.nd(shape, noise)),
        -1,
        softmax,
      );
      return hard
        ? reference.lines(soft, -1, (line) =>
            line.map((value, i) => (i === line.indexOf(line.reduce(maximum)) ? 1 : value * 0)),
          )
        : soft;
    },
  });
  return row(FAMILY, {
    op: "gumbelSoftmax",
    kernels: ["reduce", "argReduce"],
    dtypes: ["f64", "f32"],
    order: 0,
    tolerance: "composed",
    instances: [instance([2, 4], 1, false, 1), instance([5], 0.5, false, 2), instance([3, 4], 1, true, 3)],
    arbitrary: fc
      .tuple(shapes(1, 3, 4, 1), fc.constantFrom(0.5, 1, 2), fc.boolean(), fc.nat(1000))
      .map(([shape, tau, hard, seed]) => instance(shape, tau, hard, seed)),
  });
}

/** Softmax, its logarithm, and samples of it. */
export function softmaxRows(): readonly Row[] {
  return [softmaxRow("softmax"), softmaxRow("logSoftmax"), gumbelRow(), gluRow()];
}
