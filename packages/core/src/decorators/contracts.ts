import type { Call, Kernel } from "../backend/call.ts";
import type { WindowAttributes } from "../backend/fused.ts";
import { sameShape, showShape } from "../backend/geometry.ts";
import type { Shape, View } from "../backend/view.ts";
import { type ComputeDType, DTYPES, type DType } from "../dtype.ts";
import type { Program } from "../scalar/program.ts";

/** Ends the check of a call: which operand, what the contract wants there, what it is. */
export type Fail = (operand: string, expected: string, got: string) => never;

/** What each kernel's documentation promises about its views, as code. */
type Contracts = {
  readonly [K in Kernel]: (call: Extract<Call, { kernel: K }>, fail: Fail) => void;
};

const CONTRACTS: Contracts = {
  map({ program, inputs, outputs, params }, fail) {
    checkProgram(program, inputs, outputs, params, fail);
    const { shape } = outputs[0] as View;
    eachView("input", inputs, shape, fail);
    eachView("output", outputs, shape, fail);
  },

  mapMany({ program, inputs, outputs, params, attributes: { groups } }, fail) {
    const [n, m] = [program.inputs.length, program.results.length];
    count(inputs, [groups * n], "input", fail);
    count(outputs, [groups * m], "output", fail);
    for (let group = 0; group < groups; group++) {
      const reads = inputs.slice(group * n, (group + 1) * n);
      const writes = outputs.slice(group * m, (group + 1) * m);
      checkProgram(program, reads, writes, params, fail);
      const { shape } = writes[0] as View;
      eachView(`group ${group} input`, reads, shape, fail);
      eachView(`group ${group} output`, writes, shape, fail);
    }
  },

  reduce({ program, inputs, outputs, params, attributes: { axes, kinds } }, fail) {
    checkProgram(program, inputs, outputs, params, fail);
    if (kinds.length !== outputs.length)
      fail("kinds", `one for each of ${outputs.length} outputs`, kinds.join());
    const first = inputs[0];
    if (first === undefined) return fail("inputs", "at least one", "none");
    eachView("input", inputs, first.shape, fail);
    eachView("output", outputs, withoutAxes(first.shape, axes, fail), fail);
  },

  argReduce({ inputs, outputs, attributes: { axes } }, fail) {
    count(inputs, [1], "input", fail);
    count(outputs, [1], "output", fail);
    eachView("output", outputs, withoutAxes((inputs[0] as View).shape, axes, fail), fail);
    dtypeIs("output 0", outputs[0], ["i32"], fail);
  },

  matmul({ program, inputs, outputs, params }, fail) {
    count(inputs, [program === undefined ? 2 : program.inputs.length + 1], "input", fail);
    count(outputs, [1], "output", fail);
    const [a, b] = inputs as readonly [View, View];
    const output = outputs[0] as View;
    if (a.shape.length < 2) fail("input 0", "at least two dimensions", showShape(a.shape));
    const batch = a.shape.slice(0, -2);
    const inner = a.shape.at(-1) as number;
    const columns = b.shape.at(-1) as number;
    shapeIs("input 1", b, [...batch, inner, columns], fail);
    shapeIs("output 0", output, [...a.shape.slice(0, -1), columns], fail);
    dtypeIs("input 1", b, a.dtype === "f32" ? ["f32", "f16", "bf16"] : [a.dtype], fail);
    if (program === undefined) {
      dtypeIs("output 0", output, [a.dtype], fail);
      return;
    }
    const product: View = { ...output, dtype: a.dtype };
    checkProgram(program, [product, ...inputs.slice(2)], outputs, params, fail);
    eachView("epilogue input", inputs.slice(2), output.shape, fail);
  },

  gather({ inputs, outputs, attributes: { axis } }, fail) {
    count(inputs, [2], "input", fail);
    count(outputs, [1], "output", fail);
    const [source, index] = inputs as readonly [View, View];
    const output = outputs[0] as View;
    indexed("input 0", source, index, axis, fail);
    shapeIs("output 0", output, index.shape, fail);
    dtypeIs("output 0", output, [source.dtype], fail);
  },

  scatter({ inputs, outputs, attributes: { axis } }, fail) {
    count(inputs, [2], "input", fail);
    count(outputs, [1], "output", fail);
    const [updates, index] = inputs as readonly [View, View];
    const output = outputs[0] as View;
    indexed("output 0", output, index, axis, fail);
    shapeIs("input 0", updates, index.shape, fail);
    dtypeIs("input 0", updates, [output.dtype], fail);
  },

  scan({ inputs, outputs, attributes: { axis } }, fail) {
    alongAxis(inputs, outputs, 1, axis, fail);
  },

  sort({ inputs, outputs, attributes: { axis } }, fail) {
    alongAxis(inputs, outputs, 2, axis, fail);
    dtypeIs("output 1", outputs[1], ["i32"], fail);
  },

  conv({ inputs, outputs, attributes }, fail) {
    const { pass, groups } = attributes;
    count(inputs, pass === "forward" ? [2, 3] : [2], "input", fail);
    count(outputs, [1], "output", fail);
    const [first, second] = inputs as readonly [View, View];
    const result = outputs[0] as View;
    const [x, weight, out] =
      pass === "forward"
        ? [first, second, result]
        : pass === "inputGrad"
          ? [result, second, first]
          : [second, result, first];
    const [batch, channels] = x.shape as readonly [number, number];
    const [outChannels] = weight.shape as readonly [number];
    const kernelSize = weight.shape.slice(2);
    if (channels % groups !== 0 || outChannels % groups !== 0)
      fail("groups", `a divisor of ${channels} and of ${outChannels} channels`, String(groups));
    shapeIs("weight", weight, [outChannels, channels / groups, ...kernelSize], fail);
    shapeIs("out", out, [batch, outChannels, ...positions(x, kernelSize, attributes, fail)], fail);
    if (inputs[2] !== undefined) shapeIs("bias", inputs[2], [outChannels], fail);
  },

  pool({ inputs, outputs, attributes }, fail) {
    const { pass, kind, kernelSize } = attributes;
    const forward = pass === "forward";
    count(inputs, [forward || kind === "mean" ? 1 : 2], "input", fail);
    count(outputs, [1], "output", fail);
    const [x, out] = (forward ? [inputs[0], outputs[0]] : [outputs[0], inputs[0]]) as readonly [View, View];
    shapeIs("out", out, [...x.shape.slice(0, 2), ...positions(x, kernelSize, attributes, fail)], fail);
    if (inputs[1] !== undefined) shapeIs("input 1", inputs[1], x.shape, fail);
  },

  softmax({ inputs, outputs, attributes: { pass } }, fail) {
    count(inputs, [pass === "forward" ? 1 : 2], "input", fail);
    count(outputs, [1], "output", fail);
    const { shape } = inputs[0] as View;
    if (shape.length === 0) fail("input 0", "at least one dimension", "[]");
    eachView("input", inputs, shape, fail);
    eachView("output", outputs, shape, fail);
  },

  norm({ inputs, outputs, attributes: { pass, centered, weight, bias } }, fail) {
    const extra = [weight, bias].filter(Boolean).length;
    const statistics = centered ? 2 : 1;
    const forward = pass === "forward";
    count(inputs, [forward ? 1 + extra : 2 + statistics + (weight ? 1 : 0)], "input", fail);
    count(outputs, [1 + (forward ? statistics : extra)], "output", fail);
    const { shape } = inputs[0] as View;
    const rows = [...shape.slice(0, -1), 1];
    const width = shape.slice(-1);
    eachView("output", outputs.slice(0, 1), shape, fail);
    if (forward) {
      eachView("weight or bias", inputs.slice(1), width, fail);
      eachView("statistic", outputs.slice(1), rows, fail);
    } else {
      eachView("input", inputs.slice(0, 2), shape, fail);
      eachView("statistic", inputs.slice(2, 2 + statistics), rows, fail);
      eachView("weight", inputs.slice(2 + statistics), width, fail);
      eachView("gradient of weight or bias", outputs.slice(1), width, fail);
    }
  },

  attention({ inputs, outputs, attributes: { pass, mask } }, fail) {
    const masks = mask ? 1 : 0;
    const forward = pass === "forward";
    count(inputs, [(forward ? 3 : 6) + masks], "input", fail);
    count(outputs, [forward ? 2 : 3], "output", fail);
    const [q, k, v] = inputs.slice(forward ? 0 : 1) as [View, View, View];
    const [batch, heads, queries, headDim] = q.shape as readonly [number, number, number, number];
    const [, kvHeads, keys] = k.shape as readonly [number, number, number];
    shapeIs("q", q, [batch, heads, queries, headDim], fail);
    shapeIs("k", k, [batch, kvHeads, keys, headDim], fail);
    shapeIs("v", v, k.shape, fail);
    if (heads % kvHeads !== 0) fail("q", `heads a multiple of ${kvHeads}`, String(heads));
    if (mask) shapeIs("mask", inputs[forward ? 3 : 4], [batch, heads, queries, keys], fail);
    const [out, logSum] = forward ? outputs : [inputs[4 + masks], inputs[5 + masks]];
    shapeIs("out", out, q.shape, fail);
    shapeIs("log-sum-exp", logSum, [batch, heads, queries], fail);
    if (forward) return;
    shapeIs("input 0", inputs[0], q.shape, fail);
    [q, k, v].forEach((view, i) => {
      shapeIs(`output ${i}`, outputs[i], view.shape, fail);
    });
  },

  rope({ inputs, outputs }, fail) {
    count(inputs, [3], "input", fail);
    count(outputs, [1], "output", fail);
    const { shape } = inputs[0] as View;
    const [length, headDim] = shape.slice(-2) as [number, number];
    eachView("cos, sin", inputs.slice(1), [length, headDim / 2], fail);
    eachView("output", outputs, shape, fail);
  },

  crossEntropy({ inputs, outputs, attributes: { pass } }, fail) {
    const forward = pass === "forward";
    count(inputs, [forward ? 2 : 4], "input", fail);
    count(outputs, [forward ? 2 : 1], "output", fail);
    const [logits, target] = inputs.slice(forward ? 0 : 1) as [View, View];
    if (logits.shape.length !== 2) fail("logits", "[rows, classes]", showShape(logits.shape));
    const rows = logits.shape.slice(0, 1);
    shapeIs("target", target, rows, fail);
    dtypeIs("target", target, ["i32"], fail);
    if (forward) eachView("output", outputs, rows, fail);
    else {
      shapeIs("input 0", inputs[0], rows, fail);
      shapeIs("log-sum-exp", inputs[3], rows, fail);
      shapeIs("output 0", outputs[0], logits.shape, fail);
    }
  },

  embeddingGrad({ inputs, outputs }, fail) {
    count(inputs, [2], "input", fail);
    count(outputs, [1], "output", fail);
    const [gradient, index] = inputs as readonly [View, View];
    const width = gradient.shape.at(-1) as number;
    shapeIs("input 0", gradient, [index.size, width], fail);
    shapeIs("output 0", outputs[0], [(outputs[0] as View).shape[0] as number, width], fail);
    dtypeIs("input 1", index, ["i32"], fail);
  },

  quantizedMatmul({ inputs, outputs, attributes: { inner, columns } }, fail) {
    count(inputs, [2], "input", fail);
    count(outputs, [1], "output", fail);
    const rows = (inputs[0] as View).shape[0] as number;
    shapeIs("input 0", inputs[0], [rows, inner], fail);
    dtypeIs("input 1", inputs[1], ["u8"], fail);
    shapeIs("output 0", outputs[0], [rows, columns], fail);
  },
};

