import type { NormCall } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import { type Part, Rows } from "../wgsl/rows.ts";
import { runNormGrad } from "./normGrad.ts";

/** The `norm` kernel: layer norm and RMS norm. The variance takes a second pass over the row. */
export function makeNorm({ gpu }: Context): KernelEntry<NormCall> {
  return {
    dtypes: ["f32", "f16", "bf16"],
    run: (call) => {
      if (call.attributes.pass === "forward") forward(gpu, call);
      else runNormGrad(gpu, call);
    },
  };
}

function forward(gpu: Gpu, call: NormCall): void {
  const { centered, weight, bias } = call.attributes;
  const parts: Part[] = ["row"];
  if (weight) parts.push("line");
  if (bias) parts.push("line");
  parts.push("row", "one");
  if (centered) parts.push("one");
  const rows = new Rows(call, parts, gpu.adapterClass);
  const shader = gpu.shader(`norm ${centered} ${weight} ${bias} ${rows.key}`, () =>
    rows.source("norm", ["f32"], text(rows, call)),
  );
  gpu.dispatch(shader, own(call.buffers), rows.numbers, call.params, rows.groups);
}

function text(rows: Rows, { attributes: { centered, weight, bias } }: NormCall): string {
  const deviation = centered ? `(${rows.load(0)} - F(mean))` : rows.load(0);
  const scaled = `${deviation} * F(inverse)${weight ? ` * ${rows.load(1)}` : ""}`;
  return `let width = f32(geometry.width);
${centered ? `${rows.sums({ level: rows.load(0) })}\nlet mean = level / width;` : ""}
${rows.sums({ squares: "d * d" }, `let d = ${deviation};`)}
let spread = squares / width + params.p0;
let inverse = select(1.0 / sqrt(spread), 0.0, spread == 0.0);
${rows.each(rows.store(0, bias ? `${scaled} + ${rows.load(weight ? 2 : 1)}` : scaled))}
${rows.storeOne(1, "inverse")}
${centered ? rows.storeOne(2, "mean") : ""}`;
}
