import type { Shape } from "../backend/view.ts";
import { sizeOf } from "../backend/view.ts";
import { type ComputeDType, DTYPES, type DType, isFloat } from "../dtype.ts";
import { DTypeError, OptionError } from "../errors.ts";
import { refusePromise } from "../memory/scope.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import { normalFromBits, uniformFromBits } from "../scalar/random.ts";
import { threefry2x32 } from "../scalar/threefry.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { asLeaf, type CreateOptions, checkHeld, checkShape, fromData, resolveCreate } from "./create.ts";
import type { Op } from "./op.ts";
import { checkFunction, checkInteger, checkNumber, show } from "./options.ts";
import { type MapAttributes, mapOp, perDType } from "./programs.ts";
import { reshape } from "./shape.ts";

/** What a generator needs to go on where it was. */
export interface GeneratorState {
  readonly key: readonly [number, number];
  /** Draws so far. */
  readonly counter: number;
}

/**
 * A source of random numbers: a key and a count of draws. Each draw derives a key of its own with Threefry, so that
 * the same seed gives the same bits on every backend, whatever order elements are computed in.
 */
export class Generator {
  private key: readonly [number, number];
  private counter = 0;

  /** @param seed a whole number from 0 to 2^53 - 1. */
  constructor(seed: number) {
    checkInteger("Generator", "seed", seed, 0);
    this.key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  }

  /** The key of the next draw. */
  next(): readonly [number, number] {
    const count = this.counter++;
    return threefry2x32(this.key[0], this.key[1], count >>> 0, Math.floor(count / 2 ** 32));
  }

  /** An independent generator; this one moves on by one draw. */
  split(): Generator {
    const child = new Generator(0);
    child.key = this.next();
    return child;
  }

  /** Where it stands, as plain data. */
  state(): GeneratorState {
    return { key: this.key, counter: this.counter };
  }

  /** Goes on from a saved state. */
  setState(state: GeneratorState): void {
    this.key = [state.key[0] >>> 0, state.key[1] >>> 0];
    this.counter = checkInteger("Generator.setState", "counter", state.counter, 0);
  }
}

let defaultGenerator: Generator | undefined;

/** The generator that random functions use when none is given. Seeded with 0 unless {@link manualSeed} was called. */
export function generator(): Generator {
  defaultGenerator ??= new Generator(0);
  return defaultGenerator;
}

/** Seeds the default generator. */
export function manualSeed(seed: number): void {
  checkInteger("manualSeed", "seed", seed, 0);
  defaultGenerator = new Generator(seed);
}

/** Runs a synchronous function with another default generator. */
export function withGenerator<T>(source: Generator, fn: () => T): T {
  checkGenerator("withGenerator", source);
  checkFunction("withGenerator", fn);
  const before = defaultGenerator;
  defaultGenerator = source;
  try {
    return refusePromise("withGenerator", fn());
  } finally {
    defaultGenerator = before;
  }
}

/** Options of random functions. */
export interface RandomOptions extends CreateOptions {
  /** Source of randomness; default the one {@link manualSeed} seeds. */
  readonly generator?: Generator;
}

const RANDOM_OPS: Readonly<Record<"rand" | "randn" | "randint" | "bernoulli", Op<MapAttributes>>> = {
  rand: /* @__PURE__ */ mapOp("rand"),
  randn: /* @__PURE__ */ mapOp("randn"),
  randint: /* @__PURE__ */ mapOp("randint"),
  bernoulli: /* @__PURE__ */ mapOp("bernoulli"),
};

/** Both random words of element i under the key in parameters 0 and 1. Programs run over one dimension. */
function words(params: readonly Expr[]): readonly [Expr, Expr] {
  const [k0, k1] = params as [Expr, Expr];
  const index = s.cast(s.coordinate(-1), "u32");
  const zero = s.constant(0, "u32");
  return [s.threefry(0, k0, k1, index, zero), s.threefry(1, k0, k1, index, zero)];
}

const randProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program(
    "rand",
    [],
    ["u32", "u32"],
    (_inputs, params) => {
      const [high, low] = words(params);
      return uniformFromBits(high, low, dtype === "f64" ? "f64" : "f32");
    },
    { strict: true },
  ),
);

const randnProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program(
    "randn",
    [],
    ["u32", "u32"],
    (_inputs, params) => {
      const [high, low] = words(params);
      return normalFromBits(high, low, dtype === "f64" ? "f64" : "f32");
    },
    { strict: true },
  ),
);

/** The generator that options name, or the default one. */
export function sourceOf(op: string, options: { readonly generator?: Generator }): Generator {
  return checkGenerator(op, options.generator ?? generator());
}

/** Refuses what is no generator. @throws OptionError */
export function checkGenerator(op: string, source: Generator): Generator {
  if (!(source instanceof Generator)) {
    throw new OptionError(
      `${op}: expected a random generator, as new Generator(seed) gives, got ${show(source)}.`,
    );
  }
  return source;
}

