import type { FunctionText } from "./text.ts";

/** Hyperbolic functions and the error function; within 1e-6 of the true value, relative. */
export const HYPERBOLIC: Readonly<Record<string, FunctionText>> = {
  coshF: "fn coshF(x: F) -> F { let half = expBy(abs(x), I(-1)); return half + F(0.25) / half; }",
  sinhF: `fn sinhF(x: F) -> F {
  let half = expBy(abs(x), I(-1));
  let z = x * x;
  let p = ((F(2.75573192e-6) * z + F(1.98412698e-4)) * z + F(8.33333333e-3)) * z + F(0.166666667);
  return select(withSign(half - F(0.25) / half, x), x + x * (z * p), abs(x) < F(1.0));
}`,
  // tanh and erf are odd quotients of polynomials (scripts/fit.py of backend-wasm), which pass 1 shortly before they are cut off.
  tanhF: `fn tanhF(x: F) -> F {
  let c = clamp(x, F(-9.6), F(9.6));
  let z = c * c;
  let p = (((F(-8.37069294e-08) * z - F(2.04552161e-05)) * z + F(0.00026015492)) * z + F(0.0754059553)) * z + F(0.875);
  let q = (((F(7.76209447e-07) * z + F(0.000328310678)) * z + F(0.0258711074)) * z + F(0.467130393)) * z + F(1.0);
  return select(clamp(c * (p / q + F(0.125)), F(-1.0), F(1.0)), x, isNan(x));
}`,
  asinhF: `fn asinhF(x: F) -> F {
  let a = abs(x);
  let z = a * a;
  let far = a > F(1e4);
  let near = log1pF(a + z / (F(1.0) + sqrt(z + F(1.0))));
  return select(withSign(select(near, logF(a) + F(0.693147181), far), x), x, isNan(x));
}`,
  acoshF: `fn acoshF(x: F) -> F {
  let t = x - F(1.0);
  let y = select(log1pF(t + sqrt(t * (t + F(2.0)))), logF(x) + F(0.693147181), x > F(1e4));
  return select(y, nan(), isNan(x) | (x < F(1.0)));
}`,
  atanhF: `fn atanhF(x: F) -> F {
  let a = abs(x);
  let y = F(0.5) * log1pF((F(2.0) * a) / (F(1.0) - a));
  return select(select(withSign(y, x), withSign(inf(), x), a == F(1.0)), nan(), isNan(x) | (a > F(1.0)));
}`,
  erfF: `fn erfF(x: F) -> F {
  let c = clamp(x, F(-4.1), F(4.1));
  let z = c * c;
  let p = ((((F(-9.83431255e-06) * z - F(7.93199724e-05)) * z - F(0.000907092006)) * z + F(0.0170848127)) * z + F(0.0337804332)) * z + F(0.815879166);
  let q = ((((F(3.80041201e-05) * z + F(0.00116521167)) * z + F(0.0149974246)) * z + F(0.114257455)) * z + F(0.502410352)) * z + F(1.0);
  return select(clamp(c * (p / q + F(0.3125)), F(-1.0), F(1.0)), x, isNan(x));
}`,
  // e^-x² times a quotient. The square is taken apart, or its rounding would show in the power: (h - x)(h + x) is what
  // that of x's upper half h lacks.
  erfcF: `fn erfcF(x: F) -> F {
  let a = min(abs(x), F(10.3));
  let h = bitcast<F>(bitcast<U>(a) & U(0xfffff000u));
  let square = h * h;
  let n = round(square * F(-1.44269504));
  let rest = ((h - a) * (h + a) + n * F(2.12194440e-4)) - (square + n * F(0.693359375));
  let p = (((F(0.0328849629) * a + F(0.229639754)) * a + F(0.732486784)) * a + F(1.23925257)) * a + F(1.0);
  let q = ((((F(0.0582863949) * a + F(0.407051861)) * a + F(1.32701635)) * a + F(2.40406418)) * a + F(2.36763239)) * a + F(1.0);
  let y = scaleBy(p / q * (expSeries(rest) + F(1.0)), I(n));
  return select(select(y, F(2.0) - y, x < F(0.0)), x, isNan(x));
}`,
};
