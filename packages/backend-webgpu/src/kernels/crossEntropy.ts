import type { CrossEntropyCall } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import { type Part, Rows } from "../wgsl/rows.ts";
import { exponentials } from "./softmax.ts";

const FORWARD: readonly Part[] = ["row", "one", "one", "one"];
const BACKWARD: readonly Part[] = ["one", "row", "one", "one", "row"];

/**
 * The `crossEntropy` kernel. With smoothing s over C classes a row's loss is
 * `logSumExp(x) - (1 - s) x[target] - s / C Σ x`, computed relative to the greatest logit.
 */
export function makeCrossEntropy({ gpu }: Context): KernelEntry<CrossEntropyCall> {
  return {
    dtypes: ["f32", "f16", "bf16"],
    run: (call) => {
      const { pass } = call.attributes;
      const rows = new Rows(call, pass === "forward" ? FORWARD : BACKWARD, gpu.adapterClass);
      // Without smoothing there is no sum over the classes.
      const smooth = call.params[1] !== 0;
      const kind = `crossEntropy ${pass}`;
      const shader = gpu.shader(`${kind} ${smooth} ${rows.key}`, () =>
        rows.source(kind, ["i32", "f32"], pass === "forward" ? forward(rows, smooth) : backward(rows)),
      );
      gpu.dispatch(shader, own(call.buffers), rows.numbers, call.params, rows.groups);
    },
  };
}

function forward(rows: Rows, smooth: boolean): string {
  const x = rows.load(0);
  const spread = smooth
    ? `${rows.sums({ level: `${x} - F(shift)` })}\nvalue -= params.p1 / f32(geometry.width) * level;`
    : "";
  return `let wanted = i32(${rows.loadOne(1)});
${exponentials(rows, 0)}
let logTotal = ${rows.ofOne("logF", "total")};
let place = clamp(wanted, 0, geometry.width - 1);
var value = logTotal - (1.0 - params.p1) * (${rows.loadOne(0, "place")} - shift);
${spread}
${rows.storeOne(0, "select(value, 0.0, wanted == params.p0)")}
${rows.storeOne(1, "shift + logTotal")}`;
}

/** Exponentials are computed anew: the stored log-sum-exp is rounded, which matters for large logits. */
function backward(rows: Rows): string {
  const here = rows.wide ? "(I(4 * i) + I(0, 1, 2, 3))" : "i";
  return `let wanted = i32(${rows.loadOne(2)});
let factor = ${rows.loadOne(0)};
${exponentials(rows, 1)}
let spread = params.p1 / f32(geometry.width);
let counts = wanted != params.p0;
${rows.each(`let share = expF(${rows.load(1)} - F(shift)) / F(total);
let goal = F(spread) + select(F(0.0), F(1.0 - params.p1), ${here} == I(wanted));
${rows.store(0, "select(F(0.0), F(factor) * (share - goal), counts)")}`)}`;
}
