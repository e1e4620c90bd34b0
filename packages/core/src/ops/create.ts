import type { Backend } from "../backend/backend.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { checkDType, DTYPES, type DType, isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import { currentDevice, type Device, deviceOf } from "../runtime/device.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import { encode, type HostArray, hostArray } from "../tensor/host.ts";
import { requireMethods } from "../tensor/ready.ts";
import type { Nested, Tensor } from "../tensor/tensor.ts";
import { apply, settle } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkInteger, checkList, checkNumber, checkOptions, checkTensor, show } from "./options.ts";
import { filled, guarded, type MapAttributes, mapOp, perDType } from "./programs.ts";
import { allocate } from "./run.ts";

/** Options of the functions that make tensors. */
export interface CreateOptions {
  /** Element type; default f32, or what the data implies. */
  readonly dtype?: DType;
  /** Whether `backward` collects a gradient for it; default false. */
  readonly requiresGrad?: boolean;
  /** Where it lives; default the backend in use. */
  readonly backend?: Backend;
}

const CREATE_OPTIONS = ["dtype", "requiresGrad", "backend"];

/** The device and dtype that creation options ask for. */
export function resolveCreate(
  op: string,
  options: CreateOptions,
  fallback: DType,
  extra: readonly string[] = [],
): { readonly device: Device; readonly dtype: DType } {
  checkOptions(op, options, [...CREATE_OPTIONS, ...extra]);
  const dtype = options.dtype ?? fallback;
  checkDType(op, dtype);
  if (options.backend === undefined) return { device: currentDevice(), dtype };
  requireMethods();
  return { device: deviceOf(options.backend, op), dtype };
}

/** Marks a new tensor as a leaf where asked. */
export function asLeaf(x: Tensor, options: CreateOptions): Tensor {
  if (options.requiresGrad === true) {
    if (!isFloat(x.dtype)) throw new DTypeError(`requiresGrad needs a float tensor, got ${x.dtype}.`);
    x.leafGradient = true;
  }
  return x;
}

/** Checks that a shape is a list of whole, non-negative sizes. */
export function checkShape(op: string, shape: Shape): Shape {
  checkList(op, "the shape", shape);
  for (const size of shape) checkInteger(op, "each size", size, 0);
  return shape.slice();
}

/**
 * A tensor of nested arrays, a number, a boolean, or a typed array (one dimension). Numbers become f32 and booleans
 * bool unless `dtype` says otherwise; typed arrays keep their type.
 *
 * @throws ShapeError if the nesting is ragged, DTypeError if a value does not fit an integer dtype.
 */
export function tensor(data: Nested | HostArray, options: CreateOptions = {}): Tensor {
  if (isHostArray(data)) return fromData(data, [data.length], options);
  const shape = nestedShape(data);
  const { device, dtype } = resolveCreate(
    "tensor",
    options,
    sizeOf(shape) > 0 && isAllBoolean(data) ? "bool" : "f32",
  );
  const flat: number[] = [];
  flattenInto(data, shape, 0, flat);
  return asLeaf(upload("tensor", device, hostValues("tensor", flat, dtype), shape, dtype), options);
}

/** A tensor of a typed array and a shape. `dtype` converts, for example a `Float32Array` to f16. */
export function fromData(values: HostArray, shape: Shape, options: CreateOptions = {}): Tensor {
  const { device, dtype } = resolveCreate("fromData", options, dtypeOf(values));
  const target = checkShape("fromData", shape);
  if (sizeOf(target) !== values.length) {
    throw new ShapeError(
      `fromData: ${values.length} values do not fill the shape [${target.join(", ")}] of ${sizeOf(target)} elements.`,
    );
  }
  const fits = hostArray(dtype, 0).constructor === values.constructor && dtype !== "bool";
  return asLeaf(
    upload("fromData", device, fits ? values : hostValues("fromData", values, dtype), target, dtype),
    options,
  );
}

