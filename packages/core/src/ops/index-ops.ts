import type { GatherCall, ScatterCall } from "../backend/call.ts";
import { broadcastShapes, sameShape, showShape } from "../backend/geometry.ts";
import { makeView, type Shape, type View } from "../backend/view.ts";
import { checkDType, DTYPES, type DType } from "../dtype.ts";
import { ArithmeticError, DTypeError, IndexError, ShapeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { equal } from "./binary.ts";
import { arange } from "./create.ts";
import { runFused } from "./fused.ts";
import type { Gradient, Op } from "./op.ts";
import { checkAxis, checkInteger, checkOptions, checkTensor } from "./options.ts";
import { copied, expandTo, filled, guarded, identityProgram } from "./programs.ts";
import { allocate, callOf, execute, runMap } from "./run.ts";
import { castTo } from "./select.ts";
import { reshape, slice } from "./shape.ts";
import { withUnitDims } from "./views.ts";

interface AxisAttributes {
  readonly axis: number;
}

/**
 * gather and scatterAdd are each other's derivative, so neither needs another operation to be differentiable to any
 * order. The index never has a gradient.
 */
const GATHER: Op<AxisAttributes> = {
  name: "gather",
  forward([x, index], { axis }, device) {
    const at = (index as Tensor).view;
    const source = facing((x as Tensor).view, at.shape, axis);
    const output = allocate(device, source.dtype, at.shape, "gather");
    if (output.size === 0) return [output];
    const call = callOf<GatherCall>({ kernel: "gather", attributes: { axis } }, [source, at], [output.view]);
    return guarded([output], () => execute(device, call));
  },
  gradient: {
    save: ([, index]) => [index as Tensor],
    vjp({ saved: [index], gradients: [g], inputs: [type], attributes: { axis } }) {
      const { shape, dtype } = type as { shape: Shape; dtype: DType };
      const base = filled((g as Tensor).device, shape, dtype, 0);
      return [apply(SCATTER_ADD, [base, index as Tensor, g as Tensor], { axis })[0] as Tensor, undefined];
    },
  },
};

const SCATTER_ADD: Op<AxisAttributes> = {
  name: "scatterAdd",
  forward: (inputs, { axis }, device) => runScatter("add", inputs, axis, device),
  gradient: {
    save: ([, index], _outputs, [, , needUpdates]) => (needUpdates === true ? [index as Tensor] : []),
    vjp({ saved: [index], gradients: [g], needs: [needBase, , needUpdates], attributes }) {
      return [
        needBase === true ? g : undefined,
        undefined,
        needUpdates === true
          ? (apply(GATHER, [g as Tensor, index as Tensor], attributes)[0] as Tensor)
          : undefined,
      ];
    },
  },
};

const SCATTER_SET: Op<AxisAttributes> = {
  name: "scatter",
  forward: (inputs, { axis }, device) => runScatter("set", inputs, axis, device),
  gradient: {
    save: ([, index]) => [index as Tensor],
    vjp({
      saved: [index],
      gradients: [g],
      needs: [needBase, , needUpdates],
      attributes,
      inputs: [, , updates],
    }) {
      const gradient = g as Tensor;
      const at = index as Tensor;
      const zeros = filled(gradient.device, (updates as { shape: Shape }).shape, gradient.dtype, 0);
      return [
        needBase === true ? (apply(SCATTER_SET, [gradient, at, zeros], attributes)[0] as Tensor) : undefined,
        undefined,
        needUpdates === true ? (apply(GATHER, [gradient, at], attributes)[0] as Tensor) : undefined,
      ];
    },
  },
};

function runScatter(
  mode: "add" | "set",
  [base, index, updates]: readonly Tensor[],
  axis: number,
  device: Device,
): readonly Tensor[] {
  const start = (base as Tensor).view;
  const output = allocate(device, start.dtype, start.shape, mode === "add" ? "scatterAdd" : "scatter");
  return guarded([output], () => {
    runMap(device, identityProgram(DTYPES[start.dtype].compute), [start], [output.view], []);
    const inputs = [(updates as Tensor).view, (index as Tensor).view];
    if ((updates as Tensor).size === 0 || output.size === 0) return;
    const outputs = [facing(output.view, (index as Tensor).shape, axis)];
    execute(device, callOf<ScatterCall>({ kernel: "scatter", attributes: { axis, mode } }, inputs, outputs));
  });
}

/** The part of a view that an index of a shape can reach: kernels want its sizes equal except along the axis. */
function facing(view: View, shape: Shape, axis: number): View {
  if (shape.every((size, i) => i === axis || size === view.shape[i])) return view;
  const reached = view.shape.map((size, i) => (i === axis ? size : (shape[i] as number)));
  return makeView(view.buffer, view.dtype, reached, view.strides, view.offset);
}

let checkProgram: Program | undefined;

/**
 * An index tensor as i32 with every value in 0 … size - 1 (or equal to `ignore`). Where the range is known from the
 * upload nothing runs on the backend; else a small kernel checks, and fails the call.
 */
export function checkedIndex(op: string, index: Tensor, size: number, ignore?: number): Tensor {
  checkTensor(op, index);
  const kind = DTYPES[index.dtype].kind;
  if (kind !== "int" && kind !== "uint") {
    throw new DTypeError(
      `${op}: the index must be an integer tensor, got ${index.dtype}. Convert with index.cast("i32").`,
    );
  }
  const at = castTo(index, "i32");
  const range = index.storage.range;
  if (range !== undefined && range[0] >= 0 && range[1] < size) return at;
  if (range !== undefined && ignore === undefined && !index.storage.shared) {
    throw new IndexError(
      `${op}: index ${range[0] < 0 ? range[0] : range[1]} is out of range for size ${size} (0 to ${size - 1}).`,
    );
  }
  checkProgram ??= program("index", ["i32"], ["i32", "i32"], ([value], [limit, ignored]) => {
    const inside = s.and(s.ge(value as Expr, 0), s.lt(value as Expr, limit as Expr));
    return s.check(
      s.constant(1, "bool"),
      s.or(inside, s.eq(value as Expr, ignored as Expr)),
      "index out of range",
    );
  });
  const scratch = allocate(index.device, "bool", at.shape, op);
  try {
    runMap(index.device, checkProgram, [at.view], [scratch.view], [size, ignore ?? 0]);
  } catch (error) {
    if (!(error instanceof ArithmeticError)) throw error;
    throw new IndexError(`${op}: index out of range for size ${size} (0 to ${size - 1}).`);
  } finally {
    scratch.end("it was a temporary");
  }
  return at;
}

/**
 * Values of x at positions along an axis: `out[i][j] = x[index[i][j]][j]` for axis 0, and so on. The index has the
 * result's shape; its other sizes are at most those of x.
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const inputs = together("gather", [x, index]);
  const along = checkAxis("gather", axis, x.rank);
  refuseIndexShape("gather", x, index, along);
  return composite(inputs, () => {
    const at = checkedIndex("gather", index, x.shape[along] as number);
    return apply(GATHER, [x, at], { axis: along })[0] as Tensor;
  });
}

function refuseIndexShape(op: string, x: Tensor, index: Tensor, along: number): void {
  const fits =
    index.rank === x.rank &&
    index.shape.every((size, axis) => axis === along || size <= (x.shape[axis] as number));
  if (!fits) {
    throw new ShapeError(
      `${op}: index ${showShape(index.shape)} does not fit ${showShape(x.shape)}: it needs as many dimensions, none larger except dimension ${along}.`,
    );
  }
}

/** Whole slices of x at positions along an axis, given as a vector: the result has `index.size` of them. */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  return selectSlices("indexSelect", x, axis, index);
}

