import { InvalidArgumentError } from "commander";

/** Greatest seed: seeds are unsigned 32-bit numbers. */
export const MAX_SEED: number = 2 ** 32 - 1;

/** Plain decimal notation; `Number` alone would also take "", "0x10" and " 7 ". */
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

function parseNumber(text: string, expected: string): number {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
}

/**
 * Reads a whole number in a range.
 *
 * @throws InvalidArgumentError saying which numbers are possible
 */
export function wholeNumber(low: number, high: number): (text: string) => number {
  const expected = `a whole number from ${low} to ${high}`;
  return (text) => {
    const value = parseNumber(text, expected);
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new InvalidArgumentError(`Expected ${expected}.`);
    }
    return value;
  };
}

/**
 * Reads a number greater than 0.
 *
 * @throws InvalidArgumentError saying so
 */
export function positiveNumber(text: string): number {
  const expected = "a number greater than 0, such as 0.001";
  const value = parseNumber(text, expected);
  if (value <= 0) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
}

/**
 * Reads a number in a range, both ends included.
 *
 * @param example a likely one, for the message
 * @throws InvalidArgumentError saying which numbers are possible
 */
export function numberBetween(low: number, high: number, example: number): (text: string) => number {
  const expected = `a number from ${low} to ${high}, such as ${example}`;
  return (text) => {
    const value = parseNumber(text, expected);
    if (value < low || value > high) throw new InvalidArgumentError(`Expected ${expected}.`);
    return value;
  };
}

/**
 * Reads a share: from 0 to below 1.
 *
 * @throws InvalidArgumentError saying so
 */
export function share(text: string): number {
  const expected = "a number from 0 to below 1, such as 0.05";
  const value = parseNumber(text, expected);
  if (value < 0 || value >= 1) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
}

/**
 * Takes any text that is not empty.
 *
 * @throws InvalidArgumentError for an empty one
 */
export function someText(text: string): string {
  if (text.trim() === "") throw new InvalidArgumentError("Expected some text, got none.");
  return text;
}