/** Puts host values of the right kind onto a device. */
export function upload(
  origin: string,
  device: Device,
  values: HostArray,
  shape: Shape,
  dtype: DType,
): Tensor {
  const result = allocate(device, dtype, shape, origin);
  if (values.length > 0)
    guarded([result], () => device.backend.write(result.view.buffer, 0, encode(values, dtype)));
  // So many single bytes are a weight, which nobody looks for indices in.
  const isWeight = values.length > 1e6 && values.BYTES_PER_ELEMENT < 2;
  if (!isWeight && DTYPES[dtype].range && dtype !== "bool") result.storage.range = rangeOf(values);
  settle(result, []);
  return result;
}

function rangeOf(values: HostArray): readonly [number, number] | undefined {
  if (values.length === 0) return undefined;
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Whether something is a typed array that tensors are made from. */
export function isHostArray(data: unknown): data is HostArray {
  return ArrayBuffer.isView(data) && !(data instanceof DataView);
}

function dtypeOf(values: HostArray): DType {
  for (const dtype of ["f32", "f64", "i32", "u32", "i8", "u8"] as const) {
    if (values instanceof hostArray(dtype, 0).constructor) return dtype;
  }
  throw new DTypeError(
    "fromData: takes arrays of Float32, Float64, Int32, Uint32, Uint8 or Int8. Convert others: Float32Array.from.",
  );
}

function hostValues(op: string, values: ArrayLike<number>, dtype: DType): HostArray {
  const result = hostArray(dtype, values.length);
  const range = DTYPES[dtype].range;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (
      range !== undefined &&
      dtype !== "bool" &&
      !(Number.isInteger(value) && value >= range[0] && value <= range[1])
    ) {
      throw new DTypeError(
        `${op}: value ${value} at position ${i} is not a whole number that ${dtype} holds (${range[0]} to ${range[1]}).`,
      );
    }
    result[i] = dtype === "bool" ? (value !== 0 ? 1 : 0) : value;
  }
  return result;
}

function nestedShape(data: Nested): Shape {
  const shape: number[] = [];
  let level: Nested = data;
  while (isNestedList(level)) {
    shape.push(level.length);
    if (level.length === 0) break;
    level = level[0] as Nested;
  }
  return shape;
}

function isNestedList(data: Nested): data is readonly Nested[] {
  return Array.isArray(data);
}

function isAllBoolean(data: Nested): boolean {
  return isNestedList(data) ? data.every(isAllBoolean) : typeof data === "boolean";
}

function flattenInto(data: Nested, shape: Shape, axis: number, flat: number[]): void {
  if (!isNestedList(data)) {
    if (axis !== shape.length || (typeof data !== "number" && typeof data !== "boolean")) {
      throw new ShapeError(
        `tensor: expected ${axis < shape.length ? "an array" : "a number or boolean"} at depth ${axis}, got ${String(data)}.`,
      );
    }
    flat.push(Number(data));
    return;
  }
  if (axis === shape.length || data.length !== shape[axis]) {
    throw new ShapeError(
      `tensor: ragged nesting: an array of ${data.length} at depth ${axis} where ${shape[axis] ?? "a number"} was expected.`,
    );
  }
  for (const item of data) flattenInto(item, shape, axis + 1, flat);
}

/** A tensor of one value. */
export function full(shape: Shape, value: number, options: CreateOptions = {}): Tensor {
  return made("full", shape, value, options);
}

/** Refuses numbers that an integer dtype does not hold. */
export function checkHeld(op: string, dtype: DType, ...values: readonly number[]): void {
  const range = DTYPES[dtype].range;
  if (range === undefined || dtype === "bool") return;
  for (const value of values) {
    if (!(Number.isInteger(value) && value >= range[0] && value <= range[1])) {
      throw new DTypeError(
        `${op}: ${value} is not a whole number that ${dtype} holds (${range[0]} to ${range[1]}). Choose another dtype.`,
      );
    }
  }
}

