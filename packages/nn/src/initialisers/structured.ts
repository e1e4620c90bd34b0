import {
  argsort,
  checkInteger,
  checkNumber,
  checkOptions,
  type DType,
  fromData,
  full,
  greaterEqual,
  noGrad,
  OptionError,
  rand,
  ShapeError,
  type Tensor,
  where,
} from "@nf/core";
import { COMMON, type InitOptions, normal, sampling } from "./common.ts";

/** Options of {@link constant}. */
export interface ConstantOptions extends InitOptions {
  /** Value everywhere. */
  readonly value: number;
}

/** Options of {@link dirac}. */
export interface DiracOptions extends InitOptions {
  /** Groups of the convolution; default 1. */
  readonly groups?: number;
}

/** Options of {@link sparse}. */
export interface SparseOptions extends InitOptions {
  /** Share of each column that is 0. */
  readonly sparsity: number;
  /** Standard deviation of the others; default 0.01. */
  readonly std?: number;
}

/** One value everywhere. */
export function constant(shape: readonly number[], options: ConstantOptions): Tensor {
  checkOptions("init.constant", options, [...COMMON, "value"]);
  const { value, dtype, backend } = options;
  checkNumber("init.constant", "value", value);
  return full(shape, value, {
    ...(dtype !== undefined && { dtype }),
    ...(backend !== undefined && { backend }),
  });
}

/** 0 everywhere. */
export function zeros(shape: readonly number[], options: InitOptions = {}): Tensor {
  checkOptions("init.zeros", options, COMMON);
  return constant(shape, { ...options, value: 0 });
}

/** 1 everywhere. */
export function ones(shape: readonly number[], options: InitOptions = {}): Tensor {
  checkOptions("init.ones", options, COMMON);
  return constant(shape, { ...options, value: 1 });
}

/** A matrix with 1 on its diagonal, so that a linear layer passes on as many inputs as it can. @throws ShapeError */
export function eye(shape: readonly number[], options: InitOptions = {}): Tensor {
  checkOptions("init.eye", options, COMMON);
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2)
    throw new ShapeError(`init.eye: needs a shape of 2 dimensions, got [${shape.join(", ")}].`);
  return withOnes(
    shape,
    Array.from({ length: Math.min(rows, columns) }, (_, i) => i * columns + i),
    options,
  );
}

/**
 * A kernel `[out, in / groups, …kernel]` of 1 to 3 spatial dimensions with 1 in its middle, so that a convolution passes on as many channels as it can, each
 * group those of its own.
 *
 * @throws ShapeError for another number of dimensions, OptionError where groups do not divide the outputs.
 */
export function dirac(shape: readonly number[], options: DiracOptions = {}): Tensor {
  checkOptions("init.dirac", options, [...COMMON, "groups"]);
  const { groups = 1 } = options;
  const [outputs = 0, inputs = 0, ...kernel] = shape;
  if (kernel.length < 1 || kernel.length > 3) {
    throw new ShapeError(
      `init.dirac: needs a kernel of 3, 4 or 5 dimensions [out, in, …], got [${shape.join(", ")}].`,
    );
  }
  checkInteger("init.dirac", "groups", groups, 1);
  if (outputs % groups !== 0) {
    throw new OptionError(`init.dirac: groups must divide the ${outputs} outputs, got ${groups}.`);
  }
  const field = kernel.reduce((product, size) => product * size, 1);
  const middle = kernel.reduce((place, size) => place * size + Math.floor(size / 2), 0);
  const each = outputs / groups;
  const places = Array.from({ length: groups }, (_, group) =>
    Array.from(
      { length: Math.min(each, inputs) },
      (_, channel) => ((group * each + channel) * inputs + channel) * field + middle,
    ),
  );
  return withOnes(shape, places.flat(), options);
}

/**
 * A matrix of normal values of which a share of each column is 0, chosen at random. Martens, "Deep learning via Hessian-free optimization",
 * 2010.
 *
 * @throws ShapeError for other than two dimensions.
 */
export function sparse(shape: readonly number[], options: SparseOptions): Tensor {
  checkOptions("init.sparse", options, [...COMMON, "sparsity", "std"]);
  const { sparsity, std = 0.01 } = options;
  checkNumber("init.sparse", "sparsity", sparsity, 0, 1);
  checkNumber("init.sparse", "std", std, 0, Number.MAX_VALUE);
  const [rows = 0] = shape;
  if (shape.length !== 2)
    throw new ShapeError(`init.sparse: needs a shape of 2 dimensions, got [${shape.join(", ")}].`);
  return noGrad(() => {
    const values = normal(shape, { ...sampling(options), std });
    // A random order of each column: those that come first are dropped.
    const { generator, backend } = sampling(options);
    const draws = rand(shape, { ...(generator && { generator }), ...(backend && { backend }) });
    const order = argsort(argsort(draws, { axis: 0 }), { axis: 0 });
    return where(greaterEqual(order, Math.ceil(sparsity * rows)), values, 0);
  });
}

const ARRAYS: Readonly<Partial<Record<DType, (size: number) => Float64Array | Float32Array>>> = {
  f64: (size) => new Float64Array(size),
};

function withOnes(shape: readonly number[], places: readonly number[], options: InitOptions): Tensor {
  const { dtype = "f32", backend } = options;
  const size = shape.reduce((product, one) => product * one, 1);
  const values = ARRAYS[dtype]?.(size) ?? new Float32Array(size);
  for (const place of places) values[place] = 1;
  return noGrad(() => fromData(values, shape, { dtype, ...(backend !== undefined && { backend }) }));
}
