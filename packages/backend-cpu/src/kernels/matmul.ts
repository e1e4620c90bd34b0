import {
  contiguousStrides,
  isInteger,
  type MapCall,
  type MatmulCall,
  type Support,
  type View,
} from "@nf/core";
import { elementsOf } from "../buffer.ts";
import type { Context } from "../context.ts";
import { floatsOf, isPlainFloat, readDoubles, writeDoubles } from "../dense.ts";
import type { Workspace } from "../workspace.ts";
import { type Matrix, multiplyBlocked, multiplyDirect, type Source } from "./gemm.ts";
import { halfTable } from "./halfs.ts";

/** Multiplications below which a product is not worth packing. */
const SMALL = 4096;

/** Whether a `matmul` call with a program can run: the product must lie in the output without loss before the program sees it. */
export function supportsMatmul({ program, inputs, outputs }: MatmulCall): Support {
  if (program === undefined) return "yes";
  const out = outputs[0] as View;
  if (out.dtype === "f16" || out.dtype === "bf16")
    return { reason: "the product would be rounded to 16 bits before the program" };
  if (
    program.results.length !== 1 ||
    program.inputs[0] !== out.dtype ||
    program.results[0]?.dtype !== out.dtype
  ) {
    return { reason: "the program must take and give the dtype of the product" };
  }
  if (inputs.slice(2).some((view) => view.buffer === out.buffer))
    return { reason: "a further input lies in the output's buffer" };
  return "yes";
}

/** Makes the `matmul` kernel. A program runs as a `map` over the finished product. */
export function makeMatmul({ workspace }: Context, map: (call: MapCall) => void): (call: MatmulCall) => void {
  return (call) => {
    const [a, b] = call.inputs as readonly [View, View];
    const out = call.outputs[0] as View;
    if (isInteger(out.dtype)) multiplyIntegers(a, b, out);
    else if (isWeight(a, b)) multiplyWeight(workspace, a, b, out);
    else multiplyFloats(workspace, a, b, out);
    if (call.program === undefined) return;
    const { buffers, params, outputs, program } = call;
    map({ kernel: "map", program, buffers, inputs: [out, ...call.inputs.slice(2)], outputs, params });
  };
}

/** A stack of matrices: the last two dimensions are rows and columns. */
interface Stack<T> extends Matrix<T> {
  readonly batchStrides: readonly number[];
}

function stack<T>(data: T, offset: number, strides: readonly number[]): Stack<T> {
  const rank = strides.length;
  return {
    data,
    offset,
    rowStride: strides[rank - 2] as number,
    columnStride: strides[rank - 1] as number,
    batchStrides: strides.slice(0, rank - 2),
  };
}

function readStack(view: View, workspace: Workspace, name: string): Stack<Source> {
  if (isPlainFloat(view.dtype)) return stack(floatsOf(view), view.offset, view.strides);
  return stack<Source>(readDoubles(view, workspace, name), 0, contiguousStrides(view.shape));
}

function multiplyFloats(workspace: Workspace, aView: View, bView: View, outView: View): void {
  const a = readStack(aView, workspace, "matmul a");
  const b = readStack(bView, workspace, "matmul b");
  const plain = isPlainFloat(outView.dtype);
  const temporary = plain ? undefined : workspace.float64("matmul out", outView.size);
  const out =
    temporary === undefined
      ? stack<Source>(floatsOf(outView), outView.offset, outView.strides)
      : stack<Source>(temporary, 0, contiguousStrides(outView.shape));
  const { batch, rows, columns, depth } = dimensions(aView, outView);
  const folded = foldBatch(batch, rows, a, b, out);
  const direct = folded.rows < 3 || columns < 3 || folded.rows * columns * depth <= SMALL;
  eachBatch(folded.batch, [a, b, out], ([aOffset, bOffset, outOffset]) => {
    const aMatrix = { ...a, offset: aOffset as number };
    const bMatrix = { ...b, offset: bOffset as number };
    const outMatrix = { ...out, offset: outOffset as number };
    if (direct) multiplyDirect(workspace, folded.rows, columns, depth, aMatrix, bMatrix, outMatrix);
    else multiplyBlocked(folded.rows, columns, depth, aMatrix, bMatrix, outMatrix);
  });
  if (temporary !== undefined) writeDoubles(temporary, outView);
}

/** A 16-bit matrix stored row after row, `[columns, depth]`, on the right of f32 rows. */
function isWeight(a: View, b: View): boolean {
  return (
    a.dtype === "f32" &&
    (b.dtype === "bf16" || b.dtype === "f16") &&
    b.shape.length === 2 &&
    (b.strides[0] === 1 || b.shape[0] === 1)
  );
}