function made(op: string, shape: Shape, value: number, options: CreateOptions): Tensor {
  const { device, dtype } = resolveCreate(op, options, "f32");
  if (typeof value !== "number")
    throw new OptionError(`${op}: the value must be a number, got ${show(value)}.`);
  checkHeld(op, dtype, value);
  return asLeaf(filled(device, checkShape(op, shape), dtype, value), options);
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: CreateOptions = {}): Tensor {
  return made("zeros", shape, 0, options);
}

/** A tensor of ones. */
export function ones(shape: Shape, options: CreateOptions = {}): Tensor {
  return made("ones", shape, 1, options);
}

function like(op: string, x: Tensor, value: number, options: CreateOptions): Tensor {
  checkTensor(op, x);
  checkOptions(op, options, CREATE_OPTIONS);
  return made(op, x.shape, value, { dtype: x.dtype, backend: x.backend, ...options });
}

/** One value in the shape, dtype and place of x. */
export function fullLike(x: Tensor, value: number, options: CreateOptions = {}): Tensor {
  return like("fullLike", x, value, options);
}

/** Zeros in the shape, dtype and place of x. */
export function zerosLike(x: Tensor, options: CreateOptions = {}): Tensor {
  return like("zerosLike", x, 0, options);
}

/** Ones in the shape, dtype and place of x. */
export function onesLike(x: Tensor, options: CreateOptions = {}): Tensor {
  return like("onesLike", x, 1, options);
}

const ARANGE: Op<MapAttributes> = /* @__PURE__ */ mapOp("arange");
// Index times step in the dtype itself, so that integers stay exact; params are start and step.
const arangeProgram: (dtype: "f32" | "f64" | "i32" | "u32" | "bool") => Program = /* @__PURE__ */ perDType(
  (dtype) =>
    program("arange", [], [dtype, dtype], (_inputs, [start, step]) =>
      s.add(s.mul(s.cast(s.coordinate(-1), dtype), step as s.Expr), start as s.Expr),
    ),
);

/**
 * Numbers from `start` in steps of `step` (default 1) to before `end`; `arange(n)` counts 0 … n - 1. f32 unless `dtype`
 * says otherwise.
 */
export function arange(start: number, end?: number, step = 1, options: CreateOptions = {}): Tensor {
  const { device, dtype } = resolveCreate("arange", options, "f32");
  const [from, to] = end === undefined ? [0, start] : [start, end];
  if (step === 0 || ![from, to, step].every(Number.isFinite)) {
    throw new OptionError(
      `arange: needs finite bounds and a step other than 0, got ${show(from)}, ${show(to)}, ${show(step)}.`,
    );
  }
  if (dtype === "bool")
    throw new DTypeError("arange: bool has no range of numbers. Use an integer or float dtype.");
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!isFloat(dtype)) {
    if (!Number.isInteger(step)) {
      throw new DTypeError(
        `arange: a step of ${step} gives no whole numbers, as ${dtype} holds. Choose a float dtype.`,
      );
    }
    if (length > 0) checkHeld("arange", dtype, from, from + step * (length - 1));
  }
  return asLeaf(ramp(device, dtype, length, from, step), options);
}

function ramp(device: Device, dtype: DType, length: number, start: number, step: number): Tensor {
  const attributes = {
    program: arangeProgram(DTYPES[dtype].compute),
    params: [start, step],
    dtypes: [dtype],
    shape: [length],
  };
  const result = apply(ARANGE, [], attributes, device)[0] as Tensor;
  if (!isFloat(dtype) && length > 0) {
    const last = start + step * (length - 1);
    result.storage.range = [Math.min(start, last), Math.max(start, last)];
  }
  return result;
}

