import type { Expr } from "./expr.ts";
import type { Program } from "./program.ts";

/** Values that come out of another's instruction, and nodes that nobody needs then. */
export interface Twins {
  /** For the first of two nodes: the other. */
  readonly twins: ReadonlyMap<Expr, Expr>;
  readonly idle: ReadonlySet<Expr>;
}

/**
 * Finds what one instruction of an interpreter can compute together: both words of a threefry, and e^-x² with erfc(x),
 * which is made of it (gelu's derivative has both). The order of nodes stays, and strict programs keep their exponentials.
 */
export function findTwins({ instructions: nodes, results, strict }: Program): Twins {
  const twins = threefryTwins(nodes);
  const idle = new Set<Expr>();
  // A strict program's exponential is that of its own argument.
  for (const expr of strict ? [] : nodes) {
    const square = expr.op === "exp" && expr.dtype === "f32" ? bellSquare(expr) : undefined;
    if (square === undefined) continue;
    const [x] = square.args;
    const isFirst = (other: Expr): boolean =>
      other.op === "erfc" && !twins.has(other) && isScaled(other.args[0], x, scaleOf(expr.args[0] as Expr));
    const first = nodes.slice(0, nodes.indexOf(expr)).find(isFirst);
    if (first === undefined) continue;
    twins.set(first, expr);
    // What the exponential alone was made of.
    for (const part of [expr.args[0] as Expr, square]) {
      const needed = nodes.some((user) => user !== expr && !idle.has(user) && user.args.includes(part));
      if (!needed && !results.includes(part)) idle.add(part);
    }
  }
  return { twins, idle };
}

/** The factor of a product with a constant on its right. */
function scaleOf({ op, args: [, factor] }: Expr): number {
  return op === "mul" && factor?.op === "const" ? factor.value : Number.NaN;
}

/** x · x of an e^(c x²) with c below 0. */
function bellSquare(expr: Expr): Expr | undefined {
  const [power] = expr.args;
  const square = power?.args[0];
  if (power === undefined || square === undefined || !(scaleOf(power) < 0)) return undefined;
  return square.op === "mul" && square.args[0] === square.args[1] ? square : undefined;
}

/** Whether `scaled` is s · x with s² = -c, as far as floats tell. */
function isScaled(scaled: Expr | undefined, x: Expr | undefined, c: number): boolean {
  if (scaled === undefined || scaled.args[0] !== x) return false;
  return Math.abs(scaleOf(scaled) ** 2 + c) <= Math.abs(c) * 2 ** -23;
}

/** For the first of two threefry nodes that differ in the word alone: the other. Both words come from one computation. */
function threefryTwins(nodes: readonly Expr[]): Map<Expr, Expr> {
  const twins = new Map<Expr, Expr>();
  const open: Expr[] = [];
  for (const expr of nodes) {
    if (expr.op !== "threefry") continue;
    const index = open.findIndex(
      (other) => other.value !== expr.value && other.args.every((arg, i) => arg === expr.args[i]),
    );
    const other = open[index];
    // The instruction gives word 0 to its first and word 1 to its second register.
    if (other !== undefined && other.value === 0) {
      twins.set(other, expr);
      open.splice(index, 1);
    } else open.push(expr);
  }
  return twins;
}
