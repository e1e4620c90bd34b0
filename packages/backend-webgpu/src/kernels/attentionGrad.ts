import type { AttentionCall, View } from "@nf/core";
import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import { Heads } from "../wgsl/heads.ts";
import { NAN } from "../wgsl/rows.ts";
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
  whole,
} from "./attentionParts.ts";

/*
 * With weights p and s = p (g·v - Σ p g·v) scale: dq = Σ s k, dk = Σ s q, dv = Σ p g. A dispatch with a query an invocation
 * finds each row's greatest score and sum anew (the stored log-sum-exp is rounded, which matters for large scores) and
 * dq; one with a key an invocation finds dk and dv.
 */

/** What a row's weights follow from: greatest score, sum of exponentials less it (0 where there is nothing to attend to), g·out. */
const STATISTICS = "statistics";

/** Inputs of both dispatches: gradient of out, q, k, v, then the mask. */
const G = 0;
const Q = 1;
const K = 2;
const V = 3;
const MASK = 4;

/** Keys or queries that are taken together at most. */
const BLOCK = 2;

/** Buffers that the wider of its dispatches binds, without sums: neither takes all of the call's. */
export function gradBinds({ attributes, inputs, outputs }: AttentionCall): number {
  const operands = inputs.slice(0, attributes.mask ? 5 : 4);
  const [dq, dk, dv] = outputs;
  const distinct = (...views: readonly View[]): number =>
    new Set([...operands, ...views].map(({ buffer }) => buffer)).size;
  return 1 + Math.max(distinct(inputs[operands.length], dq), distinct(dk, dv));
}

type Text = (views: Heads, causal: boolean, mask: boolean, size: number, block: number) => string;

/** `attention` backward. */
export function runAttentionGrad(gpu: Gpu, call: AttentionCall): void {
  const { causal, mask } = call.attributes;
  const operands = call.inputs.slice(0, mask ? 5 : 4);
  const out = call.inputs[mask ? 5 : 4];
  const [, q, k] = operands;
  const [dq, dk, dv] = call.outputs;
  const [batch, heads, queries, headDim] = q.shape;
  const size = groupSize(gpu);
  const block = blockOf(q, k, BLOCK);
  const headed = [true, true, true, true, ...(mask ? [false] : [])];
  const statistics = gpu.scratch.take(16 * batch * heads * queries);
  const run = (
    label: string,
    further: readonly View[],
    outputs: readonly View[],
    text: Text,
    of: View,
  ): void => {
    const inputs = [...operands, ...further];
    const used = new Set([...inputs, ...outputs].map(({ buffer }) => buffer));
    const buffers = call.buffers.filter((buffer) => used.has(buffer));
    const all = [...headed, ...[...further, ...outputs].map(() => true)];
    const views = new Heads({ buffers, inputs, outputs }, all, headDim, gpu.adapterClass !== "software");
    const shader = gpu.shader(`${label} ${causal} ${mask} ${size} ${block} ${views.key}`, () => ({
      label,
      buffers: [
        ...views.buffers,
        { name: STATISTICS, type: "vec4<f32>", access: "write" },
        ...sumsBuffer(views),
      ],
      geometry: [...SIZES, ...views.names],
      params: ["f32"],
      workgroup: size,
      grid: true,
      declarations: `alias V = ${views.type};`,
      body: text(views, causal, mask, size, block),
    }));
    const [, ownHeads, positions] = of.shape;
    const groups = Math.ceil(positions / size);
    const bytes = 4 * batch * ownHeads * groups * size * headDim * outputs.length;
    const sums = views.registers ? [] : [gpu.scratch.take(bytes)];
    gpu.dispatch(
      shader,
      [...own(buffers), statistics, ...sums],
      [...sizesOf(q, k, groups * size), ...views.numbers],
      call.params,
      [groups, ownHeads, batch],
    );
    gpu.scratch.give(...sums);
  };
  run("attentionGrad q", [out], [dq], queryGrad, q);
  run("attentionGrad k v", [], [dk, dv], keyGrad, k);
  gpu.scratch.give(statistics);
}

const queryGrad: Text = (views, causal, mask, size, block) => {
  const out = mask ? 5 : 4;
  const operands = [Q, K, mask ? MASK : undefined] as const;
  const sums = sumsOf(views, "sums", ["(sample * geometry.heads + head)", "(first + i32(lane))"]);
  const find = (count: number, guarded: boolean): string => `
${scores(views, operands, count, guarded)}
var top = greatest;
${each(count, (n) => `top = select(top, s${n}, s${n} > top);`)}
let shift = select(top, 0.0, top == -bitcast<f32>(bitsOfInf));
total = total * expF(greatest - shift) + (${each(count, (n) => `expF(s${n} - shift)`, " + ")});
greatest = top;`;
  const add = (count: number, guarded: boolean): string => `
${scores(views, operands, count, guarded)}
${each(count, (n) => `let v${n} = ${views.at(V, "sample", "kvHead", `(j + ${n})`)}; var m${n} = V(0.0);`)}
${views.over((d) => `{ let x = ${views.kept("g", G, "gAt", d)}; ${each(count, (n) => `m${n} += x * ${views.load(V, `v${n}`, d)};`, " ")} }`)}
${each(count, (n) => `let t${n} = expF(s${n} - shift) / over * (${whole(views, `m${n}`)} - mean) * params.p0;`)}
${views.over((d) => {
  const terms = each(count, (n) => `t${n} * ${views.load(K, `k${n}`, d)}`, " + ");
  return `${sums.of(d)} += ${guarded ? `select(V(0.0), ${terms}, j < visible)` : terms};`;
})}`;
  return `${queryText(causal, size)}
let qAt = ${views.at(Q, "sample", "head", "query")};
let gAt = ${views.at(G, "sample", "head", "query")};
let outAt = ${views.at(out, "sample", "head", "query")};
${keep(views, "q", Q, "qAt")}
${keep(views, "g", G, "gAt")}
${sums.declare}
var product = V(0.0);
${views.over((d) => `product += ${views.kept("g", G, "gAt", d)} * ${views.load(out, "outAt", d)};`)}
let mean = ${whole(views, "product")};
${mask ? `let maskAt = ${views.at(MASK, "sample", "head", "query")};` : ""}
var greatest = -bitcast<f32>(bitsOfInf);
var total = 0.0;
{
${overKeys(block === 1 ? 1 : 2 * block, causal, find)}
}
total = select(total, ${NAN}, greatest == bitcast<f32>(bitsOfInf));
let empty = total == 0.0;
let over = select(total, 1.0, empty);
let shift = select(greatest, 0.0, greatest == -bitcast<f32>(bitsOfInf));
{
${overKeys(block, causal, add)}
}
if (live) {
  ${STATISTICS}[(sample * geometry.heads + head) * geometry.queries + query] = vec4(shift, total, mean, 0.0);
  let dqAt = ${views.at(out + 1, "sample", "head", "query")};
  ${views.over((d) => views.store(0, "dqAt", d, `select(${sums.of(d)}, V(0.0), empty)`))}
}`;
};