/** {@link indexSelect} for an operation that names itself in errors. */
export function selectSlices(op: string, x: Tensor, axis: number, index: Tensor): Tensor {
  const inputs = together(op, [x, index]);
  const along = checkAxis(op, axis, x.rank);
  if (index.rank !== 1)
    throw new ShapeError(`${op}: the index must be a vector, got ${showShape(index.shape)}.`);
  return composite(inputs, () => {
    const at = checkedIndex(op, index, x.shape[along] as number);
    const shape = x.shape.map((size, position) => (position === along ? index.size : size));
    const lifted = withUnitDims(
      at,
      shape.map((_, position) => (position === along ? index.size : 1)),
    );
    return apply(GATHER, [x, expandTo(lifted, shape)], { axis: along })[0] as Tensor;
  });
}

/** Values of x, read as if flat, at positions of any shape. */
export function take(x: Tensor, index: Tensor): Tensor {
  return composite(together("take", [x, index]), () =>
    reshape(selectSlices("take", reshape(x, [x.size]), 0, reshape(index, [index.size])), index.shape),
  );
}

interface TableAttributes {
  readonly table: { readonly shape: Shape; readonly dtype: DType };
}

/** Gathers rows like `gather`; its derivative, where it is not differentiated itself, is a kernel of its own. */
const EMBEDDING: Op<AxisAttributes> = {
  name: "embedding",
  forward: GATHER.forward,
  gradient: {
    save: ([, index]) => [index as Tensor],
    vjp(context) {
      const { saved, gradients, inputs, createGraph } = context;
      const [index, g] = [saved[0] as Tensor, gradients[0] as Tensor];
      if (createGraph || g.size === 0) return (GATHER.gradient as Gradient<AxisAttributes>).vjp(context);
      // Every column of the index is the same.
      const attributes = { table: inputs[0] as TableAttributes["table"] };
      return [apply(EMBEDDING_GRAD, [g, slice(index, null, 0)], attributes)[0] as Tensor, undefined];
    },
  },
};

