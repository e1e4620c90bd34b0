import { DTYPES, type ScanCall } from "@nf/core";
import { axesLast, readAll, writeAll } from "../walk.ts";
import { combination } from "./combine.ts";

/** `scan`: running sums, products or maxima along an axis, from either end. */
export function scan({ inputs: [input], outputs: [out], attributes }: ScanCall): void {
  const { kind, axis, reverse } = attributes;
  const { step } = combination(kind, DTYPES[input.dtype].compute);
  const values = readAll(axesLast(input, [axis]));
  const length = input.shape[axis];
  const forward = reverse ? -1 : 1;
  for (let start = 0; start < values.length; start += length) {
    let place = reverse ? start + length - 1 : start;
    for (let k = 1; k < length; k++) {
      const total = values[place];
      place += forward;
      values[place] = step(total, values[place]);
    }
  }
  writeAll(values, axesLast(out, [axis]));
}