/** Rows of a weight that are widened at a time: as many as stay in a processor's cache with the usual lengths. */
const WIDENED = 4;

/** Widens a few rows of the weight at a time, so that it never lies in memory as a whole in another form. */
function multiplyWeight(workspace: Workspace, aView: View, bView: View, outView: View): void {
  const a = stack<Source>(floatsOf(aView), aView.offset, aView.strides);
  const out = stack<Source>(floatsOf(outView), outView.offset, outView.strides);
  const [rows, columns] = outView.shape as readonly [number, number];
  const depth = aView.shape[1] as number;
  const next = bView.strides[1] as number;
  const codes = elementsOf(bView) as Uint16Array;
  const halfs = bView.dtype === "f16" ? halfTable() : undefined;
  // bfloat16 is the upper half of a float32, so widening is a shift.
  const bits = workspace.int32("matmul weight", WIDENED * depth);
  const data = new Float32Array(bits.buffer);
  for (let first = 0; first < columns; first += WIDENED) {
    const count = Math.min(WIDENED, columns - first);
    for (let j = 0; j < count; j++) {
      const from = bView.offset + (first + j) * next;
      const to = j * depth;
      if (halfs === undefined) for (let k = 0; k < depth; k++) bits[to + k] = codes[from + k] << 16;
      else for (let k = 0; k < depth; k++) data[to + k] = halfs[codes[from + k]];
    }
    const b = { data, offset: 0, rowStride: 1, columnStride: depth };
    const to = { ...out, offset: out.offset + first * out.columnStride };
    multiplyDirect(workspace, rows, count, depth, a, b, to);
  }
}

function dimensions(
  a: View,
  out: View,
): { batch: readonly number[]; rows: number; columns: number; depth: number } {
  const rank = out.shape.length;
  return {
    batch: out.shape.slice(0, rank - 2),
    rows: out.shape[rank - 2] as number,
    columns: out.shape[rank - 1] as number,
    depth: a.shape[rank - 1] as number,
  };
}

/** Takes trailing batch dimensions that share B for further rows of A, as in `[batch, time, width] x [width, width]`. */
function foldBatch<T>(
  batch: readonly number[],
  rows: number,
  a: Stack<T>,
  b: Stack<T>,
  out: Stack<T>,
): { batch: readonly number[]; rows: number } {
  let count = rows;
  let rank = batch.length;
  for (; rank > 0; rank--) {
    const axis = rank - 1;
    const size = batch[axis] as number;
    const shared =
      size === 1 ||
      (b.batchStrides[axis] === 0 &&
        a.batchStrides[axis] === count * a.rowStride &&
        out.batchStrides[axis] === count * out.rowStride);
    if (!shared) break;
    count *= size;
  }
  return { batch: batch.slice(0, rank), rows: count };
}

/** Calls `visit` with the offsets of each matrix of the stacks, in row-major order. */
function eachBatch<T>(
  batch: readonly number[],
  stacks: readonly Stack<T>[],
  visit: (offsets: readonly number[]) => void,
): void {
  const walk = (axis: number, offsets: readonly number[]): void => {
    if (axis === batch.length) {
      visit(offsets);
      return;
    }
    for (let i = 0; i < (batch[axis] as number); i++) {
      walk(
        axis + 1,
        offsets.map((offset, s) => offset + i * ((stacks[s] as Stack<T>).batchStrides[axis] as number)),
      );
    }
  };
  walk(
    0,
    stacks.map((s) => s.offset),
  );
}

/** Integer products wrap around at 32 bits, whatever the storage. */
function multiplyIntegers(aView: View, bView: View, outView: View): void {
  const a = stack(elementsOf(aView), aView.offset, aView.strides);
  const b = stack(elementsOf(bView), bView.offset, bView.strides);
  const out = stack(elementsOf(outView), outView.offset, outView.strides);
  const { batch, rows, columns, depth } = dimensions(aView, outView);
  eachBatch(batch, [a, b, out], ([aOffset, bOffset, outOffset]) => {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let at = (aOffset as number) + i * a.rowStride;
        let bt = (bOffset as number) + j * b.columnStride;
        let sum = 0;
        for (let k = 0; k < depth; k++) {
          sum = (sum + Math.imul(a.data[at], b.data[bt])) | 0;
          at += a.columnStride;
          bt += b.rowStride;
        }
        out.data[(outOffset as number) + i * out.rowStride + j * out.columnStride] = sum;
      }
    }
  });
}
