import type { FunctionText } from "./text.ts";

/** Powers of e, logarithms and what is made of them; within 1e-6 of the true value, relative. */
export const EXPONENTIAL: Readonly<Record<string, FunctionText>> = {
  // x 2^n in two steps, so that results down to subnormals and up to the greatest are right; |n| < 252.
  scaleBy: `fn scaleBy(x: F, n: I) -> F {
  let half = n >> U(1u);
  return x * bitcast<F>((half + I(127)) << U(23u)) * bitcast<F>((n - half + I(127)) << U(23u));
}`,
  // e^r - 1 for |r| below 0.42.
  expSeries: `fn expSeries(r: F) -> F {
  let z = r * r;
  let high = F(1.3926203361e-3) * z + (F(8.3631948844e-3) * r + F(4.1666554498e-2));
  return (high * z + (F(1.6666576895e-1) * r + F(0.5))) * z + r;
}`,
  // x less n times the logarithm of 2, which the first of two numbers has few bits of.
  expRest: "fn expRest(x: F, n: F) -> F { return (x - n * F(0.693359375)) + n * F(2.12194440e-4); }",
  // e^x 2^k for small k, right where e^x alone would overflow.
  expBy: `fn expBy(x: F, k: I) -> F {
  let c = clamp(x, F(-105.0), F(91.0));
  let n = round(c * F(1.44269504));
  return select(scaleBy(expSeries(expRest(c, n)) + F(1.0), I(n) + k), x, isNan(x));
}`,
  expF: "fn expF(x: F) -> F { return expBy(x, I(0)); }",
  expm1F: `fn expm1F(x: F) -> F {
  let c = clamp(x, F(-30.0), F(89.5));
  let n = round(c * F(1.44269504));
  let p = expSeries(expRest(c, n));
  let power = scaleBy(F(1.0), min(I(n), I(127)));
  let y = select(p * power + (power - F(1.0)), expF(x), c > F(88.0));
  return select(y, x, isNan(x) | (x == F(0.0)));
}`,
  // The exponent that leaves a mantissa in [0.7, 1.4].
  logExponent: "fn logExponent(bits: I) -> I { return (bits - I(0x3f330000)) >> U(23u); }",
  // x as m 2^k: m - 1 and k. Subnormal numbers become whole ones first.
  logParts: `fn logParts(x: F, k: ptr<function, F>) -> F {
  let own = bitcast<U>(x);
  let tiny = own < U(0x00800000u);
  let bits = bitcast<I>(select(own, bitcast<U>(F(own)), tiny));
  let e = logExponent(bits);
  *k = F(e) - select(F(0.0), F(149.0), tiny);
  return bitcast<F>(bits - (e << U(23u))) - F(1.0);
}`,
  // log(1 + f) as f - s (f - z p), which keeps f's exactness near 0; f in [-0.3, 0.41].
  logSeries: `fn logSeries(f: F) -> F {
  let s = f / (f + F(2.0));
  let z = s * s;
  return f - s * (f - z * logTail(z));
}`,
  logTail: `fn logTail(z: F) -> F {
  return (((F(0.181818182) * z + F(0.222222222)) * z + F(0.285714286)) * z + F(0.4)) * z + F(0.666666667);
}`,
  // What a logarithm is where x is no positive number.
  logEnds: `fn logEnds(y: F, x: F) -> F {
  let own = bitcast<U>(x);
  let zero = (own & U(0x7fffffffu)) == U(0u);
  let y1 = select(y, x, own >= U(0x7f800000u));
  return select(select(y1, nan(), own > U(0x80000000u)), -inf(), zero);
}`,
  logF: `fn logF(x: F) -> F {
  var k: F;
  let l = logSeries(logParts(x, &k));
  return logEnds(k * F(0.693359375) + (l + k * F(-2.12194440e-4)), x);
}`,
  log2F: `fn log2F(x: F) -> F {
  var k: F;
  let l = logSeries(logParts(x, &k));
  return logEnds(k + l * F(1.44269504), x);
}`,
  // Near 0, x itself is what is left of 1; further out, the rounding of 1 + x does not show.
  log1pF: `fn log1pF(x: F) -> F {
  var k: F;
  let u = x + F(1.0);
  let f = logParts(u, &k);
  let near = (x > F(-0.29)) & (x < F(0.4));
  let l = logSeries(select(f, x, near));
  let y = select(k * F(0.693359375) + (l + k * F(-2.12194440e-4)), l, near);
  return select(logEnds(y, u), x, x == F(0.0));
}`,
};
