import type { MapCall } from "../backend/call.ts";
import { mergeViews } from "../backend/merge.ts";
import type { BackendBuffer, Shape, View } from "../backend/view.ts";
import type { ComputeDType, DType } from "../dtype.ts";
import { ArithmeticError } from "../errors.ts";
import { CHECK_CODES, type Expr } from "./expr.ts";
import { fromBfloatBits, fromHalfBits, toBfloatBits, toHalfBits } from "./half.ts";
import { castValue, reinterpret, roundTo, SCALAR_OPS, type ScalarOpInfo } from "./ops.ts";
import type { Program } from "./program.ts";

/** The error that a failed `check` node of a program stands for, for backends to throw. */
export function checkFailure(program: Program, code: number): ArithmeticError {
  const what = CHECK_CODES[code] ?? `check ${code} failed`;
  return new ArithmeticError(`${program.name}: ${what}. Look at the values of its inputs.`);
}

/**
 * The value of a program at one point: the reference semantics that every backend is compared with. Each operation is
 * rounded to its dtype; a select has no effect from the branch it does not take, but checks always count.
 *
 * @param coordinates position of the point, outermost axis first; axes it does not have read as 0
 * @returns one number for each output
 * @throws ArithmeticError where a check fails
 */
export function evaluate(
  program: Program,
  inputs: readonly number[],
  params: readonly number[] = [],
  coordinates: readonly number[] = [],
): readonly number[] {
  const values = new Map<Expr, number>();
  for (const expr of program.instructions) {
    const args = expr.args.map((arg) => values.get(arg) as number);
    values.set(expr, valueAt(program, expr, args, inputs, params, coordinates));
  }
  return program.results.map((result) => values.get(result) as number);
}

function valueAt(
  program: Program,
  expr: Expr,
  args: readonly number[],
  inputs: readonly number[],
  params: readonly number[],
  coordinates: readonly number[],
): number {
  const [a, b, c, d] = args as [number, number, number, number];
  const { dtype, value } = expr;
  switch (expr.op) {
    case "const":
      return roundTo(dtype, value);
    case "input":
      return roundTo(dtype, inputs[value] as number);
    case "param":
      return roundTo(dtype, params[value] as number);
    case "coordinate":
      return coordinates[coordinates.length + value] ?? 0;
    case "select":
      return a !== 0 ? b : c;
    case "check":
      if (b === 0) throw checkFailure(program, value);
      return a;
    case "stated":
      return a;
    case "cast":
      return castValue(a, (expr.args[0] as Expr).dtype, dtype);
    case "bitcast":
      return reinterpret(a, (expr.args[0] as Expr).dtype, dtype);
    default: {
      const operation: ScalarOpInfo = SCALAR_OPS[expr.op];
      return roundTo(dtype, operation.evaluate((expr.args[0] as Expr).dtype, a, b, c, d, value));
    }
  }
}

/** Points that a {@link BlockInterpreter} computes at once. */
export const BLOCK = 1024;

/** One instruction with its registers. */
interface Step {
  readonly expr: Expr;
  /** Dtype of the operands. */
  readonly from: ComputeDType;
  readonly to: Float64Array;
  readonly args: readonly Float64Array[];
}

/**
 * Runs a program over blocks of up to {@link BLOCK} points, an instruction at a time, without generating code: for
 * places where `eval` is forbidden. Fill `inputs` and `coordinates`, call `run`, read `outputs`. Results are rounded
 * operation by operation and equal those of {@link evaluate} to the last bit.
 */
export class BlockInterpreter {
  /** Values of the program's inputs, to be filled. */
  readonly inputs: readonly Float64Array[];
  /** Values of the coordinates, one register for each entry of `program.coordinates`, to be filled. */
  readonly coordinates: readonly Float64Array[];
  /** Results after `run`. May be the same arrays as `inputs`, where a result is an input. */
  readonly outputs: readonly Float64Array[];
  private readonly program: Program;
  private readonly params: readonly {
    readonly register: Float64Array;
    readonly index: number;
    readonly dtype: ComputeDType;
  }[];
  private readonly steps: readonly Step[];

  constructor(program: Program) {
    this.program = program;
    this.inputs = program.inputs.map(() => new Float64Array(BLOCK));
    this.coordinates = program.coordinates.map(() => new Float64Array(BLOCK));
    const params: { register: Float64Array; index: number; dtype: ComputeDType }[] = [];
    const steps: Step[] = [];
    const registers = new Map<Expr, Float64Array>();
    const lastUse = lastUses(program);
    const idle: Float64Array[] = [];
    program.instructions.forEach((expr, position) => {
      if (expr.op === "input") registers.set(expr, this.inputs[expr.value] as Float64Array);
      else if (expr.op === "coordinate") {
        registers.set(expr, this.coordinates[program.coordinates.indexOf(expr.value)] as Float64Array);
      } else if (expr.op === "const") {
        registers.set(expr, new Float64Array(BLOCK).fill(roundTo(expr.dtype, expr.value)));
      } else if (expr.op === "param") {
        const register = new Float64Array(BLOCK);
        registers.set(expr, register);
        params.push({ register, index: expr.value, dtype: expr.dtype });
      } else {
        const args = expr.args.map((arg) => registers.get(arg) as Float64Array);
        // A register may be written while it is read: every instruction works element by element.
        for (const arg of new Set(expr.args)) {
          if (arg.args.length > 0 && lastUse.get(arg) === position)
            idle.push(registers.get(arg) as Float64Array);
        }
        const to = idle.pop() ?? new Float64Array(BLOCK);
        registers.set(expr, to);
        steps.push({ expr, from: (expr.args[0] as Expr).dtype, to, args });
      }
    });
    this.params = params;
    this.steps = steps;
    this.outputs = program.results.map((result) => registers.get(result) as Float64Array);
  }

