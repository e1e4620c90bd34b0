import type { FunctionText } from "./functions/text.ts";
import { FUNCTIONS } from "./functions.ts";

/*
 * Functions that shaders may use, each printed only where it is needed: short shaders compile fast. They are written in
 * F, I, U and B, which stand for f32, i32, u32 and bool or for vectors of four of them.
 *
 * WGSL lets compilers assume that there are no NaNs and infinities: `x != x` is false for NaN, `max(NaN, 0)` is 0. So
 * whatever must not lose them looks at bits, and constants that are not finite come from a variable.
 */
const BASICS: Readonly<Record<string, string>> = {
  bitsOfNan: "var<private> bitsOfNan: u32 = 0x7fc00000u;",
  bitsOfInf: "var<private> bitsOfInf: u32 = 0x7f800000u;",
  nan: "fn nan() -> F { return F(bitcast<f32>(bitsOfNan)); }",
  inf: "fn inf() -> F { return F(bitcast<f32>(bitsOfInf)); }",
  isNan: "fn isNan(x: F) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }",
  isInf: "fn isInf(x: F) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) == U(0x7f800000u); }",
  // Of two equal numbers the bits tell: +0 is greater than -0.
  maxNan: `fn maxNan(a: F, b: F) -> F {
  let even = bitcast<F>(bitcast<U>(a) & bitcast<U>(b));
  let m = select(select(b, a, a > b), even, a == b);
  return select(select(m, b, isNan(b)), a, isNan(a));
}`,
  minNan: `fn minNan(a: F, b: F) -> F {
  let even = bitcast<F>(bitcast<U>(a) | bitcast<U>(b));
  let m = select(select(b, a, a < b), even, a == b);
  return select(select(m, b, isNan(b)), a, isNan(a));
}`,
  halfToFloat: `fn halfToFloat(h: u32) -> f32 {
  let sign = (h & 0x8000u) << 16u;
  let exponent = (h >> 10u) & 31u;
  let mantissa = h & 0x3ffu;
  let normal = ((exponent + select(112u, 224u, exponent == 31u)) << 23u) | (mantissa << 13u);
  let small = bitcast<u32>(f32(mantissa) * 5.9604644775390625e-8);
  return bitcast<f32>(select(normal, small, exponent == 0u) | sign);
}`,
  // To nearest, ties to even; what rounds beyond the greatest number is infinite.
  floatToHalf: `fn floatToHalf(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return sign | 0x7e00u; }
  if (size >= 0x477ff000u) { return sign | 0x7c00u; }
  if (size < 0x38800000u) {
    let shift = min(126u - (size >> 23u), 31u);
    let mantissa = (size & 0x7fffffu) | 0x800000u;
    if (shift > 24u) { return sign; }
    let kept = mantissa >> shift;
    let rest = mantissa & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    return sign | (kept + select(0u, 1u, rest > half || (rest == half && (kept & 1u) == 1u)));
  }
  let rounded = size + 0xfffu + ((size >> 13u) & 1u);
  return sign | ((rounded - 0x38000000u) >> 13u);
}`,
  floatToBfloat: `fn floatToBfloat(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return select((bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u, (bits >> 16u) | 0x40u, nan);
}`,
  floatToInt: `fn floatToInt(x: F) -> I {
  let inside = I(clamp(x, F(-2147483648.0), F(2147483520.0)));
  return select(select(inside, I(2147483647), x >= F(2147483648.0)), I(0), isNan(x));
}`,
  floatToUint: `fn floatToUint(x: F) -> U {
  let inside = U(clamp(x, F(0.0), F(4294967040.0)));
  return select(select(inside, U(4294967295u), x >= F(4294967296.0)), U(0u), isNan(x));
}`,
  // By halves, which are exact: adapters round large whole numbers each in a way of their own.
  uintToFloat: "fn uintToFloat(x: U) -> F { return F(x >> U(16u)) * F(65536.0) + F(x & U(0xffffu)); }",
  floorDivI: `fn floorDivI(a: I, b: I) -> I {
  let quotient = a / b;
  let down = (a - quotient * b != I(0)) & ((a < I(0)) != (b < I(0)));
  return select(quotient, quotient - I(1), down);
}`,
  floorModI: `fn floorModI(a: I, b: I) -> I {
  let rest = a - (a / b) * b;
  return select(rest, rest + b, (rest != I(0)) & ((rest < I(0)) != (b < I(0))));
}`,
  threefry: `fn threefry(k0: U, k1: U, c0: U, c1: U, word: u32) -> U {
  let k2 = U(0x1bd11bdau) ^ k0 ^ k1;
  var x0 = c0 + k0;
  var x1 = c1 + k1;
${threefryRounds()}
  if (word == 0u) { return x0; }
  return x1;
}`,
};

function threefryRounds(): string {
  const rotations = [13, 15, 26, 6, 17, 29, 16, 24];
  const lines: string[] = [];
  for (let round = 0; round < 20; round++) {
    const by = rotations[round % 8];
    lines.push(`  x0 += x1; x1 = ((x1 << U(${by}u)) | (x1 >> U(${32 - by}u))) ^ x0;`);
    if (round % 4 === 3) {
      const step = (round + 1) / 4;
      lines.push(`  x0 += k${step % 3}; x1 += k${(step + 1) % 3} + U(${step}u);`);
    }
  }
  return lines.join("\n");
}

const ALL: Readonly<Record<string, FunctionText>> = { ...BASICS, ...FUNCTIONS };
const NAMES = new RegExp(`\\b(${Object.keys(ALL).join("|")})\\b`, "g");

const namesIn = (text: string): Set<string> => new Set(text.match(NAMES));

/** What a text needs of the functions, each after those that it needs itself. */
export function preludeFor(text: string, width: 1 | 4): string {
  const wrap = (type: string): string => (width === 1 ? type : `vec4<${type}>`);
  const printed: string[] = [
    `alias F = ${wrap("f32")}; alias I = ${wrap("i32")}; alias U = ${wrap("u32")}; alias B = ${wrap("bool")};`,
  ];
  const done = new Set<string>();
  const add = (name: string): void => {
    if (done.has(name)) return;
    done.add(name);
    const own = ALL[name];
    const text = typeof own === "string" ? own : own(width);
    for (const other of namesIn(text)) add(other);
    printed.push(text);
  };
  for (const name of namesIn(text)) add(name);
  return printed.join("\n");
}
