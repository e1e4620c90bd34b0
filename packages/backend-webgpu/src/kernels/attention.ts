import type { AttentionCall } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { Heads } from "../wgsl/heads.ts";
import { NAN } from "../wgsl/rows.ts";
import { gradBinds, runAttentionGrad } from "./attentionGrad.ts";
import {
  blockOf,
  each,
  groupSize,
  keep,
  overKeys,
  queryText,
  SIZES,
  scores,
  sizesOf,
  sumsBuffer,
  sumsOf,
} from "./attentionParts.ts";

const Q = 0;
const K = 1;
const V = 2;
const MASK = 3;

/** Keys that are taken together at most: scores first, then one new greatest. */
const BLOCK = 4;

/** The `attention` kernel: a query an invocation, which goes over the keys once and corrects its sums on the way. */
export function makeAttention({ gpu }: Context): KernelEntry<AttentionCall> {
  return {
    dtypes: ["f32", "f16", "bf16"],
    run: (call) => {
      if (call.attributes.pass === "forward") forward(gpu, call);
      else runAttentionGrad(gpu, call);
    },
    binds: (call) => {
      const sums = gpu.adapterClass === "software" ? 1 : 0;
      return sums + (call.attributes.pass === "forward" ? call.buffers.length : gradBinds(call));
    },
    supports: ({ inputs, attributes: { pass } }) => {
      const [q, k] = pass === "forward" ? inputs : inputs.slice(1);
      const [batch, heads, queries, headDim] = q.shape;
      const positions = Math.max(queries, k.shape[2]) + groupSize(gpu);
      // Of dk and dv there are sums in memory, of each query a vector of statistics.
      const bytes = 8 * batch * heads * positions * Math.max(headDim, 2);
      const { maxStorageBufferBindingSize, maxComputeWorkgroupsPerDimension: most } = gpu.device.limits;
      if (bytes > maxStorageBufferBindingSize)
        return { reason: `attention needs ${bytes} bytes to work in, more than the adapter binds` };
      const groups = Math.ceil(Math.max(queries, k.shape[2]) / groupSize(gpu));
      return Math.max(batch, heads, groups) > most
        ? { reason: `attention over more than ${most} samples, heads or groups of positions` }
        : "yes";
    },
  };
}

function forward(gpu: Gpu, call: AttentionCall): void {
  const [q, k] = call.inputs;
  const [batch, heads, queries, headDim] = q.shape;
  const { causal, mask } = call.attributes;
  const headed = [true, true, true, ...(mask ? [false] : []), true, false];
  const views = new Heads(call, headed, headDim, gpu.adapterClass !== "software");
  const size = groupSize(gpu);
  const groups = Math.ceil(queries / size);
  const block = blockOf(q, k, BLOCK);
  const shader = gpu.shader(`attention ${causal} ${mask} ${size} ${block} ${views.key}`, () =>
    source(views, call, size, block),
  );
  const numbers = [...sizesOf(q, k, groups * size), ...views.numbers];
  const sums = views.registers ? [] : [gpu.scratch.take(4 * batch * heads * groups * size * headDim)];
  gpu.dispatch(shader, [...own(call.buffers), ...sums], numbers, call.params, [groups, heads, batch]);
  gpu.scratch.give(...sums);
}

function source(
  views: Heads,
  { attributes: { causal, mask } }: AttentionCall,
  size: number,
  block: number,
): ShaderSource {
  const sums = sumsOf(views, "sums", ["(sample * geometry.heads + head)", "(first + i32(lane))"]);
  const some = (count: number, guarded: boolean): string => `
${scores(views, [Q, K, mask ? MASK : undefined], count, guarded)}
var top = greatest;
${each(count, (n) => `top = select(top, s${n}, s${n} > top);`)}
// Where all are minus infinity there is nothing to shift by.
let shift = select(top, 0.0, top == -bitcast<f32>(bitsOfInf));
let correction = expF(greatest - shift);
greatest = top;
${each(count, (n) => `let e${n} = expF(s${n} - shift); let v${n} = ${views.at(V, "sample", "kvHead", `(j + ${n})`)};`)}
total = total * correction + (${each(count, (n) => `e${n}`, " + ")});
${views.over((d) => {
  const terms = each(count, (n) => `e${n} * ${views.load(V, `v${n}`, d)}`, " + ");
  // What is not seen must not bring its infinities along.
  return `${sums.of(d)} = ${sums.of(d)} * correction + ${guarded ? `select(V(0.0), ${terms}, j < visible)` : terms};`;
})}`;
  return {
    label: "attention",
    buffers: [...views.buffers, ...sumsBuffer(views)],
    geometry: [...SIZES, ...views.names],
    params: ["f32"],
    workgroup: size,
    grid: true,
    declarations: `alias V = ${views.type};`,
    body: `${queryText(causal, size)}
let qAt = ${views.at(Q, "sample", "head", "query")};
${keep(views, "q", Q, "qAt")}
${sums.declare}
${mask ? `let maskAt = ${views.at(MASK, "sample", "head", "query")};` : ""}
var greatest = -bitcast<f32>(bitsOfInf);
var total = 0.0;
${overKeys(block, causal, some)}
if (live) {
  // An infinite score has no weight that is a number.
  total = select(total, ${NAN}, greatest == bitcast<f32>(bitsOfInf));
  let empty = total == 0.0;
  let over = select(total, 1.0, empty);
  let outAt = ${views.at(mask ? 4 : 3, "sample", "head", "query")};
  ${views.over((d) => views.store(0, "outAt", d, `${sums.of(d)} / over`))}
  let logAt = ${views.at(mask ? 5 : 4, "sample", "head", "query")};
  ${views.storeOne(1, "logAt", "select(greatest + logF(over), -bitcast<f32>(bitsOfInf), empty)")}
}`,
  };
}
