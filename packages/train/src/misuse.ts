import { OptionError, Tensor } from "@nf/core";

/** What a value is, in a few words, for messages. */
export function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value instanceof Tensor) return `a tensor of shape [${value.shape.join(", ")}]`;
  if (value instanceof Promise) return "a promise";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** @throws OptionError for what is no loss */
export function checkedLoss(value: unknown): Tensor {
  if (value instanceof Tensor) {
    if (value.size === 1) return value;
    throw new OptionError(`fit: loss must give a scalar tensor, got ${nameOf(value)}. End it with mean().`);
  }
  const hint =
    value instanceof Promise
      ? "It must not be async: nothing is read back in a step."
      : "Return what a loss function of @nf/core gives.";
  throw new OptionError(`fit: loss must give a scalar tensor, got ${nameOf(value)}. ${hint}`);
}

/** @throws OptionError for anything but true, false and nothing */
export function checkFlag(op: string, name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean")
    throw new OptionError(`${op}: ${name} must be true or false, got ${nameOf(value)}.`);
}

/** @throws OptionError for what is no path */
export function checkPath(op: string, what: string, path: unknown): void {
  if (typeof path !== "string" || path === "")
    throw new OptionError(`${op}: expected the path of a ${what}, got ${nameOf(path)}.`);
}