/** Holds a call's views, program and attributes against what its kernel's signature says. */
export function checkContract(call: Call, fail: Fail): void {
  const contract = CONTRACTS[call.kernel] as ((call: Call, fail: Fail) => void) | undefined;
  if (contract === undefined) fail("kernel", "a kernel that core knows", String(call.kernel));
  else contract(call, fail);
}

function count(views: readonly View[], allowed: readonly number[], what: string, fail: Fail): void {
  if (!allowed.includes(views.length))
    fail(`${what}s`, `${allowed.join(" or ")} of them`, String(views.length));
}

function shapeIs(operand: string, view: View | undefined, shape: Shape, fail: Fail): void {
  if (view === undefined || !sameShape(view.shape, shape))
    fail(operand, `shape ${showShape(shape)}`, view === undefined ? "nothing" : showShape(view.shape));
}

function eachView(operand: string, views: readonly View[], shape: Shape, fail: Fail): void {
  views.forEach((view, index) => {
    shapeIs(`${operand} ${index}`, view, shape, fail);
  });
}

function dtypeIs(operand: string, view: View | undefined, allowed: readonly DType[], fail: Fail): void {
  if (view === undefined || !allowed.includes(view.dtype))
    fail(operand, `dtype ${allowed.join(" or ")}`, view?.dtype ?? "nothing");
}

