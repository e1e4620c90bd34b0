import { gradientsEnabled } from "../autograd/tape.ts";
import { broadcastShapes, expandView, showShape } from "../backend/geometry.ts";
import { sizeOf, type View } from "../backend/view.ts";
import { DTYPES, promoteTypes } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { add, mul } from "./binary.ts";
import { type Op, saveFactors } from "./op.ts";
import { fillProgram, guarded, sumToShape } from "./programs.ts";
import { allocate, distinctBuffers, execute, NO_PARAMS, runMap } from "./run.ts";
import { castTo } from "./select.ts";
import { reshape, transpose } from "./shape.ts";
import { withUnitDims } from "./views.ts";

const MATMUL: Op<undefined> = {
  name: "matmul",
  forward([a, b], _attributes, device) {
    const left = (a as Tensor).view;
    const right = (b as Tensor).view;
    const rows = left.shape.at(-2) as number;
    const inner = left.shape.at(-1) as number;
    const columns = right.shape.at(-1) as number;
    const batch = broadcastShapes("matmul", left.shape.slice(0, -2), right.shape.slice(0, -2));
    const inputs =
      batch.length === 0
        ? [left, right]
        : [expandView(left, [...batch, rows, inner]), expandView(right, [...batch, inner, columns])];
    const output = allocate(device, left.dtype, [...batch, rows, columns], "matmul");
    if (output.size === 0) return [output];
    return guarded([output], () => {
      const outputs = [output.view];
      if (inner === 0) {
        runMap(device, fillProgram(DTYPES[left.dtype].compute), [], outputs, [0]);
        return;
      }
      const buffers = distinctBuffers(inputs, outputs);
      execute(device, { kernel: "matmul", buffers, inputs, outputs, params: NO_PARAMS });
    });
  },
  gradient: {
    save: saveFactors,
    vjp({ saved, gradients: [g], needs: [needA, needB], inputs: [typeA, typeB] }) {
      const gradient = g as Tensor;
      const [a, b] = [saved[0], saved.at(-1)];
      return [
        needA === true
          ? sumToShape(product(gradient, transpose(b as Tensor)), (typeA as View).shape)
          : undefined,
        needB === true
          ? sumToShape(gradientOfB(a as Tensor, gradient, typeB as View), (typeB as View).shape)
          : undefined,
      ];
    },
  },
};

/** aᵀ g, laid out as b is, so that the gradient of a transposed weight needs no copy. */
function gradientOfB(a: Tensor, g: Tensor, { strides }: View): Tensor {
  const [down, along] = strides.slice(-2) as [number, number];
  return down < along ? transpose(product(transpose(g), a)) : product(transpose(a), g);
}

function product(a: Tensor, b: Tensor): Tensor {
  return apply(MATMUL, [a, b], undefined)[0] as Tensor;
}

/**
 * Matrix product `[…, M, K] x […, K, N] -> […, M, N]`; leading dimensions broadcast. A vector on the left is a row, on
 * the right a column, and its dimension is dropped from the result. 16-bit floats accumulate in f32.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const inputs = together("matmul", [a, b]);
  if (a.rank === 0 || b.rank === 0) {
    throw new ShapeError(
      `matmul: needs at least one dimension each, got ${showShape(a.shape)} and ${showShape(b.shape)}. Use mul for scalars.`,
    );
  }
  const inner = a.shape.at(-1) as number;
  const facing = b.shape[Math.max(0, b.rank - 2)] as number;
  if (inner !== facing) {
    throw new ShapeError(
      `matmul: ${showShape(a.shape)} times ${showShape(b.shape)}: the last dimension of the first (${inner}) must equal the ` +
        `${b.rank > 1 ? "second to last" : "only"} one of the second (${facing}).`,
    );
  }
  return multiply("matmul", inputs, a, b);
}

function multiply(op: string, inputs: readonly Tensor[], a: Tensor, b: Tensor): Tensor {
  const dtype = promoteTypes(a.dtype, b.dtype, op);
  if (dtype === "bool") throw new DTypeError(`${op}: takes numbers, got bool. Convert with x.cast(…).`);
  // The common case is one operation; only the others need temporaries.
  if (a.rank === 2 && b.rank === 2 && a.dtype === b.dtype) return product(a, b);
  return composite(inputs, () => {
    const left = castTo(a.rank === 1 ? withUnitDims(a, [1, a.size]) : a, dtype);
    const right = keepsWeights(a, b) ? b : castTo(b.rank === 1 ? withUnitDims(b, [b.size, 1]) : b, dtype);
    const result = foldBatch(left, right) ?? product(left, right);
    const shape = result.shape.filter(
      (_, axis) => !(a.rank === 1 && axis === result.rank - 2) && !(b.rank === 1 && axis === result.rank - 1),
    );
    return withUnitDims(result, shape);
  });
}

/**
 * Whether the backend multiplies with this 16-bit matrix as it is stored. Where its gradient is wanted it is widened
 * by an operation, which gives the gradient its dtype.
 */
function keepsWeights(a: Tensor, b: Tensor): boolean {
  const weights = a.device.backend.capabilities.matmulWeights;
  if (weights === undefined || a.dtype !== "f32" || b.rank !== 2 || !weights.includes(b.dtype)) return false;
  return !(b.requiresGrad && gradientsEnabled());
}

/** A batch of dense rows times one matrix is one large product instead of many small ones. */
function foldBatch(left: Tensor, right: Tensor): Tensor | undefined {
  if (left.rank < 3 || right.rank !== 2 || !left.view.contiguous) return undefined;
  const columns = right.shape[1] as number;
  const lead = left.shape.slice(0, -1);
  const flat = product(reshape(left, [sizeOf(lead), left.shape.at(-1) as number]), right);
  return reshape(flat, [...lead, columns]);
}

/** Inner product of two vectors. */
export function dot(a: Tensor, b: Tensor): Tensor {
  const inputs = together("dot", [a, b]);
  if (a.rank !== 1 || b.rank !== 1 || a.size !== b.size) {
    throw new ShapeError(
      `dot: needs two vectors of one size, got ${showShape(a.shape)} and ${showShape(b.shape)}.`,
    );
  }
  return multiply("dot", inputs, a, b);
}

/** Outer product of two vectors: `[n] x [m] -> [n, m]`. */
export function outer(a: Tensor, b: Tensor): Tensor {
  const inputs = together("outer", [a, b]);
  if (a.rank !== 1 || b.rank !== 1)
    throw new ShapeError(`outer: needs two vectors, got ${showShape(a.shape)} and ${showShape(b.shape)}.`);
  return composite(inputs, () => mul(withUnitDims(a, [a.size, 1]), b));
}

/** x Wᵀ + b: x `[…, in]`, weight `[out, in]`, bias `[out]`, result `[…, out]`. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const inputs = together("linear", bias === undefined ? [x, weight] : [x, weight, bias]);
  const fits = weight.rank === 2 && x.rank > 0 && x.shape.at(-1) === weight.shape[1];
  if (!fits || (bias !== undefined && (bias.rank !== 1 || bias.size !== weight.shape[0]))) {
    throw new ShapeError(
      `linear: ${inputs.map(({ shape }) => showShape(shape)).join(", ")} do not fit x […, in], weight [out, in], bias [out].`,
    );
  }
  return composite(inputs, () => {
    const result = matmul(x, transpose(weight));
    return bias === undefined ? result : add(result, bias);
  });
}
