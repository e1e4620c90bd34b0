import type { FunctionText } from "./text.ts";

/** Powers, roots and remainders. */
export const POWER: Readonly<Record<string, FunctionText>> = {
  // The upper 12 bits of a mantissa: products of such are exact.
  powHead: "fn powHead(x: F) -> F { return bitcast<F>(bitcast<U>(x) & U(0xfffff000u)); }",
  // |a|^b by a logarithm to base 2 in two numbers, for finite b and positive finite |a|.
  powSize: `fn powSize(a: F, b: F) -> F {
  var k: F;
  let f = logParts(a, &k);
  // s = f / (f + 2) as sh + sl.
  let d = f + F(2.0);
  let dh = powHead(d);
  let dl = f - (dh - F(2.0));
  let s = f / d;
  let sh = powHead(s);
  let sl = ((f - sh * dh) - sh * dl) / d;
  let z = s * s;
  // 2 / ln 2 in two numbers, times s; what is beyond the first term is small.
  let high = sh * F(2.884765625);
  let low = sh * F(0.000624456777926) + (sl * F(2.88539008) + (s * z * logTail(z)) * F(1.44269504));
  let whole = k + (high + low);
  let lh = powHead(whole);
  let rest = ((k - lh) + high) + low;
  let c = clamp(b, F(-1e10), F(1e10));
  let ch = powHead(c);
  let first = ch * lh;
  let second = ch * rest + (c - ch) * whole;
  let n = round(clamp(first + second, F(-160.0), F(130.0)));
  let t = clamp((first - n) + second, F(-0.6), F(0.6));
  return scaleBy(expSeries(t * F(0.693147181)) + F(1.0), I(n));
}`,
  powF: `fn powF(a: F, b: F) -> F {
  let x = abs(a);
  let y = abs(b);
  let whole = (trunc(b) == b) | (y >= F(8388608.0));
  let odd = whole & (y < F(16777216.0)) & ((I(clamp(b, F(-16777216.0), F(16777216.0))) & I(1)) == I(1));
  let ends = ((bitcast<U>(x) == U(0u)) | isInf(a)) | isInf(b);
  let up = (x > F(1.0)) == (b > F(0.0));
  let size = select(powSize(x, b), select(F(0.0), inf(), up), ends);
  let minus = (bitcast<U>(a) >> U(31u)) == U(1u);
  let signed = select(size, -size, minus & odd);
  let bad = isNan(a) | isNan(b) | (minus & !whole & !ends);
  let one = (a == F(1.0)) | (b == F(0.0)) | ((a == F(-1.0)) & isInf(b));
  return select(select(signed, nan(), bad), F(1.0), one);
}`,
  // A finite number's mantissa as a whole number with its leading bit in place, and the exponent that goes with it.
  mantissaOf: `fn mantissaOf(x: F, exponent: ptr<function, I>) -> U {
  let bits = bitcast<U>(x) & U(0x7fffffffu);
  let tiny = bits < U(0x00800000u);
  let normal = select(bits, bitcast<U>(F(bits)), tiny);
  *exponent = bitcast<I>(normal >> U(23u)) - select(I(0), I(149), tiny);
  return select((normal & U(0x7fffffu)) | U(0x800000u), U(0u), bits == U(0u));
}`,
  // Exact: the remainder of mantissas, eight bits of the quotient at a time.
  floorModF: `fn floorModF(a: F, b: F) -> F {
  var ea: I;
  var eb: I;
  var rest = mantissaOf(a, &ea);
  let by = max(mantissaOf(b, &eb), U(1u));
  var left = ea - eb;
  let less = left < I(0);
  rest = rest % by;
  while (any(left > I(0))) {
    let step = clamp(left, I(0), I(8));
    rest = (rest << bitcast<U>(step)) % by;
    left -= step;
  }
  let size = select(scaleBy(F(rest), eb - I(150)), abs(a), less | isInf(b));
  let y = withSign(size, a);
  let turned = select(y, y + b, (size != F(0.0)) & ((bitcast<U>(a) ^ bitcast<U>(b)) >= U(0x80000000u)));
  return select(turned, nan(), isNan(a) | isInf(a) | isNan(b) | (b == F(0.0)));
}`,
  // Subnormal numbers as whole ones: some adapters take them as zeros.
  sqrtF: `fn sqrtF(x: F) -> F {
  let bits = bitcast<U>(x);
  return select(sqrt(x), sqrt(F(bits << U(1u))) * F(2.6469779601696886e-23), bits < U(0x00800000u));
}`,
  signF: "fn signF(x: F) -> F { return select(sign(x), x, isNan(x) | (x == F(0.0))); }",
};