  /**
   * Computes the first `count` points.
   * @throws ArithmeticError where a check fails
   */
  run(count: number, params: readonly number[]): void {
    for (const { register, index, dtype } of this.params) {
      register.fill(roundTo(dtype, params[index] as number), 0, count);
    }
    for (const step of this.steps) {
      runStep(this.program, step, count);
    }
  }
}

/** For each node with operands, the last instruction that reads it; results stay to the end. */
function lastUses(program: Program): Map<Expr, number> {
  const last = new Map<Expr, number>();
  program.instructions.forEach((expr, position) => {
    for (const arg of expr.args) last.set(arg, position);
  });
  for (const result of program.results) last.set(result, Infinity);
  return last;
}

function runStep(program: Program, { expr, from, to, args }: Step, count: number): void {
  const [a, b, c, d] = args as [Float64Array, Float64Array, Float64Array, Float64Array];
  switch (expr.op) {
    case "select":
      for (let i = 0; i < count; i++) to[i] = a[i] !== 0 ? (b[i] as number) : (c[i] as number);
      return;
    case "check":
      for (let i = 0; i < count; i++) if (b[i] === 0) throw checkFailure(program, expr.value);
      if (to !== a) to.set(a.subarray(0, count));
      return;
    case "cast":
      for (let i = 0; i < count; i++) to[i] = castValue(a[i] as number, from, expr.dtype);
      return;
    case "bitcast":
      for (let i = 0; i < count; i++) to[i] = reinterpret(a[i] as number, from, expr.dtype);
      return;
    // The commonest operations have loops of their own; the table's functions cost a call a point.
    case "add":
      for (let i = 0; i < count; i++) to[i] = (a[i] as number) + (b[i] as number);
      break;
    case "sub":
      for (let i = 0; i < count; i++) to[i] = (a[i] as number) - (b[i] as number);
      break;
    case "div":
      for (let i = 0; i < count; i++) to[i] = (a[i] as number) / (b[i] as number);
      break;
    case "lt":
      for (let i = 0; i < count; i++) to[i] = (a[i] as number) < (b[i] as number) ? 1 : 0;
      return;
    case "mul":
      if (from === "f32" || from === "f64") {
        for (let i = 0; i < count; i++) to[i] = (a[i] as number) * (b[i] as number);
        break;
      }
      for (let i = 0; i < count; i++) to[i] = Math.imul(a[i] as number, b[i] as number);
      break;
    default: {
      const { evaluate: compute }: ScalarOpInfo = SCALAR_OPS[expr.op];
      const second = b ?? a;
      const third = c ?? a;
      const fourth = d ?? a;
      for (let i = 0; i < count; i++) {
        to[i] = compute(
          from,
          a[i] as number,
          second[i] as number,
          third[i] as number,
          fourth[i] as number,
          expr.value,
        );
      }
    }
  }
  roundAll(expr.dtype, to, count);
}

function roundAll(dtype: ComputeDType, values: Float64Array, count: number): void {
  if (dtype === "f32") for (let i = 0; i < count; i++) values[i] = Math.fround(values[i] as number);
  else if (dtype === "i32") for (let i = 0; i < count; i++) values[i] = (values[i] as number) | 0;
  else if (dtype === "u32") for (let i = 0; i < count; i++) values[i] = (values[i] as number) >>> 0;
}

const interpreters = new WeakMap<Program, BlockInterpreter>();

/** The interpreter of a program, made once. */
export function blockInterpreter(program: Program): BlockInterpreter {
  let interpreter = interpreters.get(program);
  if (interpreter === undefined) {
    interpreter = new BlockInterpreter(program);
    interpreters.set(program, interpreter);
  }
  return interpreter;
}

/**
 * Walks a strided space in row-major order, in blocks of up to {@link BLOCK} points, and tells where each point lies.
 *
 * @param strides strides by view; a coordinate is a view of offset 0 with stride 1 along its dimension
 * @param visit called with the number of points and, by view, their positions; the arrays are reused
 */
