import { defineUpdate, type Expr, scalar, type Update } from "@nf/core";

/** A step's program with names instead of positions. The gradient is `g`. */
export interface NamedProgram<S extends string, P extends string> {
  readonly name: string;
  /** What it writes: the parameter first, then the optimiser's tensors for it. */
  readonly state: readonly S[];
  /** Numbers that change from step to step. */
  readonly params: readonly P[];
  /** New values of the state. */
  body(values: Readonly<Record<S | P | "g", Expr>>): Readonly<Record<S, Expr>>;
}

/** Makes the update that both faces of an optimiser run. */
export function stepProgram<S extends string, P extends string>(program: NamedProgram<S, P>): Update {
  const { name, state, params, body } = program;
  return defineUpdate({
    name,
    state: state.length,
    inputs: 1,
    params,
    body(stateExprs, inputs, paramExprs) {
      const names: readonly (S | P | "g")[] = [...state, "g", ...params];
      const exprs = [...stateExprs, ...inputs, ...paramExprs];
      const values = Object.fromEntries(names.map((key, index) => [key, exprs[index]]));
      const next = body(values as Record<S | P | "g", Expr>);
      return state.map((key) => next[key]);
    },
  });
}

/** The values of a program that {@link penalised} reads. */
export type Penalised = Readonly<Record<"p" | "g" | "l2" | "sign", Expr>>;

/** The gradient that counts: turned round to climb (`sign` is -1), the L2 penalty added. */
export function penalised({ p, g, l2, sign }: Penalised): Expr {
  return scalar.add(scalar.mul(g, sign), scalar.mul(p, l2));
}

/** A running mean that moves a share of the way towards a value, as PyTorch's `lerp`. */
export function towards(mean: Expr, value: Expr, share: Expr): Expr {
  return scalar.add(mean, scalar.mul(scalar.sub(value, mean), share));
}

/** A running mean of squares: `kept` of it stays, `rest` of the square of a value comes in. */
export function meanSquare(mean: Expr, value: Expr, kept: Expr, rest: Expr): Expr {
  return scalar.add(scalar.mul(mean, kept), scalar.mul(scalar.mul(value, value), rest));
}
