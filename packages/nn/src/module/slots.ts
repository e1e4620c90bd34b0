import { Tensor } from "@nf/core";

/** A place in a module that holds a tensor or a submodule: `holder[key] === value`. */
export interface Slot<M> {
  /** Path from the module, joined by dots: `weight`, `blocks.0`. */
  readonly name: string;
  readonly holder: object;
  readonly key: string;
  readonly value: Tensor | M;
}

/** Whether a value is an object literal, whose properties a module looks through. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Places in an object's own properties, and in arrays and plain objects in them at any depth, in the order of the
 * properties. What is inside a submodule is that module's affair.
 */
export function slotsOf<M extends object>(
  holder: object,
  isModule: (value: unknown) => value is M,
): readonly Slot<M>[] {
  const slots: Slot<M>[] = [];
  const path = new Set<object>();
  const visit = (container: object, prefix: string): void => {
    if (path.has(container)) return;
    path.add(container);
    const entries: [string, unknown][] = Object.entries(container);
    for (const [key, value] of entries) {
      if (value instanceof Tensor || isModule(value))
        slots.push({ name: prefix + key, holder: container, key, value });
      else if (Array.isArray(value) || isPlainObject(value)) visit(value, `${prefix}${key}.`);
    }
    path.delete(container);
  };
  visit(holder, "");
  return slots;
}

/** Puts a value into a place. */
export function fillSlot(slot: Pick<Slot<unknown>, "holder" | "key">, value: unknown): void {
  Reflect.set(slot.holder, slot.key, value);
}
