import type { ComputeDType } from "../dtype.ts";
import { GradientError } from "../errors.ts";
import { Canonicalizer } from "./canonical.ts";
import type { Expr } from "./expr.ts";
import * as s from "./expr.ts";
import type { ScalarOp } from "./ops.ts";
import { topologicalOrder } from "./order.ts";
import { makeProgram, type Program } from "./program.ts";

/** One value that a derivative program reads. */
export interface DerivativeUse {
  /** An input of the original program, one of its outputs, or the gradient that arrives at an output. */
  readonly from: "input" | "output" | "gradient";
  readonly index: number;
}

/** A program for gradients of another program's inputs, and where its own inputs come from. */
export interface Derivative {
  readonly program: Program;
  readonly uses: readonly DerivativeUse[];
}

const caches = new WeakMap<Program, Map<string, Derivative>>();

/**
 * The gradient program for some inputs: given gradients of the outputs it computes gradients of `wanted`, one output
 * for each. It reads only what it needs; where the forward's output serves as well as its input (tanh, exp, relu) it
 * reads the output, unless `outputsSaved` is false. Being a program, it can be differentiated again.
 */
export function derivative(program: Program, wanted: readonly number[], outputsSaved: boolean): Derivative {
  let cache = caches.get(program);
  if (cache === undefined) {
    cache = new Map();
    caches.set(program, cache);
  }
  const key = `${outputsSaved} ${wanted.join(",")}`;
  let result = cache.get(key);
  if (result === undefined) {
    result = differentiate(program, wanted, outputsSaved);
    cache.set(key, result);
  }
  return result;
}

function differentiate(program: Program, wanted: readonly number[], outputsSaved: boolean): Derivative {
  const inputCount = program.inputs.length;
  const outputTypes = program.outputs.map((output) => output.dtype);
  const firstGradient = inputCount + outputTypes.length;
  const adjoints = backpropagate(program, firstGradient);
  // Stated derivatives stay, for the derivative of the derivative.
  const canonical = new Canonicalizer(true);
  const results = program.outputs.map((output) => canonical.rewrite(output));
  const gradients = wanted.map((index) => {
    const dtype = program.inputs[index] as ComputeDType;
    const plain = canonical.rewrite(adjoints[index] ?? s.constant(0, dtype));
    if (!outputsSaved) return plain;
    const viaOutput = readOutputs(plain, results, inputCount);
    return savedCount(viaOutput, firstGradient) <= savedCount(plain, firstGradient) ? viaOutput : plain;
  });
  const types = [...program.inputs, ...outputTypes, ...outputTypes];
  return compact(`${program.name}'`, types, program, gradients, (index): DerivativeUse => {
    if (index < inputCount) return { from: "input", index };
    if (index < firstGradient) return { from: "output", index: index - inputCount };
    return { from: "gradient", index: index - firstGradient };
  });
}

/** Number of distinct forward values that an expression reads. */
function savedCount(expr: Expr, firstGradient: number): number {
  return inputsOf([expr]).filter((index) => index < firstGradient).length;
}

function inputsOf(exprs: readonly Expr[]): readonly number[] {
  const leaves = topologicalOrder(exprs, (expr) => expr.args).filter((expr) => expr.op === "input");
  return [...new Set(leaves.map((leaf) => leaf.value))].sort((a, b) => a - b);
}

/** Replaces what the forward computed anyway by reads of its outputs. */
function readOutputs(expr: Expr, results: readonly Expr[], inputCount: number): Expr {
  const replaced = new Map<Expr, Expr>();
  results.forEach((result, index) => {
    if (result.args.length > 0) replaced.set(result, s.input(inputCount + index, result.dtype));
  });
  return substitute(expr, replaced);
}

function substitute(root: Expr, replaced: Map<Expr, Expr>): Expr {
  for (const expr of topologicalOrder([root], (e) => e.args)) {
    if (replaced.has(expr)) continue;
    const args = expr.args.map((arg) => replaced.get(arg) as Expr);
    replaced.set(
      expr,
      args.every((arg, i) => arg === expr.args[i]) ? expr : s.node(expr.op, expr.dtype, args, expr.value),
    );
  }
  return replaced.get(root) as Expr;
}

/** A program that declares only the inputs its expressions read. */
function compact(
  name: string,
  types: readonly ComputeDType[],
  original: Program,
  outputs: readonly Expr[],
  describe: (index: number) => DerivativeUse,
): Derivative {
  const used = inputsOf(outputs);
  const renumbered = outputs.map((output) => {
    const leaves = new Map<Expr, Expr>();
    for (const expr of topologicalOrder([output], (e) => e.args)) {
      if (expr.op === "input") leaves.set(expr, s.input(used.indexOf(expr.value), expr.dtype));
    }
    return substitute(output, leaves);
  });
  const inputs = used.map((index) => types[index] as ComputeDType);
  const program = makeProgram(name, inputs, original.params, renumbered, { strict: original.strict });
  return { program, uses: used.map(describe) };
}

