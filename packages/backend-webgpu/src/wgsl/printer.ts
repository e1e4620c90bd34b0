import { type ComputeDType, DTYPES, type Expr, type Language, type Program, printProgram } from "@nf/core";
import { faultCode } from "../device/gpu.ts";
import { VALUE_TYPE } from "./access.ts";

/** How one kernel spells what differs between kernels: where inputs are read and what becomes of results. */
export interface Places {
  /** The value of input `index` in its compute dtype, as wide as the prelude's types. */
  load(index: number): string;
  /** The coordinate along an axis counted from the end, of type I. */
  coordinate(axis: number): string;
  /** A statement that takes output `index`. */
  store(index: number, value: string, dtype: ComputeDType): string;
}

/** Name of the buffer that failed checks are written to, of `atomic<u32>`. */
export const FAULTS = "faults";

/** Whether a program can fail. */
export function hasChecks(program: Program): boolean {
  return program.instructions.some(({ op }) => op === "check");
}

/** The statements that compute a program at one point, or at four at once where the prelude's types are vectors. */
export function printWgsl(program: Program, places: Places): string {
  const language: Language = {
    constant: literal,
    param: (index, dtype) =>
      dtype === "bool" ? `B(params.p${index} != 0u)` : `${VALUE_TYPE[dtype]}(params.p${index})`,
    coordinate: places.coordinate,
    load: places.load,
    operation: spell,
    declare: (name, dtype, value) => `let ${name}: ${VALUE_TYPE[dtype]} = ${value};`,
    check: (condition, code) =>
      `if (!all(${condition})) { atomicStore(&${FAULTS}[0], ${faultCode(program, code)}u); }`,
    store: places.store,
  };
  return printProgram(program, language).join("\n");
}

/** A number as a constant of its type. */
export function literal(value: number, dtype: ComputeDType): string {
  switch (dtype) {
    case "bool":
      return `B(${value !== 0})`;
    case "i32":
      return `I(${value})`;
    case "u32":
      return `U(${value}u)`;
    default:
      return float(Math.fround(value));
  }
}

function float(value: number): string {
  if (Number.isNaN(value)) return "nan()";
  if (value === Infinity) return "inf()";
  if (value === -Infinity) return "(-inf())";
  if (Object.is(value, -0)) return "F(bitcast<f32>(0x80000000u))";
  const text = String(value);
  return `F(${/[.e]/.test(text) ? text : `${text}.0`})`;
}

const INFIX: Readonly<Record<string, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  and: "&",
  or: "|",
};
const COMPARE: Readonly<Record<string, string>> = { eq: "==", ne: "!=", lt: "<", le: "<=" };
/** Operations that WGSL has, right for every value. */
const BUILT_IN: ReadonlySet<string> = new Set(["abs", "floor", "ceil", "round", "trunc"]);

function spell(expr: Expr, operands: readonly string[]): string {
  const { op, dtype } = expr;
  const [a, b, c] = operands;
  const from = expr.args[0].dtype;
  const floats = DTYPES[from].kind === "float";
  if (op in INFIX) return `(${a} ${INFIX[op]} ${b})`;
  if (op in COMPARE) {
    if (from === "bool") return compareBools(op, a, b);
    // NaN differs from all, which WGSL's compilers need not know.
    if (op === "eq" && floats) return `((${a} == ${b}) & !isNan(${a}))`;
    if (op === "ne" && floats) return `((${a} != ${b}) | isNan(${a}) | isNan(${b}))`;
    return `(${a} ${COMPARE[op]} ${b})`;
  }
  if (BUILT_IN.has(op)) return `${op}(${a})`;
  switch (op) {
    case "xor":
      return dtype === "bool" ? `(${a} != ${b})` : `(${a} ^ ${b})`;
    case "shl":
      return `(${a} << (${asUnsigned(b, dtype)} & U(31u)))`;
    case "shr":
      return `(${a} >> (${asUnsigned(b, dtype)} & U(31u)))`;
    case "floorDiv":
      return dtype === "u32" ? `(${a} / ${b})` : `floorDivI(${a}, ${b})`;
    case "mod":
      if (floats) return `floorModF(${a}, ${b})`;
      return dtype === "u32" ? `(${a} % ${b})` : `floorModI(${a}, ${b})`;
    case "max":
    case "min":
      return floats ? `${op}Nan(${a}, ${b})` : `${op}(${a}, ${b})`;
    case "neg":
      return dtype === "u32" ? `(U(0u) - ${a})` : `(-${a})`;
    case "sign":
      if (floats) return `signF(${a})`;
      return dtype === "u32" ? `min(${a}, U(1u))` : `sign(${a})`;
    case "not":
      return dtype === "bool" ? `(!${a})` : `(~${a})`;
    case "isNaN":
      return `isNan(${a})`;
    case "isInf":
      return `isInf(${a})`;
    case "select":
      return `select(${c}, ${b}, ${a})`;
    case "cast":
      return spellCast(a, from, dtype);
    case "bitcast":
      return `bitcast<${VALUE_TYPE[dtype]}>(${a})`;
    case "threefry":
      return `threefry(${operands.join(", ")}, ${expr.value}u)`;
    default:
      return `${op}F(${operands.join(", ")})`;
  }
}

const asUnsigned = (text: string, dtype: ComputeDType): string =>
  dtype === "u32" ? text : `bitcast<U>(${text})`;

function compareBools(op: string, a: string, b: string): string {
  if (op === "lt") return `((!${a}) & ${b})`;
  return op === "le" ? `((!${a}) | ${b})` : `(${a} ${COMPARE[op]} ${b})`;
}

function spellCast(a: string, from: ComputeDType, to: ComputeDType): string {
  const floats = DTYPES[from].kind === "float";
  if (to === "bool") {
    if (floats) return `((${a} != F(0.0)) | isNan(${a}))`;
    return `(${a} != ${VALUE_TYPE[from]}(0))`;
  }
  if (floats && to === "i32") return `floatToInt(${a})`;
  if (floats && to === "u32") return `floatToUint(${a})`;
  if (from === "u32" && DTYPES[to].kind === "float") return `uintToFloat(${a})`;
  return `${VALUE_TYPE[to]}(${a})`;
}
