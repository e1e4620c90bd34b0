import type { Tensor, View } from "@nf/core";
import { alias, allocate, type Device, endAll } from "@nf/core/op";
import { FORMS, stepProgram } from "./forms.ts";
import { around, named, type SequenceAttributes, stepsOf, variantOf } from "./operands.ts";
import { at, fillView, flags, multiply, parts, range, repeated, run, turned } from "./steps.ts";

/**
 * Runs all steps. Results are the states, the last state and the last cell; in training besides them what the derivative reads:
 * states with the initial one, what was kept by gate, and cells with the initial one or what was kept besides.
 */
export function forwardSteps(
  inputs: readonly Tensor[],
  attributes: SequenceAttributes,
  device: Device,
): readonly Tensor[] {
  const made: Tensor[] = [];
  try {
    return compute(inputs, attributes, device, made);
  } catch (error) {
    endAll(made);
    throw error;
  }
}

function compute(
  inputs: readonly Tensor[],
  attributes: SequenceAttributes,
  device: Device,
  made: Tensor[],
): readonly Tensor[] {
  const { training, reverse } = attributes;
  const { projected, weight, hidden, cell, bias, live } = named(inputs, attributes);
  const form = FORMS[attributes.form];
  const [steps, batch] = projected.shape as readonly [number, number];
  const width = hidden.shape[1] as number;
  const make = (count: number, columns: number): Tensor => {
    const tensor = allocate(device, projected.dtype, [count, batch, columns], "recurrence");
    made.push(tensor);
    return tensor;
  };
  const keeps = training && form.gates > 1;
  const states = make(steps + 1, width);
  const gates = make(keeps ? steps : 1, form.gates * width);
  const cells = form.cell ? make(training ? steps + 1 : 1, width) : undefined;
  const extra = training && form.direct ? make(steps, width) : undefined;
  const cellAt = (row: number): readonly View[] =>
    cells === undefined ? [] : [at(cells.view, training ? row : 0)];

  const order = stepsOf(steps, reverse);
  const first = around(order[0] as number, reverse)[0];
  fillView(device, at(states.view, first), hidden.view);
  for (const view of cellAt(first)) fillView(device, view, cell?.view);
  const program = stepProgram(variantOf(attributes, projected.dtype));
  const product = turned(weight.view);
  const biases = bias === undefined ? [] : repeated(bias.view, width, batch);
  for (const step of order) {
    const [before, after] = around(step, reverse);
    const previous = at(states.view, before);
    const sums = at(gates.view, keeps ? step : 0);
    multiply(device, previous, product, sums);
    const byGate = parts(sums, width);
    run(
      device,
      program,
      [
        ...parts(at(projected.view, step), width),
        ...byGate,
        ...(form.direct || live !== undefined ? [previous] : []),
        ...cellAt(before),
        ...biases,
        ...(live === undefined ? [] : [flags(live.view, step, width)]),
      ],
      [
        at(states.view, after),
        ...cellAt(after),
        ...(keeps ? byGate : []),
        ...(extra === undefined ? [] : [at(extra.view, step)]),
      ],
    );
  }

  const last = around(order.at(-1) as number, reverse)[1];
  const results = [
    alias(states, range(states.view, reverse ? 0 : 1, steps), "recurrence"),
    alias(states, at(states.view, last), "recurrence"),
    ...(cells === undefined ? [] : cellAt(last).map((view) => alias(cells, view, "recurrence"))),
  ];
  const kept = training
    ? [states, ...(keeps ? [gates] : []), cells, extra].filter((one) => one !== undefined)
    : [];
  endAll(
    made.filter((one) => !kept.includes(one)),
    "it was a temporary",
  );
  return [...results, ...kept];
}