function checkProgram(
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
  params: readonly number[],
  fail: Fail,
): void {
  count(inputs, [program.inputs.length], "program input", fail);
  count(outputs, [program.results.length], "program output", fail);
  if (params.length !== program.params.length)
    fail("params", `${program.params.length} numbers`, String(params.length));
  const computes = (operand: string, view: View, dtype: ComputeDType): void => {
    if (DTYPES[view.dtype].compute !== dtype) fail(operand, `a dtype computed in ${dtype}`, view.dtype);
  };
  inputs.forEach((view, i) => {
    computes(`input ${i}`, view, program.inputs[i] as ComputeDType);
  });
  outputs.forEach((view, i) => {
    computes(`output ${i}`, view, (program.results[i] as { dtype: ComputeDType }).dtype);
  });
}

/** A shape with size 1 on the reduced axes, which must be ascending and some. */
function withoutAxes(shape: Shape, axes: readonly number[], fail: Fail): Shape {
  const valid =
    axes.length > 0 &&
    axes.every(
      (axis, i) => Number.isInteger(axis) && axis >= 0 && axis < shape.length && axis > (axes[i - 1] ?? -1),
    );
  if (!valid) fail("axes", `ascending axes of ${showShape(shape)}`, showShape(axes));
  return shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
}

