import { defineUpdate, type Expr, type Update } from "@nf/core";

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
