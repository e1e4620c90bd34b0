import { OptionError } from "@nf/core";
import { kindOf } from "../ndarray.ts";

/** Items grouped by their classes. */
export interface Classes {
  /** Number of the class of each item; classes are counted in the order they first appear. */
  readonly ofItem: Int32Array;
  /** Items of each class, in their order. */
  readonly members: readonly (readonly number[])[];
}

/** @throws OptionError unless there is one label for each of `length` items. */
export function byClass(op: string, labels: ArrayLike<number | string>, length: number): Classes {
  requireList(op, "labels", labels);
  if (labels.length !== length) {
    throw new OptionError(`${op}: expected one label for each of the ${length} items, got ${labels.length}.`);
  }
  const numbers = new Map<number | string, number>();
  const members: number[][] = [];
  const ofItem = Int32Array.from({ length }, (_, index) => {
    const label = labels[index] as number | string;
    let number = numbers.get(label);
    if (number === undefined) {
      number = members.length;
      numbers.set(label, number);
      members.push([]);
    }
    members[number]?.push(index);
    return number;
  });
  return { ofItem, members };
}

/** @throws OptionError unless a value is an array or a typed array. */
export function requireList(op: string, name: string, value: unknown): void {
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value)) return;
  throw new OptionError(`${op}: ${name} must be an array, one value for each item, got ${kindOf(value)}.`);
}
