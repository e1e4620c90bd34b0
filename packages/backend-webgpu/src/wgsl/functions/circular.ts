import type { FunctionText } from "./text.ts";

/** Sine and its kin and their inverses; within 1e-6 of the true value, relative, for arguments of any size. */
export const CIRCULAR: Readonly<Record<string, FunctionText>> = {
  // Bits of 2/π behind 32 zeros.
  twoByPi: `const twoByPi = array<u32, 8>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);`,
  // The upper word of a product, of which m has at most 24 bits.
  upperWord: `fn upperWord(m: u32, t: u32) -> u32 {
  let low = m & 0xffffu;
  let high = m >> 16u;
  let a = low * (t >> 16u);
  let b = high * (t & 0xffffu);
  let carry = (a & 0xffffu) + (b & 0xffffu) + ((low * (t & 0xffffu)) >> 16u);
  return high * (t >> 16u) + (a >> 16u) + (b >> 16u) + (carry >> 16u);
}`,
  // A large angle as quarter turns (the second number, modulo 4) and a rest: its mantissa times those 96 bits of 2/π that
  // matter, of which whole turns drop out above.
  largeAngle: `fn largeAngle(x: f32) -> vec2<f32> {
  let bits = bitcast<u32>(x);
  let m = (bits & 0x7fffffu) | 0x800000u;
  // 30 - 150 + exponent; from 0 on, whatever the argument is.
  let place = clamp((bits >> 23u) & 0xffu, 130u, 254u) - 120u;
  let word = place >> 5u;
  let by = place & 31u;
  let t0 = twoByPi[word];
  let t1 = twoByPi[word + 1u];
  let t2 = twoByPi[word + 2u];
  let a = (t0 << by) | ((t1 >> 1u) >> (31u - by));
  let b = (t1 << by) | ((t2 >> 1u) >> (31u - by));
  let c = (t2 << by) | ((twoByPi[word + 3u] >> 1u) >> (31u - by));
  let middle = m * b;
  var low = middle + upperWord(m, c);
  var high = m * a + upperWord(m, b) + select(0u, 1u, low < middle);
  // To the nearest quarter: the rest has a sign then.
  let quarters = (high + 0x20000000u) >> 30u;
  high = (high << 2u) | (low >> 30u);
  low = low << 2u;
  let negative = high >= 0x80000000u;
  if (negative) { high = ~high; low = ~low; }
  let rest = (f32(high) * 2.3283064365386963e-10 + f32(low) * 5.421010862427522e-20) * 1.57079633;
  let sign = negative != (x < 0.0);
  return vec2<f32>(select(rest, -rest, sign), f32(select(quarters, (4u - quarters) & 3u, x < 0.0)));
}`,
  // The argument less a multiple of π/2: in steps of few bits, so that n times them is exact.
  reduceAngle: (width) => `fn reduceAngle(x: F, quadrant: ptr<function, I>) -> F {
  if (any((bitcast<U>(x) & U(0x7fffffffu)) >= U(0x46ea6000u))) {
    ${
      width === 1
        ? "let one = largeAngle(x); *quadrant = i32(one.y); return one.x;"
        : "var rest: F; for (var i = 0; i < 4; i++) { let one = largeReal(x[i]); rest[i] = one.x; (*quadrant)[i] = i32(one.y); } return rest;"
    }
  }
  return smallAngle(x, quadrant);
}`,
  largeReal: `fn largeReal(x: f32) -> vec2<f32> {
  if (abs(x) >= 30000.0) { return largeAngle(x); }
  let n = round(x * 0.636619772);
  let r = ((x - n * 1.5703125) - n * 0.00048351287841796875) - n * 3.1385570764541626e-7;
  return vec2<f32>(r - n * 6.07709993438732e-11, n);
}`,
  smallAngle: `fn smallAngle(x: F, quadrant: ptr<function, I>) -> F {
  let n = round(x * F(0.636619772));
  *quadrant = I(n);
  let r = ((x - n * F(1.5703125)) - n * F(0.00048351287841796875)) - n * F(3.1385570764541626e-7);
  return r - n * F(6.07709993438732e-11);
}`,
  sinPart: `fn sinPart(r: F) -> F {
  let z = r * r;
  let p = ((F(2.75573192e-6) * z - F(1.98412698e-4)) * z + F(8.33333333e-3)) * z - F(0.166666667);
  return p * z * r + r;
}`,
  cosPart: `fn cosPart(r: F) -> F {
  let z = r * r;
  let p = ((F(-2.75573192e-7) * z + F(2.48015873e-5)) * z - F(1.38888889e-3)) * z + F(4.16666667e-2);
  return (p * z - F(0.5)) * z + F(1.0);
}`,
  circle: `fn circle(x: F, shift: i32) -> F {
  var quadrant: I;
  let r = reduceAngle(x, &quadrant);
  let q = bitcast<U>(quadrant + I(shift));
  let y = select(sinPart(r), cosPart(r), (q & U(1u)) == U(1u));
  let turned = bitcast<F>(bitcast<U>(y) ^ ((q & U(2u)) << U(30u)));
  return select(turned, nan(), (bitcast<U>(x) & U(0x7f800000u)) == U(0x7f800000u));
}`,
  sinF: "fn sinF(x: F) -> F { return select(circle(x, 0), x, x == F(0.0)); }",
  cosF: "fn cosF(x: F) -> F { return circle(x, 1); }",
  tanF: `fn tanF(x: F) -> F {
  var quadrant: I;
  let r = reduceAngle(x, &quadrant);
  let odd = (quadrant & I(1)) == I(1);
  let s = sinPart(r);
  let c = cosPart(r);
  let y = select(s, -c, odd) / select(c, s, odd);
  let bad = (bitcast<U>(x) & U(0x7f800000u)) == U(0x7f800000u);
  return select(select(y, x, x == F(0.0)), nan(), bad);
}`,
  // Inverses by quotients of polynomials (scripts/fit.py of backend-wasm). x from 0 to 1:
  atanPart: `fn atanPart(x: F) -> F {
  let z = x * x;
  let p = ((F(-0.0163330678) * z - F(0.000656708609)) * z + F(0.397860229)) * z + F(0.5);
  let q = ((F(0.0504580587) * z + F(0.573616564)) * z + F(1.46238685)) * z + F(1.0);
  return x * (p / q + F(0.5));
}`,
  withSign:
    "fn withSign(size: F, x: F) -> F { return bitcast<F>(bitcast<U>(size) | (bitcast<U>(x) & U(0x80000000u))); }",
  atanF: `fn atanF(x: F) -> F {
  let a = abs(x);
  let far = a > F(1.0);
  let y = atanPart(select(a, F(1.0) / a, far));
  return select(withSign(select(y, F(1.57079633) - y, far), x), x, isNan(x));
}`,
  // Sizes are compared by bits, and small numbers are made greater: some adapters take subnormal ones as zeros.
  atan2F: `fn atan2F(y: F, x: F) -> F {
  let a = bitcast<U>(abs(y));
  let b = bitcast<U>(abs(x));
  let steep = a > b;
  let least = min(a, b);
  let most = max(a, b);
  let by = select(F(1.0), F(1.8446744e19), most < U(0x21800000u));
  let quotient = (bitcast<F>(least) * by) / (bitcast<F>(most) * by);
  let ratio = select(quotient, F(least) / F(most), most < U(0x00800000u));
  let none = (least == U(0u)) | (most == U(0x7f800000u));
  let first = atanPart(select(select(ratio, F(0.0), none), F(1.0), (least == most) & (least != U(0u))));
  let half = select(first, F(1.57079633) - first, steep);
  let whole = select(half, F(3.14159265) - half, (bitcast<U>(x) >> U(31u)) == U(1u));
  return select(withSign(whole, y), nan(), isNan(x) | isNan(y));
}`,
  // For |x| up to 1/2.
  asinPart: `fn asinPart(x: F) -> F {
  let z = x * x;
  let p = z * (F(0.16666621) - F(0.0900167152) * z);
  return x + x * (p / ((F(0.178466037) * z - F(0.990177214)) * z + F(1.0)));
}`,
  asinF: `fn asinF(x: F) -> F {
  let a = abs(x);
  let far = a > F(0.5);
  let y = asinPart(select(a, sqrt((F(1.0) - a) * F(0.5)), far));
  let size = withSign(select(y, F(1.57079633) - F(2.0) * y, far), x);
  return select(size, nan(), isNan(x) | (a > F(1.0)));
}`,
  acosF: `fn acosF(x: F) -> F {
  let a = abs(x);
  let far = a > F(0.5);
  let y = asinPart(select(x, sqrt((F(1.0) - a) * F(0.5)), far));
  let size = select(F(1.57079633) - y, select(F(2.0) * y, F(3.14159265) - F(2.0) * y, x < F(0.0)), far);
  return select(size, nan(), isNan(x) | (a > F(1.0)));
}`,
};
