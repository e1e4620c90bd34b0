import { assign, follow, noGrad, OptionError, ShapeError, type Tensor, zerosLike } from "@nf/core";

/** An optimiser's state for a checkpoint: what it keeps for each parameter, by the parameter's position over all groups. */
export interface OptimizerStateDict {
  /** Class of the optimiser. */
  readonly optimizer: string;
  readonly state: Readonly<Record<string, SavedParameterState>>;
  /** The groups' settings; `params` are positions. */
  readonly paramGroups: readonly SavedGroup[];
}

/** What is kept for one parameter. */
export interface SavedParameterState {
  /** Steps so far. */
  readonly count: number;
  /** Tensors by name (`momentumBuffer`, `expAvg`, …). */
  readonly slots: Readonly<Record<string, Tensor>>;
}

/** Settings of a group, and the positions of its parameters. */
export interface SavedGroup {
  readonly params: readonly number[];
  readonly [setting: string]: unknown;
}

/** A tensor of zeros that an optimiser keeps for a parameter; it moves to another backend with it. */
export function newSlot(parameter: Tensor): Tensor {
  const slot = noGrad(() => zerosLike(parameter)).keep();
  follow(slot, parameter);
  return slot;
}

/** Refuses saved state that is not a parameter's. */
export function checkSlots(
  optimizer: string,
  position: string,
  saved: SavedParameterState,
  parameter: Tensor,
): void {
  if (!Number.isInteger(saved.count) || saved.count < 0) {
    throw new OptionError(
      `${optimizer} loadStateDict: count of parameter ${position} must be a whole number, got ${saved.count}.`,
    );
  }
  for (const [slot, { shape }] of Object.entries(saved.slots)) {
    if (
      shape.length !== parameter.shape.length ||
      shape.some((size, axis) => size !== parameter.shape[axis])
    ) {
      throw new ShapeError(
        `${optimizer} loadStateDict: ${slot} of parameter ${position} must have shape [${parameter.shape.join(", ")}], ` +
          `got [${shape.join(", ")}].`,
      );
    }
  }
}

/** Copies of saved tensors, in the parameter's dtype. */
export function copySlots(saved: SavedParameterState, parameter: Tensor): Map<string, Tensor> {
  const slots = new Map<string, Tensor>();
  for (const [name, tensor] of Object.entries(saved.slots)) {
    const copy = newSlot(parameter);
    noGrad(() => assign(copy, tensor));
    slots.set(name, copy);
  }
  return slots;
}
