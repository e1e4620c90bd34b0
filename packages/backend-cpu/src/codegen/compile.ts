import {
  type ArithmeticError,
  castValue,
  checkFailure,
  floorMod,
  fromBfloatBits,
  fromHalfBits,
  type Program,
  reinterpret,
  SCALAR_OPS,
  special,
  threefryWord,
  toBfloatBits,
  toHalfBits,
} from "@nf/core";

/** Whether this place lets code be generated; a Content-Security-Policy may forbid it. */
export function canGenerateCode(): boolean {
  try {
    return new Function("return 1")() === 1;
  } catch {
    return false;
  }
}

let halfTable: Float32Array | undefined;

/** Every binary16 value by its bits: a look-up is far quicker than the arithmetic. */
function halves(): Float32Array {
  halfTable ??= Float32Array.from({ length: 65536 }, (_, bits) => fromHalfBits(bits));
  return halfTable;
}

/** Names that generated code may use. Their values are passed in, so it sees nothing else. */
const runtime = {
  erf: special.erf,
  erfc: special.erfc,
  floorMod,
  fromBfloatBits,
  reinterpret,
  roundHalfEven: special.roundHalfEven,
  threefryWord,
  toBfloatBits,
  toHalfBits,
  toI32: (value: number): number => castValue(value, "f64", "i32"),
  toU32: (value: number): number => castValue(value, "f64", "u32"),
  power: (a: number, b: number): number => SCALAR_OPS.pow.evaluate("f64", a, b, 0, 0, 0),
} as const;

const NAMES: readonly string[] = Object.keys(runtime);
const VALUES: readonly unknown[] = Object.values(runtime);

/**
 * Makes a function of generated source.
 *
 * @param program whose checks the source may fail, as `fail(code)`
 * @param parameters names of the function's parameters
 * @param setup statements run once, before the function is made
 */
export function compile(
  program: Program,
  parameters: readonly string[],
  body: string,
): (...args: readonly unknown[]) => void {
  const fail = (code: number): ArithmeticError => checkFailure(program, code);
  const usesHalves = body.includes("halves[");
  const source = `"use strict";\nreturn function kernel(${parameters.join(", ")}) {\n${body}\n};`;
  const make = new Function("fail", "halves", ...NAMES, source);
  return make(fail, usesHalves ? halves() : undefined, ...VALUES);
}