function draw(
  name: keyof typeof RANDOM_OPS,
  shape: Shape,
  options: RandomOptions,
  make: (compute: ComputeDType) => Program,
  fallback: DType,
  params: readonly number[] = [],
): Tensor {
  const { device, dtype } = resolveCreate(name, options, fallback, ["generator"]);
  const target = checkShape(name, shape);
  const key = sourceOf(name, options).next();
  const attributes = {
    program: make(DTYPES[dtype].compute),
    params: [...key, ...params],
    dtypes: [dtype],
    shape: [sizeOf(target)],
  };
  return composite([], () => reshape(apply(RANDOM_OPS[name], [], attributes, device)[0] as Tensor, target));
}

function floatDraw(
  name: "rand" | "randn",
  shape: Shape,
  options: RandomOptions,
  make: (compute: ComputeDType) => Program,
): Tensor {
  const { dtype } = resolveCreate(name, options, "f32", ["generator"]);
  if (!isFloat(dtype)) {
    throw new DTypeError(`${name}: needs a float dtype, got ${dtype}. Use randint for whole numbers.`);
  }
  return asLeaf(draw(name, shape, options, make, "f32"), options);
}

/** Uniform numbers in [0, 1): multiples of 2^-24 (f64: 2^-53). */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  return floatDraw("rand", shape, options, randProgram);
}

/** Normal numbers of mean 0 and deviation 1, bit-equal wherever `strict` programs are. */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  return floatDraw("randn", shape, options, randnProgram);
}

/** Upper 32 bits of the 64-bit product of two words, by halves. */
function highProduct(a: Expr, b: Expr): Expr {
  const half = s.constant(16, "u32");
  const mask = s.constant(0xffff, "u32");
  const [ah, al, bh, bl] = [s.shr(a, half), s.and(a, mask), s.shr(b, half), s.and(b, mask)];
  const middle = s.add(s.mul(ah, bl), s.shr(s.mul(al, bl), half));
  const other = s.add(s.mul(al, bh), s.and(middle, mask));
  return s.add(s.add(s.mul(ah, bh), s.shr(middle, half)), s.shr(other, half));
}

const randintProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program("randint", [], ["u32", "u32", "u32", "i32"], (_inputs, params) => {
    const [bits] = words(params);
    const width = params[2] as Expr;
    // A width of 2^32 does not fit: it comes as 0, and the bits are the number.
    const scaled = s.select(s.eq(width, 0), bits, highProduct(bits, width));
    return s.cast(s.add(s.cast(scaled, "i32"), params[3] as Expr), dtype);
  }),
);

/** Whole numbers from `low` to before `high`, equally likely to within 2^-32. i32 unless `dtype` says otherwise. */
export function randint(low: number, high: number, shape: Shape, options: RandomOptions = {}): Tensor {
  checkInteger("randint", "low", low, -(2 ** 31), 2 ** 31 - 1);
  checkInteger("randint", "high", high, low + 1, 2 ** 31);
  checkHeld("randint", resolveCreate("randint", options, "i32", ["generator"]).dtype, low, high - 1);
  const result = draw("randint", shape, options, randintProgram, "i32", [(high - low) >>> 0, low]);
  if (!isFloat(result.dtype)) result.storage.range = [low, high - 1];
  return asLeaf(result, options);
}

const bernoulliProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program("bernoulli", [], ["u32", "u32", "f32"], (_inputs, params) => {
    const [bits, low] = words(params);
    return s.cast(s.lt(uniformFromBits(bits, low, "f32"), params[2] as Expr), dtype);
  }),
);

/** true (or 1) with probability p, element by element. bool unless `dtype` says otherwise. */
export function bernoulli(shape: Shape, p: number, options: RandomOptions = {}): Tensor {
  checkNumber("bernoulli", "p", p, 0, 1);
  return asLeaf(draw("bernoulli", shape, options, bernoulliProgram, "bool", [p]), options);
}

/** The numbers 0 … n - 1 in random order, as i32. Fisher and Yates's shuffle, on the host. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  const { device, dtype } = resolveCreate("randperm", options, "i32", ["generator"]);
  const order = permutation(checkInteger("randperm", "n", n, 0, 2 ** 31 - 1), sourceOf("randperm", options));
  return fromData(order, [n], {
    dtype,
    backend: device.backend,
    requiresGrad: options.requiresGrad ?? false,
  });
}

/** The numbers 0 … n - 1 in random order, on the host: what shuffles data. Takes one draw of the generator. */
export function permutation(n: number, source: Generator): Int32Array<ArrayBuffer> {
  checkInteger("permutation", "n", n, 0, 2 ** 31 - 1);
  const key = checkGenerator("permutation", source).next();
  const order = Int32Array.from({ length: n }, (_, index) => index);
  for (let last = n - 1; last > 0; last--) {
    const [high, low] = threefry2x32(key[0], key[1], last, 0);
    const other = Math.floor(((high * 2 ** 21 + (low >>> 11)) / 2 ** 53) * (last + 1));
    const kept = order[last] as number;
    order[last] = order[other] as number;
    order[other] = kept;
  }
  return order;
}