/** Adjoint expression of every input, undefined where nothing depends on it. Seeds are inputs from `firstGradient` on. */
function backpropagate(program: Program, firstGradient: number): readonly (Expr | undefined)[] {
  const adjoints = new Map<Expr, Expr>();
  const contribute = (target: Expr, term: Expr): void => {
    if (target.dtype !== "f32" && target.dtype !== "f64") return;
    const sum = adjoints.get(target);
    adjoints.set(target, sum === undefined ? term : plus(sum, term));
  };
  program.outputs.forEach((output, index) => {
    contribute(output, s.input(firstGradient + index, output.dtype));
  });
  const inputs: (Expr | undefined)[] = program.inputs.map(() => undefined);
  const order = topologicalOrder(program.outputs, gradientEdges);
  for (let i = order.length - 1; i >= 0; i--) {
    const expr = order[i] as Expr;
    const adjoint = adjoints.get(expr);
    if (adjoint === undefined) continue;
    if (expr.op === "input") inputs[expr.value] = adjoint;
    else propagate(program, expr, adjoint, contribute);
  }
  return inputs;
}

/** Operands that a gradient flows to. */
function gradientEdges(expr: Expr): readonly Expr[] {
  if (expr.op === "stated") return expr.args.slice(1, 1 + expr.value);
  if (expr.op === "select") return expr.args.slice(1);
  if (expr.op === "check") return expr.args.slice(0, 1);
  return expr.args;
}

/** A stated partial. Where it reads the plain value, it means the stated one: so its own derivative is the stated one too. */
function statedPartial(expr: Expr, operand: number): Expr {
  const value = expr.args[0] as Expr;
  const partial = expr.args[1 + expr.value + operand] as Expr;
  return value.args.length === 0 ? partial : substitute(partial, new Map([[value, expr]]));
}

type Contribute = (target: Expr, term: Expr) => void;

function propagate(program: Program, expr: Expr, g: Expr, contribute: Contribute): void {
  const [a, b, c] = expr.args as [Expr, Expr, Expr];
  switch (expr.op) {
    case "stated":
      for (let i = 0; i < expr.value; i++) {
        contribute(expr.args[1 + i] as Expr, times(g, statedPartial(expr, i)));
      }
      return;
    case "select":
      contribute(b, s.select(a, g, 0));
      contribute(c, s.select(a, 0, g));
      return;
    case "add":
      contribute(a, g);
      contribute(b, g);
      return;
    case "sub":
      contribute(a, g);
      contribute(b, linear(g, s.neg));
      return;
    case "neg":
      contribute(a, linear(g, s.neg));
      return;
    case "mul":
      contribute(a, times(g, b));
      contribute(b, times(g, a));
      return;
    case "div":
      contribute(
        a,
        linear(g, (x) => s.div(x, b)),
      );
      contribute(b, times(g, s.neg(s.div(expr, b))));
      return;
    case "cast":
      contribute(
        a,
        linear(g, (x) => s.cast(x, a.dtype)),
      );
      return;
    case "check":
      contribute(a, g);
      return;
    default: {
      const partials = PARTIALS[expr.op];
      if (partials === undefined) {
        if (STEPS.has(expr.op)) return;
        throw new GradientError(`${program.name}: the scalar operation "${expr.op}" has no derivative.`);
      }
      partials(expr, a, b).forEach((partial, i) => {
        contribute(expr.args[i] as Expr, times(g, partial));
      });
    }
  }
}

/**
 * Applies a linear step to an adjoint. Selects with 0 are pushed outwards, through sums too: otherwise a branch not
 * taken would multiply its 0 by an infinite derivative, and `where(x > 20, x, log1p(exp(x)))` would be NaN at 1000.
 */
function linear(g: Expr, step: (x: Expr) => Expr): Expr {
  if (isZero(g)) return s.constant(0, step(g).dtype);
  if (!isMasked(g)) return step(g);
  const [a, b, c] = g.args as [Expr, Expr, Expr];
  return g.op === "select"
    ? s.select(a, linear(b, step), linear(c, step))
    : plus(linear(a, step), linear(b, step));
}

const masks = new WeakMap<Expr, boolean>();

