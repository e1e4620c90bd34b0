import type { Expr } from "./expr.ts";
import * as s from "./expr.ts";

/*
 * Random bits to numbers, with nothing but integer steps, + - * / and square roots: correctly rounded everywhere, so
 * a `strict` program gives the same bits on every backend that honours it.
 */

/** A uniform number in [0, 1) from two random words: a multiple of 2^-24, or of 2^-53 for f64. */
export function uniformFromBits(high: Expr, low: Expr, dtype: "f32" | "f64"): Expr {
  if (dtype === "f32") return s.mul(s.cast(s.shr(high, s.constant(8, "u32")), "f32"), 2 ** -24);
  const upper = s.mul(s.cast(s.shr(high, s.constant(5, "u32")), "f64"), 2 ** 26);
  return s.mul(s.add(upper, s.cast(s.shr(low, s.constant(6, "u32")), "f64")), 2 ** -53);
}

/** A uniform number strictly between 0 and 1, symmetric about a half: an odd multiple of 2^-24 (f64: 2^-53). */
function openUniform(high: Expr, low: Expr, dtype: "f32" | "f64"): Expr {
  const count =
    dtype === "f32"
      ? s.cast(s.shr(high, s.constant(9, "u32")), "f32")
      : s.add(s.mul(s.cast(high, "f64"), 2 ** 20), s.cast(s.shr(low, s.constant(12, "u32")), "f64"));
  return s.mul(s.add(s.mul(count, 2), 1), dtype === "f32" ? 2 ** -24 : 2 ** -53);
}

/** c[0] + c[1] x + c[2] x² + … */
function polynomial(x: Expr, coefficients: readonly number[]): Expr {
  return coefficients
    .slice(0, -1)
    .reduceRight<Expr>(
      (sum, c) => s.add(s.mul(sum, x), c),
      s.constant(coefficients.at(-1) as number, x.dtype),
    );
}

/** Natural logarithm of a number in (2^-64, 1], by scaling with powers of two and the series of atanh. */
export function strictLog(x: Expr): Expr {
  let mantissa = x;
  let exponent: Expr = s.constant(0, x.dtype);
  for (const step of [32, 16, 8, 4, 2, 1]) {
    const small = s.lt(mantissa, 2 ** -step * Math.SQRT2);
    mantissa = s.select(small, s.mul(mantissa, 2 ** step), mantissa);
    exponent = s.select(small, s.sub(exponent, step), exponent);
  }
  const t = s.div(s.sub(mantissa, 1), s.add(mantissa, 1));
  const terms = x.dtype === "f32" ? 6 : 12;
  const series = Array.from({ length: terms }, (_, k) => 2 / (2 * k + 1));
  return s.add(s.mul(t, polynomial(s.mul(t, t), series)), s.mul(exponent, Math.LN2));
}

/** Coefficients of one range of the quantile function: numerator and denominator. */
type Rational = readonly [readonly number[], readonly number[]];

// Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37, 1988:
// PPND7 for f32 (7 digits), PPND16 for f64 (16 digits). Ranges: centre, tail, far tail.
const QUANTILE: Readonly<Record<"f32" | "f64", readonly [Rational, Rational, Rational]>> = {
  f32: [
    [
      [3.3871327179, 50.434271938, 159.29113202, 59.10937472],
      [1, 17.895169469, 78.757757664, 67.1875636],
    ],
    [
      [1.4234372777, 2.75681539, 1.3067284816, 0.17023821103],
      [1, 0.7370016425, 0.12021132975],
    ],
    [
      [6.657905115, 3.081226386, 0.42868294337, 0.017337203997],
      [1, 0.24197894225, 0.012258202635],
    ],
  ],
  f64: [
    [
      [
        3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
        45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727,
      ],
      [
        1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077, 21213.794301586595867,
        39307.89580009271061, 28729.085735721942674, 5226.495278852854561,
      ],
    ],
    [
      [
        1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
        1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4,
      ],
      [
        1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455, 0.14810397642748007459,
        0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9,
      ],
    ],
    [
      [
        6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
        0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5,
        2.01033439929228813265e-7,
      ],
      [
        1, 0.59983220655588793769, 0.1369298809227358053, 0.0148753612908506148525, 7.868691311456132591e-4,
        1.8463183175100546818e-5, 1.4215117583164458887e-7, 2.04426310338993978564e-15,
      ],
    ],
  ],
};

function quotient(x: Expr, [top, bottom]: Rational): Expr {
  return s.div(polynomial(x, top), polynomial(x, bottom));
}

/** A normal number of mean 0 and deviation 1 from two random words: the quantile of a uniform one. */
export function normalFromBits(high: Expr, low: Expr, dtype: "f32" | "f64"): Expr {
  const [centre, tail, farTail] = QUANTILE[dtype];
  const p = openUniform(high, low, dtype);
  const q = s.sub(p, 0.5);
  const inner = s.mul(q, quotient(s.sub(0.180625, s.mul(q, q)), centre));
  const r = s.sqrt(s.neg(strictLog(s.min(p, s.sub(1, p)))));
  const outer = s.select(s.le(r, 5), quotient(s.sub(r, 1.6), tail), quotient(s.sub(r, 5), farTail));
  return s.select(s.le(s.abs(q), 0.425), inner, s.select(s.lt(q, 0), s.neg(outer), outer));
}
