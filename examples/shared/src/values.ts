import { InvalidArgumentError } from "commander";

/** `Number` alone would also take "", "0x10" and " 7 ". */
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/**
 * Reads a whole number of a range: for `argParser` of an option.
 *
 * @throws InvalidArgumentError saying which numbers are possible
 */
export function wholeNumber(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
    if (!Number.isInteger(value) || value < low || value > high)
      throw new InvalidArgumentError(`Expected a whole number from ${low} to ${high}.`);
    return value;
  };
}

/**
 * Reads a number above 0: for `argParser` of an option.
 *
 * @throws InvalidArgumentError saying so
 */
export function positiveNumber(text: string): number {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!(Number.isFinite(value) && value > 0))
    throw new InvalidArgumentError("Expected a number greater than 0, such as 0.001.");
  return value;
}
