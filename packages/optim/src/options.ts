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

/** Refuses what is not two numbers of `[0, 1)`. */
export function checkBetas(optimizer: string, betas: readonly [number, number]): void {
  if (!Array.isArray(betas) || betas.length !== 2) {
    throw new OptionError(
      `${optimizer}: betas must be two numbers, got ${JSON.stringify(betas) ?? String(betas)}.`,
    );
  }
  checkFraction(optimizer, "betas[0]", betas[0]);
  checkFraction(optimizer, "betas[1]", betas[1]);
}

/** Refuses anything but true and false. */
export function checkFlag(optimizer: string, name: string, value: boolean): void {
  if (typeof value !== "boolean") {
    throw new OptionError(`${optimizer}: ${name} must be true or false, got ${String(value)}.`);
  }
}

/** Refuses settings that are neither true nor false, and numbers below 0. What is neither is left to its own check. */
export function checkSettings(optimizer: string, settings: object, flags: readonly string[]): void {
  for (const [name, value] of Object.entries(settings)) {
    if (flags.includes(name)) checkFlag(optimizer, name, value);
    else if (name !== "betas" && name !== "params") checkAtLeast(optimizer, name, value, 0);
  }
}
