import { type ComputeDType, DTYPES, type DType, type Expr, type Language, type Program } from "@nf/core";

/** How one kernel spells what differs between kernels: where inputs are read and what becomes of results. */
export interface Places {
  /** The value of input `index`, converted to its compute dtype. */
  load(index: number): string;
  /** The coordinate along an axis counted from the end. */
  coordinate(axis: number): string;
  /** A statement that takes output `index`. */
  store(index: number, value: string, dtype: ComputeDType): string;
}

/** Reads one element; the result is a number, for bool 0 or 1. */
export function loadElement(dtype: DType, array: string, index: string): string {
  const raw = `${array}[${index}]`;
  if (dtype === "f16") return `halves[${raw}]`;
  return dtype === "bf16" ? `fromBfloatBits(${raw})` : raw;
}

/** Stores one element, rounded or wrapped as the dtype does. Arrays of floats and integers do it themselves. */
export function storeElement(dtype: DType, array: string, index: string, value: string): string {
  let stored = value;
  if (dtype === "f16") stored = `toHalfBits(${value})`;
  else if (dtype === "bf16") stored = `toBfloatBits(${value})`;
  else if (dtype === "bool") stored = `(${value} ? 1 : 0)`;
  return `${array}[${index}] = ${stored};`;
}

/** Declarations of a program's parameters, rounded to their dtypes, from an array named `params`. */
export function declareParams(program: Program): string {
  return program.params
    .map((dtype, index) => `const c${index} = ${round(dtype, `params[${index}]`)};`)
    .join("\n");
}

/**
 * JavaScript. Bool values are booleans or 0 and 1, told apart by nothing that uses them. Floats are computed in
 * doubles and rounded where they are stored; strict programs round every operation, which for +, -, *, / and sqrt
 * gives exactly the float32 result, since a double holds more than twice its digits.
 */
export function javascript(program: Program, places: Places): Language {
  return {
    constant: (value, dtype) => literal(dtype === "f32" ? Math.fround(value) : value),
    param: (index) => `c${index}`,
    coordinate: places.coordinate,
    load: (index) => places.load(index),
    operation: (expr, operands) => {
      const text = spellOperation(expr, operands);
      return program.strict && expr.dtype === "f32" && ROUNDED.has(expr.op) ? `Math.fround(${text})` : text;
    },
    declare: (name, _dtype, value) => `const ${name} = ${value};`,
    check: (condition, code) => `if (!${condition}) throw fail(${code});`,
    store: places.store,
  };
}

/** Operations whose result may have more digits than their operands. */
const EXACT: ReadonlySet<string> = new Set([
  "neg",
  "abs",
  "sign",
  "max",
  "min",
  "select",
  "floor",
  "ceil",
  "round",
  "trunc",
  "cast",
  "bitcast",
]);
const ROUNDED = { has: (op: string): boolean => !EXACT.has(op) };

function literal(value: number): string {
  if (Object.is(value, -0)) return "(-0)";
  return value < 0 ? `(${value})` : String(value);
}

function round(dtype: ComputeDType, text: string): string {
  switch (dtype) {
    case "f32":
      return `Math.fround(${text})`;
    case "i32":
      return `(${text} | 0)`;
    case "u32":
      return `(${text} >>> 0)`;
    case "bool":
      return `(${text} !== 0)`;
    default:
      return text;
  }
}

/** Wraps an integer result; floats stay doubles. */
function wrap(dtype: ComputeDType, text: string): string {
  return dtype === "i32" || dtype === "u32" ? round(dtype, text) : `(${text})`;
}

const INFIX: Readonly<Record<string, string>> = {
  add: "+",
  sub: "-",
  div: "/",
  and: "&",
  or: "|",
  xor: "^",
  shl: "<<",
};
const COMPARE: Readonly<Record<string, string>> = { eq: "===", ne: "!==", lt: "<", le: "<=" };
const FUNCTIONS: Readonly<Record<string, string>> = {
  mod: "floorMod",
  pow: "power",
  round: "roundHalfEven",
  erf: "erf",
  erfc: "erfc",
};

function spellOperation(expr: Expr, operands: readonly string[]): string {
  const { op, dtype } = expr;
  const [a, b, c] = operands as readonly [string, string, string];
  const from = (expr.args[0] as Expr).dtype;
  if (op in INFIX) return wrap(dtype, `${a} ${INFIX[op]} ${b}`);
  if (op in COMPARE) return from === "bool" ? `(+${a} ${COMPARE[op]} +${b})` : `(${a} ${COMPARE[op]} ${b})`;
  switch (op) {
    case "mul":
      return dtype === "i32" || dtype === "u32" ? wrap(dtype, `Math.imul(${a}, ${b})`) : `(${a} * ${b})`;
    case "floorDiv":
      return wrap(dtype, `Math.floor(${a} / ${b})`);
    case "shr":
      return dtype === "u32" ? `(${a} >>> ${b})` : `(${a} >> ${b})`;
    case "neg":
      return wrap(dtype, `-${a}`);
    case "not":
      return dtype === "bool" ? `(!${a})` : wrap(dtype, `~${a}`);
    case "isNaN":
      return `Number.isNaN(${a})`;
    case "isInf":
      return `(Math.abs(${a}) === Infinity)`;
    case "select":
      return `(${a} ? ${b} : ${c})`;
    case "cast":
      return spellCast(a, from, dtype);
    case "bitcast":
      return `reinterpret(${a}, "${from}", "${dtype}")`;
    case "threefry":
      return `threefryWord(${expr.value}, ${operands.join(", ")})`;
    default: {
      const call = `${FUNCTIONS[op] ?? `Math.${op}`}(${operands.join(", ")})`;
      return dtype === "i32" || dtype === "u32" ? wrap(dtype, call) : call;
    }
  }
}

function spellCast(a: string, from: ComputeDType, to: ComputeDType): string {
  if (to === "bool") return `(${a} !== 0)`;
  if (from === "bool") return `(${a} ? 1 : 0)`;
  if (DTYPES[from].kind === "float" && to === "i32") return `toI32(${a})`;
  if (DTYPES[from].kind === "float" && to === "u32") return `toU32(${a})`;
  return to === "f64" ? a : round(to, a);
}