/** `count` evenly spaced numbers from `start` to `end`, both included; one number is `start`. */
export function linspace(start: number, end: number, count: number, options: CreateOptions = {}): Tensor {
  const { device, dtype } = resolveCreate("linspace", options, "f32");
  if (!isFloat(dtype)) throw new DTypeError(`linspace: needs a float dtype, got ${dtype}.`);
  const length = checkInteger("linspace", "count", count, 0);
  checkNumber("linspace", "start", start);
  checkNumber("linspace", "end", end);
  // Computed on the host in float64, so that both ends are exact.
  const values = hostArray(dtype, length);
  for (let i = 0; i < length; i++)
    values[i] = i > 0 && i === length - 1 ? end : start + ((end - start) * i) / Math.max(1, length - 1);
  return asLeaf(upload("linspace", device, values, [length], dtype), options);
}

/** Which side of a diagonal a mask keeps. */
type Band = "diagonal" | "lower" | "upper";

const BAND_OPS: Readonly<Record<Band, Op<MapAttributes>>> = {
  diagonal: /* @__PURE__ */ mapOp("eye"),
  lower: /* @__PURE__ */ mapOp("trilMask"),
  upper: /* @__PURE__ */ mapOp("triuMask"),
};
const bandPrograms = new Map<string, Program>();

function band(kind: Band, device: Device, shape: Shape, diagonal: number, dtype: DType): Tensor {
  const compute = DTYPES[dtype].compute;
  const key = `${kind} ${compute}`;
  let made = bandPrograms.get(key);
  if (made === undefined) {
    made = program(kind, [], ["i32"], (_inputs, [offset]) => {
      const distance = s.sub(s.coordinate(-1), s.add(s.coordinate(-2), offset as s.Expr));
      const kept =
        kind === "diagonal" ? s.eq(distance, 0) : kind === "lower" ? s.le(distance, 0) : s.ge(distance, 0);
      return s.cast(kept, compute);
    });
    bandPrograms.set(key, made);
  }
  return apply(
    BAND_OPS[kind],
    [],
    { program: made, params: [diagonal], dtypes: [dtype], shape },
    device,
  )[0] as Tensor;
}

/** Ones on the diagonal, zeros elsewhere: `rows` x `columns` (default square). */
export function eye(rows: number, columns: number = rows, options: CreateOptions = {}): Tensor {
  const { device, dtype } = resolveCreate("eye", options, "f32");
  return asLeaf(band("diagonal", device, checkShape("eye", [rows, columns]), 0, dtype), options);
}

/** bool mask `[rows, columns]` that holds on and below a diagonal (0 the main one, positive ones above). */
export function trilMask(
  rows: number,
  columns: number = rows,
  diagonal = 0,
  options: CreateOptions = {},
): Tensor {
  const { device, dtype } = resolveCreate("trilMask", options, "bool");
  checkInteger("trilMask", "diagonal", diagonal, -(2 ** 31), 2 ** 31 - 1);
  return asLeaf(band("lower", device, checkShape("trilMask", [rows, columns]), diagonal, dtype), options);
}

/** bool mask `[rows, columns]` that holds on and above a diagonal. */
export function triuMask(
  rows: number,
  columns: number = rows,
  diagonal = 0,
  options: CreateOptions = {},
): Tensor {
  const { device, dtype } = resolveCreate("triuMask", options, "bool");
  checkInteger("triuMask", "diagonal", diagonal, -(2 ** 31), 2 ** 31 - 1);
  return asLeaf(band("upper", device, checkShape("triuMask", [rows, columns]), diagonal, dtype), options);
}

/** Makes a tensor a parameter: a leaf that collects gradients and lives until it is disposed of. Returns it. */
export function parameter<K>(x: Tensor<K>): Tensor<K> {
  checkTensor("parameter", x);
  if (!isFloat(x.dtype)) throw new DTypeError(`parameter: needs a float tensor, got ${x.dtype}.`);
  if (x.node !== undefined)
    throw new OptionError(
      `parameter: the result of "${x.origin}" is part of a graph. Use parameter(x.detach()).`,
    );
  x.leafGradient = true;
  x.isParameter = true;
  return x.keep();
}
