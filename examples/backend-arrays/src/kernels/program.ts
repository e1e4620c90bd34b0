import {
  blockInterpreter,
  coordinateStrides,
  forEachBlock,
  mergeDimensions,
  type Program,
  type Shape,
  type View,
} from "@nf/core";
import { cellsOf } from "../buffer.ts";
import type { Walked } from "../walk.ts";

/** A program with what it reads. */
interface Reading {
  readonly program: Program;
  readonly inputs: readonly View[];
  readonly params: readonly number[];
}

/**
 * Evaluates a program at all points of a space, in row-major order.
 *
 * @param others further things to walk alongside, such as where results go
 * @param visit gets, for each block of points, the results by output and the positions of `others`; the arrays are reused
 */
export function evaluateProgram(
  { program, inputs, params }: Reading,
  shape: Shape,
  others: readonly Walked[],
  visit: (count: number, results: readonly Float64Array[], positions: readonly Float64Array[]) => void,
): void {
  // Dimensions whose coordinate the program reads stay apart; a coordinate is then walked like a view.
  const walked = [...inputs, ...others];
  const space = mergeDimensions(
    shape,
    walked.map(({ strides }) => strides),
    program.coordinates,
  );
  const coordinates = coordinateStrides(space.dimensions, space.shape.length);
  const offsets = [...walked.map(({ offset }) => offset), ...coordinates.map(() => 0)];
  const sources = inputs.map(cellsOf);
  const interpreter = blockInterpreter(program);
  forEachBlock(space.shape, [...space.strides, ...coordinates], offsets, (count, positions) => {
    sources.forEach((cells, input) => {
      const register = interpreter.inputs[input];
      const places = positions[input];
      for (let i = 0; i < count; i++) register[i] = cells[places[i]];
    });
    interpreter.coordinates.forEach((register, axis) => {
      register.set(positions[walked.length + axis].subarray(0, count));
    });
    interpreter.run(count, params);
    visit(count, interpreter.outputs, positions.slice(inputs.length, walked.length));
  });
}
