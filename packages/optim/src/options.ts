import { OptionError } from "@nf/core";

/** Refuses a number below `least`, NaN and infinities. */
export function checkAtLeast(optimizer: string, name: string, value: number, least: number): void {
  if (!(Number.isFinite(value) && value >= least)) {
    throw new OptionError(
      `${optimizer}: ${name} must be a finite number of at least ${least}, got ${String(value)}.`,
    );
  }
}

/** Refuses a number outside `[0, 1)`. */
export function checkFraction(optimizer: string, name: string, value: number): void {
  if (!(value >= 0 && value < 1)) {
    throw new OptionError(`${optimizer}: ${name} must be from 0 to below 1, got ${String(value)}.`);
  }
}

/** Refuses anything but true and false. */
export function checkFlag(optimizer: string, name: string, value: boolean): void {
  if (typeof value !== "boolean") {
    throw new OptionError(`${optimizer}: ${name} must be true or false, got ${String(value)}.`);
  }
}
