import type { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";

/** Slots by PyTorch's names: `inProjWeight` becomes `in_proj_weight`. */
export function underscored(slots: readonly Slot<Module>[]): readonly Slot<Module>[] {
  return slots.map((slot) => ({
    ...slot,
    name: slot.name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  }));
}