const keyGrad: Text = (views, causal, mask, size, block) => {
  const dk = mask ? 5 : 4;
  const place = ["(sample * (geometry.heads / geometry.share) + kvHead)", "(first + i32(lane))"] as const;
  const dkSums = sumsOf(views, "dk", place, 0, 2);
  const dvSums = sumsOf(views, "dv", place, 1, 2);
  const score = (n: number): string => {
    const product = `${whole(views, `p${n}`)} * params.p0`;
    return mask
      ? `${product} + ${views.loadOne(MASK, `(maskAt + (query + ${n}) * geometry.c${MASK})`)}`
      : product;
  };
  const some = (count: number): string => `
${each(
  count,
  (
    n,
  ) => `let statistic${n} = ${STATISTICS}[(sample * geometry.heads + head) * geometry.queries + query + ${n}];
let q${n} = ${views.at(Q, "sample", "head", `(query + ${n})`)};
let g${n} = ${views.at(G, "sample", "head", `(query + ${n})`)};
var p${n} = V(0.0);
var m${n} = V(0.0);`,
)}
${views.over(
  (d) => `{ let x = ${views.kept("k", K, "kAt", d)}; let y = ${views.kept("v", V, "vAt", d)};
${each(count, (n) => `p${n} += ${views.load(Q, `q${n}`, d)} * x; m${n} += ${views.load(G, `g${n}`, d)} * y;`)} }`,
)}
${each(
  count,
  (n) => `// A row with nothing to attend to, or that does not see this key, gives it nothing, not even a NaN.
let counts${n} = (bitcast<u32>(statistic${n}.y) & 0x7fffffffu) != 0u${causal ? ` && query + ${n} >= seen` : ""};
let weight${n} = expF(${score(n)} - statistic${n}.x) / statistic${n}.y;
let slope${n} = weight${n} * (${whole(views, `m${n}`)} - statistic${n}.z) * params.p0;`,
)}
${views.over(
  (
    d,
  ) => `${dvSums.of(d)} += ${each(count, (n) => `select(V(0.0), weight${n} * ${views.load(G, `g${n}`, d)}, counts${n})`, " + ")};
${dkSums.of(d)} += ${each(count, (n) => `select(V(0.0), slope${n} * ${views.load(Q, `q${n}`, d)}, counts${n})`, " + ")};`,
)}`;
  return `let sample = i32(cell.z);
let kvHead = i32(cell.y);
let first = i32(cell.x) * ${size};
let j = min(first + i32(lane), geometry.keys - 1);
let kAt = ${views.at(K, "sample", "kvHead", "j")};
let vAt = ${views.at(V, "sample", "kvHead", "j")};
${keep(views, "k", K, "kAt")}
${keep(views, "v", V, "vAt")}
${dkSums.declare}
${dvSums.declare}
// The first query that sees this key, and the first that sees one of the work group's.
${causal ? "let seen = j + geometry.queries - geometry.keys; let begin = max(first + geometry.queries - geometry.keys, 0);" : "let begin = 0;"}
for (var head = kvHead * geometry.share; head < (kvHead + 1) * geometry.share; head++) {
  ${mask ? `let maskAt = geometry.o${MASK} + sample * geometry.a${MASK} + head * geometry.b${MASK} + j * geometry.d${MASK};` : ""}
${
  block === 1
    ? `for (var query = begin; query < geometry.queries; query++) {\n${some(1)}\n}`
    : `let pairs = geometry.queries - (geometry.queries - min(begin, geometry.queries)) % ${block};
  for (var query = begin; query < pairs; query += ${block}) {
${some(block)}
  }
  for (var query = pairs; query < geometry.queries; query++) {
${some(1)}
  }`
}
}
if (first + i32(lane) < geometry.keys) {
  let dkOut = ${views.at(dk, "sample", "kvHead", "j")};
  let dvOut = ${views.at(dk + 1, "sample", "kvHead", "j")};
  ${views.over((d) => `${views.store(0, "dkOut", d, dkSums.of(d))}\n${views.store(1, "dvOut", d, dvSums.of(d))}`)}
}`;
};
