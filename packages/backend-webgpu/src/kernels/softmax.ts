import type { SoftmaxCall } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import { infinite, NAN, type Part, Rows } from "../wgsl/rows.ts";

const FORWARD: readonly Part[] = ["row", "row"];
const BACKWARD: readonly Part[] = ["row", "row", "row"];

/** The `softmax` kernel. The greatest element is subtracted first, so that ±1e4 stays finite. */
export function makeSoftmax({ gpu }: Context): KernelEntry<SoftmaxCall> {
  return {
    dtypes: ["f32", "f16", "bf16"],
    run: (call) => {
      const { pass, log } = call.attributes;
      const rows = new Rows(call, pass === "forward" ? FORWARD : BACKWARD, gpu.adapterClass);
      const kind = `softmax ${pass}${log ? " log" : ""}`;
      const shader = gpu.shader(`${kind} ${rows.key}`, () =>
        rows.source(kind, [], pass === "forward" ? forward(rows, call) : backward(rows, log)),
      );
      gpu.dispatch(shader, own(call.buffers), rows.numbers, [], rows.groups);
    },
  };
}

/**
 * Declares `shift`, the greatest element of a row, and `total`, the sum of exponentials of the others less it: NaN where
 * there is a NaN or the greatest is infinite.
 *
 * @param keep a statement that may keep the exponential `e` of element `i`
 */
export function exponentials(rows: Rows, input: number, keep = ""): string {
  return `${rows.greatest("shift", rows.load(input))}
${rows.sums({ total: "e" }, `let e = expF(${rows.load(input)} - F(shift)); ${keep}`)}
total = select(total, ${NAN}, ${infinite("shift")});`;
}

function forward(rows: Rows, { attributes, outputs }: SoftmaxCall): string {
  if (attributes.log) {
    return `${exponentials(rows, 0)}
let logTotal = ${rows.ofOne("logF", "total")};
${rows.each(rows.store(0, `${rows.load(0)} - F(shift) - F(logTotal)`))}`;
  }
  // Where the result has room for them, exponentials are computed once.
  const kept = outputs[0].dtype === "f32";
  const power = kept ? rows.loadOutput(0) : `expF(${rows.load(0)} - F(shift))`;
  return `${exponentials(rows, 0, kept ? rows.store(0, "e") : "")}
${rows.each(rows.store(0, `${power} / F(total)`))}`;
}

/** y (g - Σ g y); of the logarithm g - e^y Σ g. */
function backward(rows: Rows, log: boolean): string {
  const [g, y] = [rows.load(0), rows.load(1)];
  return `${rows.sums({ along: log ? g : `${g} * ${y}` })}
${rows.each(rows.store(0, log ? `${g} - expF(${y}) * F(along)` : `${y} * (${g} - F(along))`))}`;
}
