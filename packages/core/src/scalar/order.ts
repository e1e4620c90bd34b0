import type { Expr } from "./expr.ts";

/** Nodes reachable from `roots` along `edges`, operands before their users. Not recursive: programs may be deep. */
export function topologicalOrder(
  roots: readonly Expr[],
  edges: (expr: Expr) => readonly Expr[],
): readonly Expr[] {
  const order: Expr[] = [];
  const seen = new Set<Expr>();
  const stack: { expr: Expr; next: number }[] = [];
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    stack.push({ expr: root, next: 0 });
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const operand = edges(top.expr)[top.next++];
      if (operand === undefined) {
        order.push(top.expr);
        stack.pop();
      } else if (!seen.has(operand)) {
        seen.add(operand);
        stack.push({ expr: operand, next: 0 });
      }
    }
  }
  return order;
}
