import type { DType, ScanCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { readDoubles, writeDoubles } from "../dense.ts";
import { linesAlong } from "./lines.ts";

/** Makes the `scan` kernel: running sums, products and maxima; floats run in doubles, integers wrap around. */
export function makeScan({ workspace }: Context): (call: ScanCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const input = inputs[0] as View;
    const output = outputs[0] as View;
    const values = readDoubles(input, workspace, "scan");
    const { outer, length, inner } = linesAlong(input, attributes.axis);
    const combine = combiner(attributes.kind, input.dtype);
    const step = attributes.reverse ? -inner : inner;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        let at = o * length * inner + i + (attributes.reverse ? (length - 1) * inner : 0);
        let total = values[at];
        for (let k = 1; k < length; k++) {
          at += step;
          total = combine(total, values[at]);
          values[at] = total;
        }
      }
    }
    writeDoubles(values, output);
  };
}

function combiner(kind: "sum" | "prod" | "max", dtype: DType): (total: number, value: number) => number {
  if (kind === "max") return Math.max;
  const isFloat = dtype === "f32" || dtype === "f64" || dtype === "f16" || dtype === "bf16";
  if (kind === "sum")
    return isFloat ? (total, value) => total + value : (total, value) => (total + value) | 0;
  return isFloat ? (total, value) => total * value : Math.imul;
}