/** Inputs gradient of the rows `[count, width]` and the index `[count]`; output gradient of the table. */
const EMBEDDING_GRAD: Op<TableAttributes> = {
  name: "embeddingGrad",
  forward: (inputs, { table: { shape, dtype } }, device) =>
    runFused(device, "embeddingGrad", { kernel: "embeddingGrad", attributes: {} }, inputs, [
      { shape, dtype },
    ]),
  decompose([g, index], { table: { shape, dtype } }) {
    const base = filled((g as Tensor).device, shape, dtype, 0);
    const column = withUnitDims(index as Tensor, [(index as Tensor).size, 1]);
    const at = expandTo(column, (g as Tensor).shape);
    return apply(SCATTER_ADD, [base, at, g as Tensor], { axis: 0 });
  },
};

/** Rows of a table `[count, width]` at indices of any shape: result `[…, width]`. Repeated rows add up in the gradient. */
export function embedding(table: Tensor, index: Tensor): Tensor {
  const inputs = together("embedding", [table, index]);
  if (table.rank !== 2)
    throw new ShapeError(`embedding: the table must be [count, width], got ${showShape(table.shape)}.`);
  const [count, width] = table.shape as [number, number];
  return composite(inputs, () => {
    const at = checkedIndex("embedding", reshape(index, [index.size]), count);
    const rows = expandTo(withUnitDims(at, [at.size, 1]), [at.size, width]);
    return reshape(apply(EMBEDDING, [table, rows], { axis: 0 })[0] as Tensor, [...index.shape, width]);
  });
}

/** The part of a source that an index of a smaller shape names, or the source broadcast to the index. */
function fitSource(op: string, source: Tensor, shape: Shape): Tensor {
  const covers =
    source.rank === shape.length && shape.every((size, axis) => size <= (source.shape[axis] as number));
  if (covers) return slice(source, ...shape.map((size): [number, number] => [0, size]));
  if (!sameShape(broadcastShapes(op, source.shape, shape), shape)) {
    throw new ShapeError(
      `${op}: source ${showShape(source.shape)} does not fit the index ${showShape(shape)}.`,
    );
  }
  return expandTo(source, shape);
}

function scatterWith(op: Op<AxisAttributes>, x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  const inputs = together(op.name, [x, index, source]);
  const along = checkAxis(op.name, axis, x.rank);
  refuseIndexShape(op.name, x, index, along);
  return composite(inputs, () => {
    const at = checkedIndex(op.name, index, x.shape[along] as number);
    const updates = castTo(fitSource(op.name, source, index.shape), x.dtype);
    return apply(op, [x, at, updates], { axis: along })[0] as Tensor;
  });
}

/** x with `source` added at positions along an axis; repeated positions add up. */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  return scatterWith(SCATTER_ADD, x, axis, index, source);
}

/** x with values replaced at positions along an axis; which of repeated positions stays is not specified. */
export function scatter(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  return scatterWith(SCATTER_SET, x, axis, index, source);
}

/** x with whole slices of `source` added along an axis at positions given as a vector. */
export function indexAdd(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  const given = together("indexAdd", [x, index, source]);
  const along = checkAxis("indexAdd", axis, x.rank);
  const expected = x.shape.map((size, position) => (position === along ? index.size : size));
  if (index.rank !== 1 || !sameShape(source.shape, expected)) {
    throw new ShapeError(
      `indexAdd: for x ${showShape(x.shape)} and axis ${along} the index must be a vector and the source ` +
        `${showShape(expected)}, got ${showShape(index.shape)} and ${showShape(source.shape)}.`,
    );
  }
  return composite(given, () => {
    const at = checkedIndex("indexAdd", index, x.shape[along] as number);
    const lifted = withUnitDims(
      at,
      source.shape.map((_, position) => (position === along ? index.size : 1)),
    );
    const places = expandTo(lifted, source.shape);
    return apply(SCATTER_ADD, [x, places, castTo(source, x.dtype)], { axis: along })[0] as Tensor;
  });
}

/** One row a class index: 1 at the index, 0 elsewhere. Shape `[…, classes]`; i32 unless `dtype` says otherwise. */
export function oneHot(index: Tensor, classes: number, options: { readonly dtype?: DType } = {}): Tensor {
  checkTensor("oneHot", index);
  checkInteger("oneHot", "classes", classes, 1);
  checkOptions("oneHot", options, ["dtype"]);
  const { dtype = "i32" } = options;
  checkDType("oneHot", dtype);
  return composite([index], () => {
    const at = checkedIndex("oneHot", index, classes);
    const positions = arange(0, classes, 1, { dtype: "i32", backend: index.backend });
    return castTo(equal(withUnitDims(at, [...index.shape, 1]), positions), dtype);
  });
}

/** A copy with memory of its own. The gradient passes through. */
export function clone<K>(x: Tensor<K>): Tensor<K> {
  checkTensor("clone", x);
  return copied(x);
}
