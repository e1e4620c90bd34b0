import { DTypeError } from "./errors.ts";

/** Element types a tensor can have. `f16` and `bf16` are storage: programs compute them in `f32`. */
export type DType = "f32" | "f64" | "f16" | "bf16" | "i32" | "u32" | "u8" | "i8" | "bool";

/** Element types scalar programs compute in. */
export type ComputeDType = "f32" | "f64" | "i32" | "u32" | "bool";

/** The family an element type belongs to. */
export type DTypeKind = "float" | "int" | "uint" | "bool";

/** Facts about one element type. */
export interface DTypeInfo {
  readonly name: DType;
  /** Bytes of one element in a buffer. */
  readonly bytes: number;
  readonly kind: DTypeKind;
  /** What scalar programs compute this type in. */
  readonly compute: ComputeDType;
  /** Least and greatest integer held; undefined for floats. */
  readonly range: readonly [number, number] | undefined;
}

/** The table of all element types. */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  f32: { name: "f32", bytes: 4, kind: "float", compute: "f32", range: undefined },
  f64: { name: "f64", bytes: 8, kind: "float", compute: "f64", range: undefined },
  f16: { name: "f16", bytes: 2, kind: "float", compute: "f32", range: undefined },
  bf16: { name: "bf16", bytes: 2, kind: "float", compute: "f32", range: undefined },
  i32: { name: "i32", bytes: 4, kind: "int", compute: "i32", range: [-2147483648, 2147483647] },
  u32: { name: "u32", bytes: 4, kind: "uint", compute: "u32", range: [0, 4294967295] },
  u8: { name: "u8", bytes: 1, kind: "uint", compute: "u32", range: [0, 255] },
  i8: { name: "i8", bytes: 1, kind: "int", compute: "i32", range: [-128, 127] },
  bool: { name: "bool", bytes: 1, kind: "bool", compute: "bool", range: [0, 1] },
};

/** All element types, in the order of {@link DTYPES}. */
export const DTYPE_NAMES: readonly DType[] = Object.keys(DTYPES) as DType[];

/** Whether `dtype` is a floating-point type. */
export function isFloat(dtype: DType): boolean {
  return DTYPES[dtype].kind === "float";
}

/** Whether `dtype` is a signed or unsigned integer type (bool is neither). */
export function isInteger(dtype: DType): boolean {
  const kind = DTYPES[dtype].kind;
  return kind === "int" || kind === "uint";
}

/**
 * The type two operands are computed in, by PyTorch's rules over the types we have: bool gives way to integers,
 * integers to floats, and two different 16-bit floats meet in `f32`.
 *
 * @param op what they meet in, for the message
 * @throws DTypeError for `u32` with a signed integer: their common type would be `i64`, which no backend holds.
 */
export function promoteTypes(a: DType, b: DType, op = "promoteTypes"): DType {
  if (a === b) return a;
  const left = DTYPES[a];
  const right = DTYPES[b];
  if (left.kind === "bool") return b;
  if (right.kind === "bool") return a;
  if (left.kind === "float" || right.kind === "float") {
    if (left.kind !== "float") return b;
    if (right.kind !== "float") return a;
    if (left.bytes !== right.bytes) return left.bytes > right.bytes ? a : b;
    return "f32";
  }
  if (left.kind === right.kind) return left.bytes > right.bytes ? a : b;
  const [signed, unsigned] = left.kind === "int" ? [left, right] : [right, left];
  if (unsigned.bytes === 4) {
    throw new DTypeError(
      `${op}: ${a} and ${b} have no common integer type here (it would be i64). Cast one of them first: x.cast("${signed.name}").`,
    );
  }
  return "i32";
}

/** Refuses a name that is not an element type. */
export function checkDType(op: string, dtype: string): asserts dtype is DType {
  if (!Object.hasOwn(DTYPES, dtype)) {
    throw new DTypeError(`${op}: unknown dtype "${String(dtype)}". Choose one of ${DTYPE_NAMES.join(", ")}.`);
  }
}
