import { OptionError } from "@nf/core";
import type { HistoryRow } from "./events.ts";

/** Whether something gives batches. */
export function isIterable(value: unknown): value is object {
  return (
    typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value)
  );
}

/** Number of batches, where the data know it: of a `DataLoader` its `knownLength`, as its `length` may throw. */
export function lengthOf(data: unknown): number | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const length = "knownLength" in data ? data.knownLength : "length" in data ? data.length : undefined;
  return typeof length === "number" ? length : undefined;
}

/** Data whose order depends on an epoch that they are told. */
export function hasEpochs(data: object): data is { setEpoch(epoch: number): void } {
  return "setEpoch" in data && typeof data.setEpoch === "function";
}

/** A figure of a row by name: of the validation where there is one. */
export function figureOf(row: HistoryRow, name: string, option: string): number {
  const figures = row.validation ?? row.train;
  const value = Object.hasOwn(figures, name) ? figures[name as "loss"] : undefined;
  if (value === undefined) {
    throw new OptionError(`fit: ${option} is "${name}", and there are ${Object.keys(figures).join(", ")}.`);
  }
  return value;
}
