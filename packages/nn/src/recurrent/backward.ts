import type { Tensor } from "@nf/core";
import { alias, allocate, type Device, endAll, type Op } from "@nf/core/op";
import { backProgram, FORMS } from "./forms.ts";
import { around, type SequenceAttributes, stepsOf, variantOf } from "./operands.ts";
import { at, fillView, flags, multiply, parts, run } from "./steps.ts";

/** Which of the inputs are there. */
export interface BackAttributes extends SequenceAttributes {
  /** Whether gradients arrive at the states. */
  readonly arriving: boolean;
  readonly lastHidden: boolean;
  readonly lastCell: boolean;
}

/** What the derivative of a recurrence reads. */
export interface BackInputs {
  readonly weight: Tensor;
  /** With the initial one. */
  readonly states: Tensor;
  /** What was kept by gate. */
  readonly kept?: Tensor | undefined;
  /** Cells with the initial one, or what was kept besides. */
  readonly more?: Tensor | undefined;
  readonly live?: Tensor | undefined;
  /** Gradients of the states, of the last one, and of the last cell. */
  readonly arriving?: Tensor | undefined;
  readonly lastHidden?: Tensor | undefined;
  readonly lastCell?: Tensor | undefined;
}

/**
 * All steps backwards. Results are gradients of the sums of gates: through the state, `[steps, batch, gates * hidden]`, of the
 * input where it is another; then of the initial state through its product and directly, and of the initial cell, `[batch, hidden]`.
 */
export const BACK: Op<BackAttributes> = {
  name: "recurrence'",
  forward(inputs, attributes, device) {
    const made: Tensor[] = [];
    try {
      return compute(inputs, attributes, device, made);
    } catch (error) {
      endAll(made);
      throw error;
    }
  },
};

/** Inputs as a list, absent ones left out. */
export function backList(inputs: BackInputs): readonly Tensor[] {
  const { weight, states, kept, more, live, arriving, lastHidden, lastCell } = inputs;
  return [weight, states, kept, more, live, arriving, lastHidden, lastCell].filter(
    (one) => one !== undefined,
  );
}

function byName(
  [weight, states, ...rest]: readonly Tensor[],
  { form, masked, arriving, lastHidden, lastCell }: BackAttributes,
): BackInputs {
  let next = 0;
  const take = (there: boolean): Tensor | undefined => (there ? rest[next++] : undefined);
  const { gates, cell, direct } = FORMS[form];
  return {
    weight: weight as Tensor,
    states: states as Tensor,
    kept: take(gates > 1),
    more: take(cell || direct),
    live: take(masked),
    arriving: take(arriving),
    lastHidden: take(lastHidden),
    lastCell: take(lastCell),
  };
}

function compute(
  inputs: readonly Tensor[],
  attributes: BackAttributes,
  device: Device,
  made: Tensor[],
): readonly Tensor[] {
  const { reverse, masked } = attributes;
  const { weight, states, kept, more, live, arriving, lastHidden, lastCell } = byName(inputs, attributes);
  const form = FORMS[attributes.form];
  const [rows, batch, width] = states.shape as readonly [number, number, number];
  const make = (count: number, columns: number): Tensor => {
    const tensor = allocate(device, states.dtype, [count, batch, columns], "recurrence'");
    made.push(tensor);
    return tensor;
  };
  const sums = make(rows - 1, form.gates * width);
  const input = form.direct ? make(rows - 1, form.gates * width) : undefined;
  // One block, because a device binds few of them to a call.
  const running = make(3, width);
  const [through, direct, cell] = [0, 1, 2].map((row) => at(running.view, row)) as [
    ReturnType<typeof at>,
    ReturnType<typeof at>,
    ReturnType<typeof at>,
  ];
  fillView(device, through, lastHidden?.view);
  fillView(device, direct, undefined);
  fillView(device, cell, lastCell?.view);

  const program = backProgram(variantOf(attributes, states.dtype, arriving !== undefined));
  const directly = form.direct || masked ? [direct] : [];
  for (const step of stepsOf(rows - 1, !reverse)) {
    const [before, after] = around(step, reverse);
    const own = at(sums.view, step);
    run(
      device,
      program,
      [
        through,
        ...directly,
        ...(arriving === undefined ? [] : [at(arriving.view, step)]),
        ...(form.cell ? [cell] : []),
        ...(kept === undefined ? [] : parts(at(kept.view, step), width)),
        ...(form.direct && more !== undefined ? [at(more.view, step)] : []),
        ...(form.gates > 1 ? [] : [at(states.view, after)]),
        ...(form.direct ? [at(states.view, before)] : []),
        ...(form.cell && more !== undefined ? [at(more.view, after), at(more.view, before)] : []),
        ...(live === undefined ? [] : [flags(live.view, step, width)]),
      ],
      [
        ...parts(own, width),
        ...(input === undefined ? [] : parts(at(input.view, step), width)),
        ...(form.cell ? [cell] : []),
        ...directly,
      ],
    );
    multiply(device, own, weight.view, through);
  }
  const results = [
    sums,
    ...(input === undefined ? [] : [input]),
    ...[through, direct, ...(form.cell ? [cell] : [])].map((view) => alias(running, view, "recurrence'")),
  ];
  running.end("it was a temporary");
  return results;
}
