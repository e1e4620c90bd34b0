import type { ComputeDType } from "../dtype.ts";
import type { Expr } from "./expr.ts";
import type { Program } from "./program.ts";

/**
 * What a C-like language contributes to {@link printProgram}: the spelling of each piece. Whatever a compiler might
 * assume away (NaN tests, NaN-propagating max and min, infinities) belongs in functions of a prelude that
 * `operation` and `constant` call.
 */
export interface Language {
  /** A literal; NaN and infinities included. */
  constant(value: number, dtype: ComputeDType): string;
  /** Runtime parameter `index`. */
  param(index: number, dtype: ComputeDType): string;
  /** The coordinate along an axis counted from the end. */
  coordinate(axis: number): string;
  /** The value of input `index` at this point. */
  load(index: number, dtype: ComputeDType): string;
  /**
   * An operation on printed operands, itself an operand: parenthesised where needed. `expr` tells operation, result
   * dtype, the operands' dtypes and, for threefry, the word. Never a leaf, `check` or `stated`.
   */
  operation(expr: Expr, operands: readonly string[]): string;
  /** A statement that names a value. */
  declare(name: string, dtype: ComputeDType, value: string): string;
  /** A statement that fails the call with a check code where the condition does not hold. */
  check(condition: string, code: number): string;
  /** A statement that stores (or combines) output `index`. */
  store(index: number, value: string, dtype: ComputeDType): string;
}

/** Inlined expressions stay below this length: compilers recurse over them. */
const LONGEST_EXPRESSION = 1500;

/**
 * The body of a kernel's loop: statements that compute a program at one point. Values used more than once are named
 * `t0`, `t1`, …, others are written where they are used. All loads come before the first store, so that an output
 * may lie where an input lies.
 */
export function printProgram(program: Program, language: Language): readonly string[] {
  const uses = countUses(program);
  const lines: string[] = [];
  const printed = new Map<Expr, string>();
  let names = 0;
  const named = (expr: Expr, text: string): string => {
    const name = `t${names++}`;
    lines.push(language.declare(name, expr.dtype, text));
    return name;
  };
  for (const expr of program.instructions) {
    const operands = expr.args.map((arg) => printed.get(arg) as string);
    let text = spell(language, expr, operands, lines);
    const free =
      expr.op === "const" || expr.op === "param" || expr.op === "coordinate" || expr.op === "check";
    if (!free && ((uses.get(expr) ?? 0) > 1 || text.length > LONGEST_EXPRESSION)) text = named(expr, text);
    printed.set(expr, text);
  }
  const results = program.results.map((result) => {
    const text = printed.get(result) as string;
    return program.results.length > 1 && !isName(text) ? named(result, text) : text;
  });
  program.results.forEach((result, index) => {
    lines.push(language.store(index, results[index] as string, result.dtype));
  });
  return lines;
}

function spell(language: Language, expr: Expr, operands: readonly string[], lines: string[]): string {
  switch (expr.op) {
    case "const":
      return language.constant(expr.value, expr.dtype);
    case "param":
      return language.param(expr.value, expr.dtype);
    case "coordinate":
      return language.coordinate(expr.value);
    case "input":
      return language.load(expr.value, expr.dtype);
    case "check":
      lines.push(language.check(operands[1] as string, expr.value));
      return operands[0] as string;
    default:
      return language.operation(expr, operands);
  }
}

function isName(text: string): boolean {
  return /^t\d+$/.test(text);
}

/** How often each node's text will be written. A check is its value's text, so its uses are its value's too. */
function countUses(program: Program): Map<Expr, number> {
  const uses = new Map<Expr, number>();
  const count = (expr: Expr, times: number): void => void uses.set(expr, (uses.get(expr) ?? 0) + times);
  for (const result of program.results) count(result, 1);
  for (let i = program.instructions.length - 1; i >= 0; i--) {
    const expr = program.instructions[i] as Expr;
    expr.args.forEach((arg, position) => {
      count(arg, expr.op === "check" && position === 0 ? (uses.get(expr) ?? 1) : 1);
    });
  }
  return uses;
}
