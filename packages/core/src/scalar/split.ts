import type { ComputeDType } from "../dtype.ts";
import { BackendError } from "../errors.ts";
import { type Expr, input, node } from "./expr.ts";
import { topologicalOrder } from "./order.ts";
import { makeProgram, type Program } from "./program.ts";

/** One of the programs that stand for a wide one. Parts run in order, each with one output. */
export interface ProgramPart {
  readonly program: Program;
  /** Where its inputs come from: inputs of the whole, or temporaries in the order they were written. */
  readonly reads: readonly { readonly from: "input" | "temporary"; readonly index: number }[];
  readonly writes:
    | { readonly to: "output"; readonly index: number }
    | { readonly to: "temporary"; readonly index: number; readonly dtype: ComputeDType };
}

/**
 * Cuts a program into single-output parts that each bind at most `maxBuffers` buffers: by outputs first, and where
 * one output alone reads too much, by computing the deepest subexpressions that fit into temporaries.
 *
 * A later part must not read what an earlier one overwrote, so programs that write in place are not cut this way.
 */
export function splitProgram(program: Program, maxBuffers: number): readonly ProgramPart[] {
  const maxInputs = maxBuffers - 1;
  if (maxInputs < 2)
    throw new BackendError(`a backend must bind at least 3 buffers a call, this one binds ${maxBuffers}.`);
  const parts: ProgramPart[] = [];
  const inputCount = program.inputs.length;
  const temporaryTypes: ComputeDType[] = [];

  const emit = (expr: Expr, writes: ProgramPart["writes"]): void => {
    const leaves = inputNumbers(expr);
    const renamed = rewrite(expr, (leaf) =>
      leaf.op === "input" ? input(leaves.indexOf(leaf.value), leaf.dtype) : leaf,
    );
    const types = leaves.map(
      (index) => program.inputs[index] ?? (temporaryTypes[index - inputCount] as ComputeDType),
    );
    parts.push({
      program: makeProgram(program.name, types, program.params, [renamed], { strict: program.strict }),
      reads: leaves.map((index) =>
        index < inputCount ? { from: "input", index } : { from: "temporary", index: index - inputCount },
      ),
      writes,
    });
  };

  program.results.forEach((result, index) => {
    let rest = result;
    while (inputNumbers(rest).length > maxInputs) {
      const piece = widestFitting(rest, maxInputs);
      const number = temporaryTypes.length;
      emit(piece, { to: "temporary", index: number, dtype: piece.dtype });
      temporaryTypes.push(piece.dtype);
      rest = rewrite(rest, (expr) => (expr === piece ? input(inputCount + number, piece.dtype) : expr));
    }
    emit(rest, { to: "output", index });
  });
  return parts;
}

/** The subexpression that reads the most inputs within the limit; replacing it shrinks the whole. */
function widestFitting(root: Expr, maxInputs: number): Expr {
  let best: Expr | undefined;
  let width = 1;
  for (const expr of topologicalOrder([root], (e) => e.args)) {
    const count = inputNumbers(expr).length;
    if (count <= maxInputs && count > width) {
      best = expr;
      width = count;
    }
  }
  if (best === undefined)
    throw new BackendError("a scalar operation reads more inputs than this backend binds at once.");
  return best;
}

function inputNumbers(root: Expr): readonly number[] {
  const leaves = topologicalOrder([root], (e) => e.args).filter((expr) => expr.op === "input");
  return [...new Set(leaves.map((leaf) => leaf.value))].sort((a, b) => a - b);
}

function rewrite(root: Expr, replace: (expr: Expr) => Expr): Expr {
  const done = new Map<Expr, Expr>();
  for (const expr of topologicalOrder([root], (e) => e.args)) {
    const replaced = replace(expr);
    if (replaced !== expr) done.set(expr, replaced);
    else
      done.set(
        expr,
        node(
          expr.op,
          expr.dtype,
          expr.args.map((arg) => done.get(arg) as Expr),
          expr.value,
        ),
      );
  }
  return done.get(root) as Expr;
}
