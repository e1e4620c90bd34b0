import { contiguousStrides, isFloat, type ReduceCall } from "@nf/core";
import { writeAll } from "../walk.ts";
import { combination } from "./combine.ts";
import { evaluateProgram } from "./program.ts";

/** Numbers combined into slots, one a group. */
interface Totals {
  take(slots: Float64Array, values: Float64Array, count: number): void;
  result(): readonly number[];
}

/** `reduce`: a program at every point of the inputs, its results combined over axes. */
export function reduce(call: ReduceCall): void {
  const { program, inputs, outputs, attributes } = call;
  const { kinds, axes } = attributes;
  // A slot is addressed by strides that stand still along reduced axes, so its points all lead to it.
  const groups = outputs[0].shape;
  const strides = contiguousStrides(groups).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  const totals = kinds.map((kind, k): Totals => {
    const { dtype } = program.results[k];
    const { start, step } = combination(kind, dtype);
    const slots = new Array<number>(outputs[k].size).fill(start);
    return kind === "sum" && isFloat(dtype) ? exactSums(slots) : simpleTotals(slots, step);
  });
  evaluateProgram(call, inputs[0].shape, [{ strides, offset: 0 }], (count, results, [slots]) => {
    totals.forEach((total, k) => {
      total.take(slots, results[k], count);
    });
  });
  // Outputs are written last: one of them may be an input.
  outputs.forEach((view, k) => {
    writeAll(totals[k].result(), view);
  });
}

function simpleTotals(totals: number[], step: (total: number, value: number) => number): Totals {
  return {
    take(slots, values, count) {
      for (let i = 0; i < count; i++) totals[slots[i]] = step(totals[slots[i]], values[i]);
    },
    result: () => totals,
  };
}

/** Sums that carry along what rounding lost (Neumaier 1974): as exact as a pairwise sum and better, in one pass. */
function exactSums(totals: number[]): Totals {
  const lost = totals.map(() => 0);
  return {
    take(slots, values, count) {
      for (let i = 0; i < count; i++) {
        const [slot, value] = [slots[i], values[i]];
        const total = totals[slot];
        const next = total + value;
        lost[slot] += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
        totals[slot] = next;
      }
    },
    // An infinite sum has no meaningful remainder.
    result: () => totals.map((total, slot) => (Number.isFinite(total) ? total + lost[slot] : total)),
  };
}
