import type { Tensor } from "@nf/core";
import { FORMS, type FormName, type Variant } from "./forms.ts";

/** What a recurrence over a sequence reads. */
export interface SequenceInputs {
  /** Product of the whole sequence with the input's weight, without a bias: `[steps, batch, gates * hidden]`. */
  readonly projected: Tensor;
  /** `[gates * hidden, hidden]` */
  readonly weight: Tensor;
  /** State before the first step, `[batch, hidden]`. */
  readonly hidden: Tensor;
  /** `[batch, hidden]`, where the form has a cell. */
  readonly cell?: Tensor | undefined;
  /** `[biases * hidden]`: by gate, then what stands inside of a gate. */
  readonly bias?: Tensor | undefined;
  /** Which sequences go on at a step, bool `[steps, batch]`; the others keep their state. Default all. */
  readonly live?: Tensor | undefined;
}

/** How a recurrence goes. */
export interface SequenceAttributes {
  readonly form: FormName;
  /** Whether it goes from the last step to the first. */
  readonly reverse: boolean;
  /** Whether it keeps what its derivative reads. */
  readonly training: boolean;
  readonly bias: boolean;
  readonly masked: boolean;
}

/** Inputs as a list, absent ones left out. */
export function listed({ projected, weight, hidden, cell, bias, live }: SequenceInputs): readonly Tensor[] {
  return [projected, weight, hidden, cell, bias, live].filter((one) => one !== undefined);
}

/** Inputs by name. */
export function named(
  [projected, weight, hidden, ...rest]: readonly Tensor[],
  { form, bias, masked }: SequenceAttributes,
): SequenceInputs {
  let next = 0;
  const take = (there: boolean): Tensor | undefined => (there ? rest[next++] : undefined);
  return {
    projected: projected as Tensor,
    weight: weight as Tensor,
    hidden: hidden as Tensor,
    cell: take(FORMS[form].cell),
    bias: take(bias),
    live: take(masked),
  };
}

/** What decides on the programs of a step. */
export function variantOf(
  { form, bias, masked, training }: SequenceAttributes,
  dtype: Tensor["dtype"],
  arriving = false,
): Variant {
  return { form, dtype: dtype === "f64" ? "f64" : "f32", masked, bias, training, arriving };
}

/** Steps in the order of the recurrence. */
export function stepsOf(steps: number, reverse: boolean): readonly number[] {
  const order = Array.from({ length: steps }, (_, step) => step);
  return reverse ? order.reverse() : order;
}

/** Rows before and after a step of a tensor that holds all states: one more than there are steps, for the initial one. */
export function around(step: number, reverse: boolean): readonly [before: number, after: number] {
  return reverse ? [step + 1, step] : [step, step + 1];
}
