import { type ComputeDType, DTYPES, type DType, promoteTypes } from "../dtype.ts";
import { DTypeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { makeProgram, type Program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkTensor } from "./options.ts";
import { type MapAttributes, mapOp } from "./programs.ts";

/** What elementwise operations take beside tensors: numbers, which take the dtype of the tensor beside them. */
export type Operand = Tensor | number;

/**
 * How the dtype of the result follows from the promoted dtype of the operands: `same` as it, `float` (integers and
 * bool become f32), or `bool`.
 */
export type ResultRule = "same" | "float" | "bool";

/** An elementwise operation: an expression, and how dtypes go. Everything else follows. */
export interface ElementwiseSpec {
  readonly name: string;
  readonly result: ResultRule;
  /** Kinds of promoted operand dtype it takes; default all. */
  readonly takes?: readonly ("float" | "int" | "bool")[];
  /** The value of one element, given operands of one dtype and runtime parameters of that dtype. */
  readonly body: (operands: readonly Expr[], params: readonly Expr[]) => Expr;
}

/** An elementwise operation that is ready to be called. */
export interface Elementwise {
  readonly spec: ElementwiseSpec;
  readonly op: Op<MapAttributes>;
  readonly programs: Map<number, Program>;
}

const CODES: Readonly<Record<ComputeDType, number>> = { f32: 1, f64: 2, i32: 3, u32: 4, bool: 5 };
const SCALAR = 0;
const NO_PARAMS: readonly number[] = [];
/** Each dtype as the list of results that attributes carry: one list less to make a call. */
const LISTS: Partial<Record<DType, readonly DType[]>> = {};

/** Prepares an elementwise operation. */
export function elementwise(spec: ElementwiseSpec): Elementwise {
  return { spec, op: mapOp(spec.name), programs: new Map() };
}

/** Calls an elementwise operation with tensors and numbers (at least one tensor) and its runtime parameters. */
export function callElementwise(
  { spec, op, programs }: Elementwise,
  operands: readonly Operand[],
  params: readonly number[] = NO_PARAMS,
): Tensor {
  let promoted: DType | undefined;
  let scalars = 0;
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i] as Operand;
    if (typeof operand === "number") {
      scalars++;
      continue;
    }
    checkTensor(spec.name, operand);
    const dtype = operand.view.dtype;
    promoted =
      promoted === undefined || promoted === dtype ? dtype : promoteTypes(promoted, dtype, spec.name);
  }
  if (promoted === undefined) {
    throw new DTypeError(`${spec.name}: expected a tensor, got only numbers. Make one with tensor(…).`);
  }
  promoted = withNumbers(spec, promoted, operands, params);
  const result: DType = spec.result === "bool" ? "bool" : promoted;
  const compute = DTYPES[promoted].compute;

  let key = CODES[compute];
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i] as Operand;
    key = key * 8 + (typeof operand === "number" ? SCALAR : CODES[DTYPES[operand.view.dtype].compute]);
  }
  let program = programs.get(key);
  if (program === undefined) {
    program = buildProgram(spec, operands, scalars, params.length, compute);
    programs.set(key, program);
  }

  LISTS[result] ??= [result];
  const attributes = { program, params, dtypes: LISTS[result] };
  if (scalars === 0) return apply(op, operands as readonly Tensor[], attributes)[0] as Tensor;
  // Lists as long as they become: one that grows makes room for seventeen at once.
  const tensors = new Array<Tensor>(operands.length - scalars);
  const values = new Array<number>(scalars + params.length);
  let count = 0;
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i] as Operand;
    if (typeof operand === "number") values[i - count] = operand;
    else tensors[count++] = operand;
  }
  for (let i = 0; i < params.length; i++) values[scalars + i] = params[i] as number;
  attributes.params = values;
  return apply(op, tensors, attributes)[0] as Tensor;
}

/**
 * The operand dtype once numbers had their say: a fraction makes integers float, any number makes bool a number.
 * @throws DTypeError for a whole number that the integers beside it do not reach: it would wrap around
 */
function withNumbers(
  spec: ElementwiseSpec,
  promoted: DType,
  operands: readonly Operand[],
  params: readonly number[],
): DType {
  let dtype = promoted;
  const { kind } = DTYPES[promoted];
  if (kind !== "float") {
    if (spec.result === "float") return "f32";
    const numbers = [...operands, ...params].filter((value) => typeof value === "number");
    if (!numbers.every(Number.isInteger)) dtype = "f32";
    else if (kind === "bool" && numbers.length > 0) dtype = "i32";
    // Floats have no bounds.
    const [low, high] = DTYPES[dtype].range ?? [-Infinity, Infinity];
    for (const value of numbers) {
      if (value < low || value > high) {
        throw new DTypeError(
          `${spec.name}: ${value} is not in the range of ${dtype}, ${low} to ${high}. Convert the tensor: x.cast("f32").`,
        );
      }
    }
  }
  if (spec.takes !== undefined) {
    const found = DTYPES[dtype].kind;
    if (!spec.takes.includes(found === "uint" ? "int" : found)) {
      throw new DTypeError(
        `${spec.name}: takes ${spec.takes.join(" or ")} tensors, got ${dtype}. Convert with x.cast(…).`,
      );
    }
  }
  return dtype;
}

function buildProgram(
  spec: ElementwiseSpec,
  operands: readonly Operand[],
  scalars: number,
  paramCount: number,
  compute: ComputeDType,
): Program {
  const inputs: ComputeDType[] = [];
  let nextScalar = 0;
  const exprs = operands.map((operand) => {
    if (typeof operand === "number") return s.param(nextScalar++, compute);
    const dtype = DTYPES[operand.dtype].compute;
    inputs.push(dtype);
    return s.cast(s.input(inputs.length - 1, dtype), compute);
  });
  const params = Array.from({ length: paramCount }, (_, index) => s.param(scalars + index, compute));
  const types = new Array<ComputeDType>(scalars + paramCount).fill(compute);
  return makeProgram(spec.name, inputs, types, [spec.body(exprs, params)]);
}

/** Whether an expression is computed in floating point. */
export function isFloatExpr(x: Expr): boolean {
  return x.dtype === "f32" || x.dtype === "f64";
}

/** A function of one tensor. Kinds pass through. */
export type UnaryFunction = <K>(x: Tensor<K>) => Tensor<K>;
/** A function of two tensors, or a tensor and a number. */
export type BinaryFunction = (a: Operand, b: Operand) => Tensor;

/** An elementwise function of one tensor. */
export function unary(
  name: string,
  body: (x: Expr) => Expr,
  result: ResultRule = "float",
  takes?: ElementwiseSpec["takes"],
): UnaryFunction {
  const definition = elementwise({ name, result, ...(takes && { takes }), body: ([x]) => body(x as Expr) });
  return (x) => callElementwise(definition, [x]);
}

/** An elementwise function of two operands. */
export function binary(
  name: string,
  body: (a: Expr, b: Expr) => Expr,
  result: ResultRule = "same",
  takes?: ElementwiseSpec["takes"],
): BinaryFunction {
  const definition = elementwise({
    name,
    result,
    ...(takes && { takes }),
    body: ([a, b]) => body(a as Expr, b as Expr),
  });
  return (a, b) => callElementwise(definition, [a, b]);
}
