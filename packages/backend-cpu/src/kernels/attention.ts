import { type AttentionCall, makeView, type View } from "@nf/core";
import type { Context } from "../context.ts";
import { floatsOf, isPlainFloat, readFloats, writeDoubles, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";

/**
 * Makes the `attention` kernel, one query at a time: the weights of its keys in scratch memory, then sums over the keys.
 * Backward computes the weights anew: the stored log-sum-exp is rounded, which matters for large scores.
 */
export function makeAttention({ workspace }: Context): (call: AttentionCall) => void {
  return (call) => {
    if (call.attributes.pass === "forward") forward(call, workspace);
    else backward(call, workspace);
  };
}

/** What both passes read: sizes, operands and where the rows of a query lie. */
interface Problem {
  readonly headDim: number;
  readonly keys: number;
  readonly scale: number;
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;
  /** Calls back for every query with what belongs to it. */
  eachQuery(visit: (query: Query) => void): void;
}

/** `[batch, heads, positions, headDim]` whose elements of one head and position lie side by side. */
interface Rows {
  readonly data: Float32Array | Float64Array;
  readonly offset: number;
  /** How far apart samples, heads and positions lie. */
  readonly sample: number;
  readonly head: number;
  readonly position: number;
}

interface Query {
  /** Its number among all queries of all heads. */
  readonly row: number;
  /** Where its elements, the keys and the values of its head begin. */
  readonly qAt: number;
  readonly kAt: number;
  readonly vAt: number;
  /** Where the keys of its head begin among all, counted in keys. */
  readonly firstKey: number;
  /** Keys it may attend to as far as causality goes: the first so many. */
  readonly visible: number;
  /** Greatest score, and the sum of exponentials less it; 0 where there is nothing to attend to. */
  readonly greatest: number;
  readonly total: number;
  /** Exponentials of the visible keys' scores less the greatest: over `total`, they are the weights. */
  readonly powers: Float64Array;
}

function problemOf(
  [qView, kView, vView, maskView]: readonly (View | undefined)[],
  { params, attributes }: AttentionCall,
  workspace: Workspace,
): Problem {
  const [batch, heads, queries, headDim] = (qView as View).shape as readonly [number, number, number, number];
  const [, kvHeads, keys] = (kView as View).shape as readonly [number, number, number];
  const scale = params[0] ?? 1;
  const q = readRows(qView as View, workspace, "attention q");
  const k = readRows(kView as View, workspace, "attention k");
  const v = readRows(vView as View, workspace, "attention v");
  const mask = maskView === undefined ? undefined : readMask(maskView, workspace);
  const powers = workspace.float64("attention weights", keys);
  const eachQuery = (visit: (query: Query) => void): void => {
    for (let row = 0; row < batch * heads * queries; row++) {
      const [position, head] = [row % queries, Math.floor(row / queries) % heads];
      const sample = Math.floor(row / (queries * heads));
      const kvHead = Math.floor((head * kvHeads) / heads);
      const firstKey = (sample * kvHeads + kvHead) * keys;
      const first = k.offset + sample * k.sample + kvHead * k.head;
      const visible = attributes.causal ? Math.min(keys, Math.max(0, position + 1 + keys - queries)) : keys;
      const qAt = q.offset + sample * q.sample + head * q.head + position * q.position;
      const vAt = v.offset + sample * v.sample + kvHead * v.head;
      let greatest = -Infinity;
      for (let j = 0; j < visible; j++) {
        const kAt = first + j * k.position;
        let score = 0;
        for (let d = 0; d < headDim; d++) score += q.data[qAt + d] * k.data[kAt + d];
        score *= scale;
        if (mask !== undefined) score += mask.at(sample, head, position, j);
        powers[j] = score;
        // A NaN becomes the greatest, and stays it.
        if (score > greatest || Number.isNaN(score)) greatest = score;
      }
      let total = 0;
      if (greatest !== -Infinity) {
        for (let j = 0; j < visible; j++) total += powers[j] = Math.exp(powers[j] - greatest);
      } else {
        powers.fill(0, 0, visible);
      }
      visit({ row, qAt, kAt: first, vAt, firstKey, visible, greatest, total, powers });
    }
  };
  return { headDim, keys, scale, q, k, v, eachQuery };
}

/**
 * Rows as they lie where that is possible: heads may have been split off, and the view may be the filled part of a
 * cache. Otherwise a dense copy in scratch memory.
 */
function readRows(view: View, workspace: Workspace, name: string): Rows {
  const [sample, head, position, element] = view.strides as readonly [number, number, number, number];
  const [, heads, positions, headDim] = view.shape as readonly [number, number, number, number];
  if (isPlainFloat(view.dtype) && (element === 1 || headDim === 1))
    return { data: floatsOf(view), offset: view.offset, sample, head, position };
  const { data, offset } = readFloats(view, workspace, name);
  return {
    data,
    offset,
    sample: heads * positions * headDim,
    head: positions * headDim,
    position: headDim,
  };
}

/** The mask without what it repeats. */
function readMask(
  view: View,
  workspace: Workspace,
): { at(sample: number, head: number, query: number, key: number): number } {
  const shape = view.shape.map((size, axis) => (view.strides[axis] === 0 ? 1 : size));
  const own = makeView(view.buffer, view.dtype, shape, view.strides, view.offset);
  const { data, offset } = readFloats(own, workspace, "attention mask");
  const steps = [0, 0, 0, 0];
  let step = 1;
  for (let axis = 3; axis >= 0; axis--) {
    steps[axis] = shape[axis] === 1 ? 0 : step;
    step *= shape[axis] as number;
  }
  const [perSample, perHead, perQuery, perKey] = steps as [number, number, number, number];
  return {
    at: (sample, head, query, key) =>
      data[offset + sample * perSample + head * perHead + query * perQuery + key * perKey],
  };
}

function forward(call: AttentionCall, workspace: Workspace): void {
  const [out, logSums] = call.outputs as readonly [View, View];
  const { headDim, v, eachQuery } = problemOf(call.inputs, call, workspace);
  const logs = workspace.float64("attention lse", logSums.size);
  const sums = workspace.float64("attention sums", headDim);
  writeFloats(out, workspace, "attention out", (to) => {
    eachQuery(({ row, vAt, visible, greatest, total, powers }) => {
      sums.fill(0, 0, headDim);
      for (let j = 0; j < visible && total !== 0; j++) {
        const from = vAt + j * v.position;
        const weight = powers[j] / total;
        for (let d = 0; d < headDim; d++) sums[d] += weight * v.data[from + d];
      }
      const at = to.offset + row * headDim;
      for (let d = 0; d < headDim; d++) to.data[at + d] = sums[d];
      logs[row] = greatest + Math.log(total);
    });
  });
  writeDoubles(logs, logSums);
}

/** With weights p and s = p (g·v - Σ p g·v) scale: dq = Σ s k, dk = Σ s q, dv = Σ p g. */
function backward(call: AttentionCall, workspace: Workspace): void {
  const [dqView, dkView, dvView] = call.outputs as readonly [View, View, View];
  const g = readFloats(call.inputs[0] as View, workspace, "attention gradient");
  const operands = call.inputs.slice(1, call.attributes.mask ? 5 : 4);
  const { headDim, keys, scale, q, k, v, eachQuery } = problemOf(operands, call, workspace);
  const dq = workspace.float64("attention dq", dqView.size).fill(0);
  const dk = workspace.float64("attention dk", dkView.size).fill(0);
  const dv = workspace.float64("attention dv", dvView.size).fill(0);
  const arriving = workspace.float64("attention g·v", keys);
  eachQuery(({ row, qAt, kAt, vAt, firstKey, visible, total, powers }) => {
    if (total === 0) return;
    const gAt = g.offset + row * headDim;
    let mean = 0;
    for (let j = 0; j < visible; j++) {
      const from = vAt + j * v.position;
      let product = 0;
      for (let d = 0; d < headDim; d++) product += g.data[gAt + d] * v.data[from + d];
      arriving[j] = product;
      mean += (powers[j] / total) * product;
    }
    for (let j = 0; j < visible; j++) {
      const weight = powers[j] / total;
      const slope = weight * (arriving[j] - mean) * scale;
      const at = (firstKey + j) * headDim;
      const from = kAt + j * k.position;
      for (let d = 0; d < headDim; d++) {
        dv[at + d] += weight * g.data[gAt + d];
        dk[at + d] += slope * q.data[qAt + d];
        dq[row * headDim + d] += slope * k.data[from + d];
      }
    }
  });
  writeDoubles(dq, dqView);
  writeDoubles(dk, dkView);
  writeDoubles(dv, dvView);
}