/** Whether an adjoint is 0 under some condition, as a select or a sum that has one. */
function isMasked(g: Expr): boolean {
  if (g.op !== "select" && g.op !== "add") return false;
  let known = masks.get(g);
  if (known === undefined) {
    const terms = g.op === "select" ? g.args.slice(1) : g.args;
    known = terms.some((term) => (g.op === "select" && isZero(term)) || isMasked(term));
    masks.set(g, known);
  }
  return known;
}

function times(g: Expr, factor: Expr): Expr {
  return linear(g, (x) => s.mul(x, factor));
}

/** Sum of two adjoints; selects of one condition melt into one. */
function plus(x: Expr, y: Expr): Expr {
  if (isZero(x)) return y;
  if (isZero(y)) return x;
  if (x.op === "select" && y.op === "select" && x.args[0] === y.args[0]) {
    const [condition, a, b] = x.args as [Expr, Expr, Expr];
    const [, c, d] = y.args as [Expr, Expr, Expr];
    return s.select(condition, plus(a, c), plus(b, d));
  }
  return s.add(x, y);
}

function isZero(expr: Expr): boolean {
  return expr.op === "const" && expr.value === 0;
}

/** Operations that are constant between jumps: their derivative is 0, PyTorch's convention. */
const STEPS: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
  "floorDiv",
  "const",
  "param",
]);

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);
const bell = (x: Expr): Expr => s.mul(s.exp(s.neg(s.mul(x, x))), TWO_OVER_SQRT_PI);
const half = (when: Expr, below: Expr, dtype: ComputeDType): Expr =>
  s.select(below, s.constant(0, dtype), s.select(when, s.constant(0.5, dtype), s.constant(1, dtype)));

/** Partial derivatives by operand, given the node itself (its value) and its operands. */
const PARTIALS: Partial<Record<ScalarOp, (y: Expr, a: Expr, b: Expr) => readonly Expr[]>> = {
  exp: (y) => [y],
  expm1: (y) => [s.add(y, 1)],
  log: (_y, a) => [s.div(s.constant(1, a.dtype), a)],
  log1p: (_y, a) => [s.div(s.constant(1, a.dtype), s.add(a, 1))],
  log2: (_y, a) => [s.div(s.constant(Math.LOG2E, a.dtype), a)],
  sqrt: (y) => [s.div(s.constant(0.5, y.dtype), y)],
  sin: (_y, a) => [s.cos(a)],
  cos: (_y, a) => [s.neg(s.sin(a))],
  tan: (y) => [s.add(s.mul(y, y), 1)],
  asin: (_y, a) => [s.div(s.constant(1, a.dtype), s.sqrt(s.sub(1, s.mul(a, a))))],
  acos: (_y, a) => [s.div(s.constant(-1, a.dtype), s.sqrt(s.sub(1, s.mul(a, a))))],
  atan: (_y, a) => [s.div(s.constant(1, a.dtype), s.add(s.mul(a, a), 1))],
  sinh: (_y, a) => [s.cosh(a)],
  cosh: (_y, a) => [s.sinh(a)],
  tanh: (y) => [s.sub(1, s.mul(y, y))],
  asinh: (_y, a) => [s.div(s.constant(1, a.dtype), s.sqrt(s.add(s.mul(a, a), 1)))],
  acosh: (_y, a) => [s.div(s.constant(1, a.dtype), s.sqrt(s.sub(s.mul(a, a), 1)))],
  atanh: (_y, a) => [s.div(s.constant(1, a.dtype), s.sub(1, s.mul(a, a)))],
  erf: (_y, a) => [bell(a)],
  erfc: (_y, a) => [s.neg(bell(a))],
  abs: (_y, a) => [s.sign(a)],
  max: (_y, a, b) => [half(s.eq(a, b), s.lt(a, b), a.dtype), half(s.eq(a, b), s.lt(b, a), a.dtype)],
  min: (_y, a, b) => [half(s.eq(a, b), s.lt(b, a), a.dtype), half(s.eq(a, b), s.lt(a, b), a.dtype)],
  mod: (_y, a, b) => [s.constant(1, a.dtype), s.neg(s.floor(s.div(a, b)))],
  atan2: (_y, a, b) => {
    const square = s.add(s.mul(a, a), s.mul(b, b));
    return [s.div(b, square), s.neg(s.div(a, square))];
  },
  // d/da a^b is 0 for b = 0; d/db is 0 for a = 0 with b >= 0, where log(a) is infinite.
  pow: (y, a, b) => [
    s.select(s.eq(b, 0), 0, s.mul(b, s.pow(a, s.sub(b, 1)))),
    s.select(s.and(s.eq(a, 0), s.ge(b, 0)), 0, s.mul(y, s.log(a))),
  ],
};