export function forEachBlock(
  shape: Shape,
  strides: readonly (readonly number[])[],
  offsets: readonly number[],
  visit: (count: number, positions: readonly Float64Array[]) => void,
): void {
  const rank = shape.length;
  const innerSize = rank === 0 ? 1 : (shape[rank - 1] as number);
  const positions = strides.map(() => new Float64Array(BLOCK));
  const bases = [...offsets];
  const index = new Array<number>(rank).fill(0);
  let filled = 0;
  for (;;) {
    for (let start = 0; start < innerSize; ) {
      const run = Math.min(BLOCK - filled, innerSize - start);
      for (let view = 0; view < positions.length; view++) {
        const list = positions[view] as Float64Array;
        const step = rank === 0 ? 0 : ((strides[view] as readonly number[])[rank - 1] as number);
        const base = (bases[view] as number) + start * step;
        for (let i = 0; i < run; i++) list[filled + i] = base + i * step;
      }
      filled += run;
      start += run;
      if (filled === BLOCK) {
        visit(filled, positions);
        filled = 0;
      }
    }
    let axis = rank - 2;
    for (; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      const wraps = index[axis] === shape[axis];
      for (let view = 0; view < bases.length; view++) {
        const step = (strides[view] as readonly number[])[axis] as number;
        bases[view] = (bases[view] as number) + (wraps ? -step * ((shape[axis] as number) - 1) : step);
      }
      if (!wraps) break;
      index[axis] = 0;
    }
    if (axis < 0) break;
  }
  if (filled > 0) visit(filled, positions);
}

/** The typed arrays that hold elements of any dtype; `f16` and `bf16` lie as bits in a `Uint16Array`. */
export type Elements =
  | Float32Array
  | Float64Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Uint8Array
  | Int8Array;

/** Gives the memory of a buffer as an array of a dtype's elements, from the start of the buffer. */
export type Access = (buffer: BackendBuffer, dtype: DType) => Elements;

/** Runs a `map` call with the block interpreter, for backends whose buffers are memory that JavaScript can reach. */
export function interpretMap(call: MapCall, access: Access): void {
  const { program, inputs, outputs, params } = call;
  const space = mergeViews(inputs, outputs, program.coordinates);
  const strides = [...space.strides, ...coordinateStrides(space.dimensions, space.shape.length)];
  const offsets = [...inputs, ...outputs].map((view) => view.offset);
  for (let i = 0; i < program.coordinates.length; i++) offsets.push(0);
  const interpreter = blockInterpreter(program);
  const arrays = [...inputs, ...outputs].map((view) => access(view.buffer, view.dtype));
  forEachBlock(space.shape, strides, offsets, (count, positions) => {
    for (let i = 0; i < inputs.length; i++) {
      loadElements(
        (inputs[i] as View).dtype,
        arrays[i] as Elements,
        positions[i] as Float64Array,
        count,
        interpreter.inputs[i] as Float64Array,
      );
    }
    for (let i = 0; i < program.coordinates.length; i++) {
      const register = interpreter.coordinates[i] as Float64Array;
      register.set((positions[inputs.length + outputs.length + i] as Float64Array).subarray(0, count));
    }
    interpreter.run(count, params);
    for (let k = 0; k < outputs.length; k++) {
      const view = inputs.length + k;
      storeElements(
        (outputs[k] as View).dtype,
        arrays[view] as Elements,
        positions[view] as Float64Array,
        count,
        interpreter.outputs[k] as Float64Array,
      );
    }
  });
}

/** Strides that make coordinates of a merged space walk like views. */
export function coordinateStrides(
  dimensions: readonly number[],
  rank: number,
): readonly (readonly number[])[] {
  return dimensions.map((dimension) =>
    Array.from({ length: rank }, (_, axis) => (axis === dimension ? 1 : 0)),
  );
}

/** Reads elements at positions into numbers. */
export function loadElements(
  dtype: DType,
  from: Elements,
  positions: Float64Array,
  count: number,
  to: Float64Array,
): void {
  switch (dtype) {
    case "f16":
      for (let i = 0; i < count; i++) to[i] = fromHalfBits(from[positions[i] as number] as number);
      return;
    case "bf16":
      for (let i = 0; i < count; i++) to[i] = fromBfloatBits(from[positions[i] as number] as number);
      return;
    case "bool":
      for (let i = 0; i < count; i++) to[i] = from[positions[i] as number] !== 0 ? 1 : 0;
      return;
    default:
      for (let i = 0; i < count; i++) to[i] = from[positions[i] as number] as number;
  }
}

/** Stores numbers at positions, rounded or wrapped as the dtype does. */
export function storeElements(
  dtype: DType,
  to: Elements,
  positions: Float64Array,
  count: number,
  from: Float64Array,
): void {
  switch (dtype) {
    case "f16":
      for (let i = 0; i < count; i++) to[positions[i] as number] = toHalfBits(from[i] as number);
      return;
    case "bf16":
      for (let i = 0; i < count; i++) to[positions[i] as number] = toBfloatBits(from[i] as number);
      return;
    case "bool":
      for (let i = 0; i < count; i++) to[positions[i] as number] = from[i] !== 0 ? 1 : 0;
      return;
    default:
      for (let i = 0; i < count; i++) to[positions[i] as number] = from[i] as number;
  }
}
