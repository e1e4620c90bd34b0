import { type Program, printProgram } from "@nf/core";
import { compile } from "./compile.ts";
import { coordinateText, LoopNest } from "./loops.ts";
import { declareParams, javascript, loadElement, storeElement } from "./print.ts";
import type { CompiledKernel, Layout } from "./variants.ts";

/** Compiles a program into nested loops over a layout. */
export function compileMap(program: Program, layout: Layout): CompiledKernel {
  const { rank, dtypes, steps } = layout;
  const inputCount = program.inputs.length;
  const nest = new LoopNest(rank, steps);
  const load = (index: number): string =>
    loadElement(dtypes[index] as Layout["dtypes"][number], `a${index}`, nest.position(index));
  for (let dimension = 0; dimension < rank - 1; dimension++) nest.open(dimension);
  const used = new Set(program.instructions.filter((expr) => expr.op === "input").map((expr) => expr.value));
  // What does not move along the inner loop is read once before it. It lies in no output: outputs move.
  for (const index of used) if (nest.still(index)) nest.line(`const h${index} = ${load(index)};`);
  nest.open(rank - 1);
  const language = javascript(program, {
    load: (index) => (nest.still(index) ? `h${index}` : load(index)),
    coordinate: (axis) => coordinateText(program, layout.coordinates, axis),
    store: (index, value) => {
      const view = inputCount + index;
      return storeElement(dtypes[view] as Layout["dtypes"][number], `a${view}`, nest.position(view), value);
    },
  });
  for (const line of printProgram(program, language)) nest.line(line);
  for (let dimension = 0; dimension < rank; dimension++) nest.close();
  const body = `${nest.declarations()}\n${declareParams(program)}\n${nest.text()}`;
  return compile(program, ["arrays", "offsets", "sizes", "strides", "params"], body);
}
