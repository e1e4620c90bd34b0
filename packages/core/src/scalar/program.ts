import type { ComputeDType } from "../dtype.ts";
import { DTypeError } from "../errors.ts";
import { Canonicalizer } from "./canonical.ts";
import { type Expr, input, param } from "./expr.ts";
import { topologicalOrder } from "./order.ts";

/**
 * A scalar program: what a kernel computes at each point, as expressions of inputs, runtime parameters and
 * coordinates. Programs are built once, when an operation first meets a combination of dtypes, and kept; backends
 * may cache what they make of one under its `id`.
 */
export interface Program {
  /** Distinct in this process. */
  readonly id: number;
  /** The operation it belongs to, for messages and profiles. */
  readonly name: string;
  readonly inputs: readonly ComputeDType[];
  readonly params: readonly ComputeDType[];
  /** Results, simplified, with stated derivatives still in place; {@link Program.results} is what to compute. */
  readonly outputs: readonly Expr[];
  /** Results to compute, one for each output: stated derivatives removed. */
  readonly results: readonly Expr[];
  /** All nodes that `results` need, operands before their users. */
  readonly instructions: readonly Expr[];
  /** Axes whose coordinate is read, counted from the end (-1 is innermost). Such dimensions must not be merged. */
  readonly coordinates: readonly number[];
  /** Whether every operation must be rounded to its dtype and nothing contracted, for equal bits everywhere. */
  readonly strict: boolean;
}

/** Optional facts of a program. */
export interface ProgramOptions {
  /** Round every operation; default false. */
  readonly strict?: boolean;
}

let programCount = 0;

/** Makes a program of result expressions. Inputs and parameters are numbered as declared, used or not. */
export function makeProgram(
  name: string,
  inputs: readonly ComputeDType[],
  params: readonly ComputeDType[],
  outputs: readonly Expr[],
  options: ProgramOptions = {},
): Program {
  const differentiable = new Canonicalizer(true);
  const lowered = new Canonicalizer(false);
  const kept = outputs.map((output) => differentiable.rewrite(output));
  const results = kept.map((output) => lowered.rewrite(output));
  const instructions = topologicalOrder(results, (expr) => expr.args);
  for (const expr of instructions) checkLeaf(name, expr, inputs, params);
  const axes = new Set(instructions.filter((expr) => expr.op === "coordinate").map((expr) => expr.value));
  return {
    id: programCount++,
    name,
    inputs,
    params,
    outputs: kept,
    results,
    instructions,
    coordinates: [...axes].sort((a, b) => a - b),
    strict: options.strict ?? false,
  };
}

/** Makes a program from a function of typed input and parameter expressions. */
export function program(
  name: string,
  inputs: readonly ComputeDType[],
  params: readonly ComputeDType[],
  body: (inputs: readonly Expr[], params: readonly Expr[]) => Expr | readonly Expr[],
  options: ProgramOptions = {},
): Program {
  const result = body(
    inputs.map((dtype, index) => input(index, dtype)),
    params.map((dtype, index) => param(index, dtype)),
  );
  return makeProgram(name, inputs, params, isExprList(result) ? result : [result], options);
}

function isExprList(result: Expr | readonly Expr[]): result is readonly Expr[] {
  return Array.isArray(result);
}

function checkLeaf(
  name: string,
  expr: Expr,
  inputs: readonly ComputeDType[],
  params: readonly ComputeDType[],
): void {
  if (expr.op !== "input" && expr.op !== "param") return;
  const declared = (expr.op === "input" ? inputs : params)[expr.value];
  if (declared !== expr.dtype) {
    throw new DTypeError(
      `program ${name}: ${expr.op} ${expr.value} is used as ${expr.dtype} but declared ${declared ?? "not at all"}.`,
    );
  }
}
