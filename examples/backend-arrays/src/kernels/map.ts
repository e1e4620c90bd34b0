import type { MapCall } from "@nf/core";
import { cellsOf } from "../buffer.ts";
import { CELL_TYPES } from "../cells.ts";
import { evaluateProgram } from "./program.ts";

/**
 * `map`: a program at every point. A block is read whole before any of it is stored, so an output may be an input.
 *
 * @throws ArithmeticError where a check of the program fails
 */
export function map(call: MapCall): void {
  const { outputs } = call;
  evaluateProgram(call, outputs[0].shape, outputs, (count, results, positions) => {
    outputs.forEach((view, k) => {
      const cells = cellsOf(view);
      const { store } = CELL_TYPES[view.dtype];
      for (let i = 0; i < count; i++) cells[positions[k][i]] = store(results[k][i]);
    });
  });
}