function axisOf(axis: number, { shape }: View, fail: Fail): void {
  if (!(Number.isInteger(axis) && axis >= 0 && axis < shape.length))
    fail("axis", `an axis of ${showShape(shape)}`, String(axis));
}

/** What is addressed through an index has the index's sizes, except along the axis. */
function indexed(operand: string, view: View, index: View, axis: number, fail: Fail): void {
  axisOf(axis, view, fail);
  dtypeIs("input 1", index, ["i32"], fail);
  const shape = index.shape.map((size, i) => (i === axis ? (view.shape[i] as number) : size));
  shapeIs(operand, view, shape, fail);
}

function alongAxis(
  inputs: readonly View[],
  outputs: readonly View[],
  results: number,
  axis: number,
  fail: Fail,
): void {
  count(inputs, [1], "input", fail);
  count(outputs, [results], "output", fail);
  const input = inputs[0] as View;
  axisOf(axis, input, fail);
  eachView("output", outputs, input.shape, fail);
  dtypeIs("output 0", outputs[0], [input.dtype], fail);
}

/** How many windows fit into each spatial dimension of x. */
function positions(
  x: View,
  kernelSize: Shape,
  { stride, dilation, padding }: WindowAttributes,
  fail: Fail,
): Shape {
  const spatial = x.shape.slice(2);
  const lists = { "kernel size": kernelSize, stride, dilation, padding };
  for (const [name, list] of Object.entries(lists)) {
    if (list.length !== spatial.length || spatial.length === 0)
      fail(name, `one entry for each spatial dimension of ${showShape(x.shape)}`, String(list.length));
  }
  return spatial.map((size, i) => {
    const [before, after] = padding[i] as readonly [number, number];
    const reach = (dilation[i] as number) * ((kernelSize[i] as number) - 1) + 1;
    return Math.floor((size + before + after - reach) / (stride[i] as number)) + 1;
  });
}
