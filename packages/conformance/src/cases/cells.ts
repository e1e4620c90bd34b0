import type { CellWeights, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { sigmoid } from "../reference/special.ts";
import { between, data, row, shapesText } from "./define.ts";

const FAMILY = "cells";

interface Setup {
  readonly lead: readonly number[];
  readonly width: number;
  readonly hidden: number;
  readonly bias: boolean;
}

/** x times the transpose of a weight, plus a bias. */
function linear(x: Nd, weight: Nd, bias: Nd | undefined): Nd {
  const flat = reference.reshape(x, [-1, x.shape.at(-1)!]);
  const product = reference.reshape(reference.matmul(flat, reference.permute(weight, [1, 0])), [
    ...x.shape.slice(0, -1),
    weight.shape[0]!,
  ]);
  return bias === undefined ? product : reference.map((a, b) => a + b, product, bias);
}

function cellRow(
  op: "rnnCell" | "lstmCell" | "gruCell",
  gates: number,
  states: number,
  run: (x: Tensor, states: readonly Tensor[], weights: CellWeights) => Tensor | readonly Tensor[],
  step: (fromInput: readonly Nd[], fromHidden: readonly Nd[], states: readonly Nd[]) => Nd | readonly Nd[],
): Row {
  const instance = ({ lead, width, hidden, bias }: Setup): Instance => {
    const shapes = [
      [...lead, width],
      ...new Array<number[]>(states).fill([...lead, hidden]),
      [gates * hidden, width],
      [gates * hidden, hidden],
      ...(bias ? [[gates * hidden], [gates * hidden]] : []),
    ];
    const parts = <T>(
      list: readonly T[],
    ): { x: T; states: readonly T[]; weights: readonly (T | undefined)[] } => ({
      x: list[0]!,
      states: list.slice(1, 1 + states),
      weights: [0, 1, 2, 3].map((i) => list[1 + states + i]),
    });
    return {
      label: shapesText(...shapes),
      operands: shapes.map((shape) => data(shape, { low: -1, high: 1, joints: [0] })),
      // A gate adds up both sums. Gates and candidates are numbers about 1, rounded themselves before they meet.
      ...(gates > 1 && { chain: width + hidden, roundings: 1 }),
      run: (inputs) => {
        const { x, states: before, weights } = parts(inputs);
        const [weightInput, weightHidden, biasInput, biasHidden] = weights;
        return run(x, before, {
          weightInput: weightInput!,
          weightHidden: weightHidden!,
          biasInput,
          biasHidden,
        });
      },
      reference: (inputs) => {
        const { x, states: before, weights } = parts(inputs);
        const [weightInput, weightHidden, biasInput, biasHidden] = weights;
        const cut = (all: Nd): Nd[] =>
          Array.from({ length: gates }, (_, i) => reference.cut(all, -1, i * hidden, (i + 1) * hidden));
        return step(
          cut(linear(x, weightInput!, biasInput)),
          cut(linear(before[0]!, weightHidden!, biasHidden)),
          before,
        );
      },
    };
  };
  const any = fc.record({
    lead: fc.array(between(1, 3), { maxLength: 1 }),
    width: between(1, 4),
    hidden: between(1, 3),
    bias: fc.boolean(),
  });
  return row(FAMILY, {
    op,
    kernels: ["matmul", "reduce"],
    tolerance: "composed",
    instances: [
      { lead: [2], width: 3, hidden: 4, bias: true },
      { lead: [], width: 2, hidden: 3, bias: true },
      { lead: [3], width: 2, hidden: 1, bias: false },
    ].map(instance),
    arbitrary: any.map(instance),
  });
}

/** Steps of recurrent networks. */
export function cellRows(): readonly Row[] {
  const { map } = reference;
  return [
    cellRow(
      "rnnCell",
      1,
      1,
      (x, [h], weights) => nf.rnnCell(x, h!, weights),
      ([a], [b]) => map((u, v) => Math.tanh(u + v), a!, b!),
    ),
    cellRow(
      "lstmCell",
      4,
      2,
      (x, [h, c], weights) => nf.lstmCell(x, [h!, c!], weights),
      (fromInput, fromHidden, [, cell]) => {
        const [input, forget, candidate, output] = fromInput.map((a, i) =>
          map((u, v) => u + v, a, fromHidden[i]!),
        ) as [Nd, Nd, Nd, Nd];
        const next = map(
          (i, f, g, c) => sigmoid(f) * c + sigmoid(i) * Math.tanh(g),
          input,
          forget,
          candidate,
          cell!,
        );
        return [map((o, c) => sigmoid(o) * Math.tanh(c), output, next), next];
      },
    ),
    cellRow(
      "gruCell",
      3,
      1,
      (x, [h], weights) => nf.gruCell(x, h!, weights),
      ([ri, ui, ni], [rh, uh, nh], [h]) =>
        map(
          (a, b, c, d, e, f, hidden) => {
            const update = sigmoid(c + d);
            return (1 - update) * Math.tanh(e + sigmoid(a + b) * f) + update * hidden;
          },
          ri!,
          rh!,
          ui!,
          uh!,
          ni!,
          nh!,
          h!,
        ),
    ),
  ];
}
