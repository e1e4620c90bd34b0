import type { NormCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { type DenseFloats, readFloats, writeDoubles, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";

/** Makes the `norm` kernel: layer norm and RMS norm. The variance takes a second pass over the row. */
export function makeNorm({ workspace }: Context): (call: NormCall) => void {
  return (call) => {
    if (call.attributes.pass === "forward") forward(call, workspace);
    else backward(call, workspace);
  };
}

function forward({ inputs, outputs, params, attributes }: NormCall, workspace: Workspace): void {
  const { rows, width } = rowsOf(inputs[0] as View);
  const eps = params[0] ?? 0;
  const x = readFloats(inputs[0] as View, workspace, "norm x");
  const weight = attributes.weight ? readFloats(inputs[1] as View, workspace, "norm weight") : undefined;
  const bias = attributes.bias
    ? readFloats(inputs[attributes.weight ? 2 : 1] as View, workspace, "norm bias")
    : undefined;
  const inverses = workspace.float64("norm inverse", rows);
  const means = workspace.float64("norm mean", rows);
  writeFloats(outputs[0] as View, workspace, "norm y", (to) => {
    for (let row = 0; row < rows; row++) {
      const from = x.offset + row * width;
      const at = to.offset + row * width;
      const mean = attributes.centered ? sumOf(x, from, width) / width : 0;
      const inverse = inverseDeviation(x, from, width, mean, eps);
      for (let i = 0; i < width; i++) {
        const scaled = (x.data[from + i] - mean) * inverse * (weight ? weight.data[weight.offset + i] : 1);
        to.data[at + i] = scaled + (bias ? bias.data[bias.offset + i] : 0);
      }
      inverses[row] = inverse;
      means[row] = mean;
    }
  });
  writeDoubles(inverses, outputs[1] as View);
  if (attributes.centered) writeDoubles(means, outputs[2] as View);
}

/**
 * With x̂ = (x - mean) inverse and h = g weight: dx = inverse (h - mean(h) - x̂ mean(h x̂)), without mean(h) for RMS norm;
 * dweight = Σ g x̂ and dbias = Σ g over the rows.
 */
function backward({ inputs, outputs, attributes }: NormCall, workspace: Workspace): void {
  const { rows, width } = rowsOf(inputs[1] as View);
  const g = readFloats(inputs[0] as View, workspace, "norm gradient");
  const x = readFloats(inputs[1] as View, workspace, "norm x");
  const inverses = readFloats(inputs[2] as View, workspace, "norm inverse");
  const means = attributes.centered ? readFloats(inputs[3] as View, workspace, "norm mean") : undefined;
  const weight = attributes.weight
    ? readFloats(inputs[attributes.centered ? 4 : 3] as View, workspace, "norm weight")
    : undefined;
  const weightSums = workspace.float64("norm dweight", width).fill(0);
  const biasSums = workspace.float64("norm dbias", width).fill(0);
  writeFloats(outputs[0] as View, workspace, "norm dx", (to) => {
    for (let row = 0; row < rows; row++) {
      const gAt = g.offset + row * width;
      const xAt = x.offset + row * width;
      const at = to.offset + row * width;
      const inverse = inverses.data[inverses.offset + row];
      const mean = means ? means.data[means.offset + row] : 0;
      let total = 0;
      let along = 0;
      for (let i = 0; i < width; i++) {
        const gradient = g.data[gAt + i];
        const normalized = (x.data[xAt + i] - mean) * inverse;
        const scaled = gradient * (weight ? weight.data[weight.offset + i] : 1);
        total += scaled;
        along += scaled * normalized;
        weightSums[i] += gradient * normalized;
        biasSums[i] += gradient;
      }
      const level = attributes.centered ? total / width : 0;
      for (let i = 0; i < width; i++) {
        const normalized = (x.data[xAt + i] - mean) * inverse;
        const scaled = g.data[gAt + i] * (weight ? weight.data[weight.offset + i] : 1);
        to.data[at + i] = inverse * (scaled - level - (normalized * along) / width);
      }
    }
  });
  if (attributes.weight) writeDoubles(weightSums, outputs[1] as View);
  if (attributes.bias) writeDoubles(biasSums, outputs[attributes.weight ? 2 : 1] as View);
}

function rowsOf({ shape, size }: View): { readonly rows: number; readonly width: number } {
  const width = shape[shape.length - 1] ?? 1;
  return { rows: size / width, width };
}

function sumOf({ data }: DenseFloats, start: number, width: number): number {
  let sum = 0;
  for (let i = 0; i < width; i++) sum += data[start + i];
  return sum;
}

/** 1 / √(mean square + eps), and 0 where that is 0: a row without spread gives zeros, not NaN. */
function inverseDeviation(
  { data }: DenseFloats,
  start: number,
  width: number,
  mean: number,
  eps: number,
): number {
  let squares = 0;
  for (let i = 0; i < width; i++) squares += (data[start + i] - mean) ** 2;
  const spread = squares / width + eps;
  return spread === 0 ? 0 : 1 / Math.sqrt(spread);
}
