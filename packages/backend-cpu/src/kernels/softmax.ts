import type { SoftmaxCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { type DenseFloats, readFloats, writeFloats } from "../dense.ts";

/** Makes the `softmax` kernel. The greatest element is subtracted first, so that ±1e4 stays finite. */
export function makeSoftmax({ workspace }: Context): (call: SoftmaxCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const result = outputs[0] as View;
    const width = result.shape[result.shape.length - 1] ?? 1;
    const rows = result.size / width;
    const first = readFloats(inputs[0] as View, workspace, "softmax first");
    if (attributes.pass === "forward") {
      writeFloats(result, workspace, "softmax result", (to) =>
        forward(rows, width, first, attributes.log, to),
      );
      return;
    }
    const y = readFloats(inputs[1] as View, workspace, "softmax y");
    const backward = attributes.log ? logBackward : plainBackward;
    writeFloats(result, workspace, "softmax result", (to) => backward(rows, width, first, y, to));
  };
}

/** The greatest of `width` elements. NaN may lose here; it comes back through the sum of exponentials. */
export function greatestOf(data: DenseFloats["data"], start: number, width: number): number {
  let greatest = -Infinity;
  for (let i = 0; i < width; i++) if (data[start + i] > greatest) greatest = data[start + i];
  return greatest;
}

/** The sum of exponentials of `width` elements less `shift`. */
export function sumOfExponentials(
  data: DenseFloats["data"],
  start: number,
  width: number,
  shift: number,
): number {
  let sum = 0;
  for (let i = 0; i < width; i++) sum += Math.exp(data[start + i] - shift);
  return sum;
}

function forward(rows: number, width: number, x: DenseFloats, log: boolean, to: DenseFloats): void {
  for (let row = 0; row < rows; row++) {
    const from = x.offset + row * width;
    const at = to.offset + row * width;
    const shift = greatestOf(x.data, from, width);
    const sum = sumOfExponentials(x.data, from, width, shift);
    if (log) {
      const logSum = Math.log(sum);
      for (let i = 0; i < width; i++) to.data[at + i] = x.data[from + i] - shift - logSum;
    } else {
      for (let i = 0; i < width; i++) to.data[at + i] = Math.exp(x.data[from + i] - shift) / sum;
    }
  }
}

/** dx = y (g - Σ g y). */
function plainBackward(rows: number, width: number, g: DenseFloats, y: DenseFloats, to: DenseFloats): void {
  for (let row = 0; row < rows; row++) {
    const [gAt, yAt, at] = [g.offset + row * width, y.offset + row * width, to.offset + row * width];
    let dot = 0;
    for (let i = 0; i < width; i++) dot += g.data[gAt + i] * y.data[yAt + i];
    for (let i = 0; i < width; i++) to.data[at + i] = y.data[yAt + i] * (g.data[gAt + i] - dot);
  }
}

/** dx = g - exp(y) Σ g, for y = log softmax(x). */
function logBackward(rows: number, width: number, g: DenseFloats, y: DenseFloats, to: DenseFloats): void {
  for (let row = 0; row < rows; row++) {
    const [gAt, yAt, at] = [g.offset + row * width, y.offset + row * width, to.offset + row * width];
    let sum = 0;
    for (let i = 0; i < width; i++) sum += g.data[gAt + i];
    for (let i = 0; i < width; i++) to.data[at + i] = g.data[gAt + i] - Math.exp(y.data[yAt + i]) * sum;
  }
}
