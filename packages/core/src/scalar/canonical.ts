import type { ComputeDType } from "../dtype.ts";
import { type Expr, node } from "./expr.ts";
import { castValue, reinterpret, roundTo, SCALAR_OPS, type ScalarOp } from "./ops.ts";
import { topologicalOrder } from "./order.ts";

const COMMUTES: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "add",
  "mul",
  "eq",
  "ne",
  "and",
  "or",
  "xor",
  "max",
  "min",
]);
const UNFOLDABLE: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "input",
  "param",
  "coordinate",
  "const",
  "stated",
  "check",
]);

/**
 * Rewrites expressions so that equal ones are one object: constants folded, algebra that holds for every value
 * (NaN, infinities and -0 included) applied, common subexpressions shared. One instance serves expressions that are
 * to be compared by identity.
 */
export class Canonicalizer {
  private readonly interned = new Map<string, Expr>();
  private readonly ids = new Map<Expr, number>();
  private readonly memo = new Map<Expr, Expr>();
  private readonly keepStated: boolean;

  /** @param keepStated whether nodes with a stated derivative stay, or are replaced by their value. */
  constructor(keepStated: boolean) {
    this.keepStated = keepStated;
  }

  /** The canonical form of an expression. Not recursive: programs may be deep. */
  rewrite(root: Expr): Expr {
    const edges = (expr: Expr): readonly Expr[] => {
      if (this.memo.has(expr)) return [];
      return this.dropped(expr) ? expr.args.slice(0, 1) : expr.args;
    };
    for (const expr of topologicalOrder([root], edges)) {
      if (this.memo.has(expr)) continue;
      const result = this.dropped(expr)
        ? this.known(expr.args[0] as Expr)
        : this.simplify(
            expr.op,
            expr.dtype,
            expr.args.map((arg) => this.known(arg)),
            expr.value,
          );
      this.memo.set(expr, result);
      this.memo.set(result, result);
    }
    return this.known(root);
  }

  private known(expr: Expr): Expr {
    return this.memo.get(expr) as Expr;
  }

  /** Whether a node gives way to its value. */
  private dropped(expr: Expr): boolean {
    return expr.op === "stated" && !this.keepStated;
  }

  private intern(op: ScalarOp, dtype: ComputeDType, args: readonly Expr[], value: number): Expr {
    const numbers = args.map((arg) => this.ids.get(arg) as number);
    const ordered = COMMUTES.has(op) && (numbers[0] as number) > (numbers[1] as number);
    const sorted = ordered ? [args[1] as Expr, args[0] as Expr] : args;
    if (ordered) numbers.reverse();
    const key = `${op} ${dtype} ${Object.is(value, -0) ? "-0" : value} ${numbers.join(" ")}`;
    let expr = this.interned.get(key);
    if (expr === undefined) {
      expr = node(op, dtype, sorted, value);
      this.ids.set(expr, this.interned.size);
      this.interned.set(key, expr);
    }
    return expr;
  }

  private simplify(op: ScalarOp, dtype: ComputeDType, args: readonly Expr[], value: number): Expr {
    // Constants are given as doubles; the number meant is the one the dtype holds.
    const folded = op === "const" ? roundTo(dtype, value) : fold(op, dtype, args, value);
    if (folded !== undefined) return this.intern("const", dtype, [], folded);
    const [a, b, c] = args as [Expr, Expr, Expr];
    switch (op) {
      case "add":
        if (b.op === "neg") return this.simplify("sub", dtype, [a, b.args[0] as Expr], 0);
        if (a.op === "neg") return this.simplify("sub", dtype, [b, a.args[0] as Expr], 0);
        break;
      case "sub":
        if (isConst(b, 0)) return a;
        if (b.op === "neg") return this.simplify("add", dtype, [a, b.args[0] as Expr], 0);
        break;
      case "mul":
        if (isConst(a, 1)) return b;
        if (isConst(b, 1)) return a;
        if (isConst(a, -1)) return this.simplify("neg", dtype, [b], 0);
        if (isConst(b, -1)) return this.simplify("neg", dtype, [a], 0);
        break;
      case "div":
        if (isConst(b, 1)) return a;
        break;
      case "neg":
        if (a.op === "neg") return a.args[0] as Expr;
        break;
      case "not":
        if (a.op === "not") return a.args[0] as Expr;
        break;
      case "select":
        if (a.op === "const") return a.value !== 0 ? b : c;
        if (b === c) return b;
        if (a.op === "not") return this.simplify("select", dtype, [a.args[0] as Expr, c, b], 0);
        break;
      case "check":
        if (isConst(b, 1)) return a;
        break;
      case "cast":
        if (a.dtype === dtype) return a;
        break;
    }
    return this.intern(op, dtype, args, value);
  }
}

function isConst(expr: Expr, value: number): boolean {
  return expr.op === "const" && Object.is(expr.value, value);
}

/** The value of an operation whose operands are all constants. */
function fold(op: ScalarOp, dtype: ComputeDType, args: readonly Expr[], value: number): number | undefined {
  if (UNFOLDABLE.has(op) || op === "select" || args.some((arg) => arg.op !== "const")) return undefined;
  const [a, b, c, d] = args.map((arg) => arg.value) as [number, number, number, number];
  const from = (args[0] as Expr).dtype;
  if (op === "cast") return castValue(a, from, dtype);
  if (op === "bitcast") return reinterpret(a, from, dtype);
  return roundTo(dtype, SCALAR_OPS[op].evaluate(from, a, b, c, d, value));
}
