import { assign, checkNumber, follow, noGrad, OptionError, ShapeError, Tensor, zerosLike } from "@nf/core";

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
  /** A number that follows from all steps so far, where the optimiser has one: NAdam's product of momenta. */
  readonly carried?: number;
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

/** Refuses what is not an optimiser's state at all. */
export function checkDict(optimizer: string, dict: OptimizerStateDict): void {
  const fits =
    isObject(dict) &&
    typeof dict.optimizer === "string" &&
    isObject(dict.state) &&
    Object.values(dict.state).every((saved) => isObject(saved) && isObject(saved.slots)) &&
    Array.isArray(dict.paramGroups) &&
    dict.paramGroups.every(
      (group: unknown) => isObject(group) && Array.isArray(Reflect.get(group, "params")),
    );
  if (!fits) {
    throw new OptionError(
      `${optimizer} loadStateDict: expected what stateDict() gives, an object with optimizer, state (count and slots of ` +
        `each parameter) and paramGroups, got ${isObject(dict) ? "another object" : String(dict)}.`,
    );
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
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
  if (saved.carried !== undefined)
    checkNumber(`${optimizer} loadStateDict`, `carried of parameter ${position}`, saved.carried, 0);
  for (const [slot, tensor] of Object.entries(saved.slots)) {
    if (!(tensor instanceof Tensor)) {
      throw new OptionError(
        `${optimizer} loadStateDict: ${slot} of parameter ${position} must be a tensor, got ${String(tensor)}.`,
      );
    }
    const { shape } = tensor;
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
