/*
 * Functions that JavaScript's Math lacks. erf and erfc are quotients of polynomials on each of five intervals (error
 * below 1 ulp of float64), with the coefficients of fdlibm: Copyright (C) 1993 by Sun Microsystems, Inc. All rights
 * reserved. Developed at SunPro, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute
 * this software is freely granted, provided that this notice is preserved.
 */

/** Nearest whole number, half to even. Keeps -0, infinities and NaN. */
export function roundHalfEven(x: number): number {
  if (Math.abs(x) >= 4503599627370496) return x;
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? (floor === 0 && x < 0 ? -0 : floor) : Math.ceil(x);
  const even = floor % 2 === 0 ? floor : floor + 1;
  return even === 0 && x < 0 ? -0 : even;
}

/** c[0] + c[1] x + c[2] x² + … */
function polynomial(x: number, coefficients: readonly number[]): number {
  let sum = 0;
  for (let i = coefficients.length - 1; i >= 0; i--) sum = sum * x + (coefficients[i] as number);
  return sum;
}

const NEAR_ZERO = [
  [
    1.28379167095512558561e-1, -3.2504210724700149937e-1, -2.84817495755985104766e-2,
    -5.77027029648944159157e-3, -2.37630166566501626084e-5,
  ],
  [
    1, 3.97917223959155352819e-1, 6.50222499887672944485e-2, 5.08130628187576562776e-3,
    1.32494738004321644526e-4, -3.9602282787753681232e-6,
  ],
] as const;
const NEAR_ONE = [
  [
    -2.36211856075265944077e-3, 4.14856118683748331666e-1, -3.72207876035701323847e-1,
    3.18346619901161753674e-1, -1.10894694282396677476e-1, 3.54783043256182359371e-2,
    -2.166375594868790843e-3,
  ],
  [
    1, 1.06420880400844228286e-1, 5.40397917702171048937e-1, 7.18286544141962662868e-2,
    1.26171219808761642112e-1, 1.36370839120290507362e-2, 1.1984499846799107417e-2,
  ],
] as const;
const TAIL_NEAR = [
  [
    -9.86494403484714822705e-3, -6.93858572707181764372e-1, -1.05586262253232909814e1,
    -6.23753324503260060396e1, -1.62396669462573470355e2, -1.84605092906711035994e2,
    -8.12874355063065934246e1, -9.81432934416914548592,
  ],
  [
    1, 1.96512716674392571292e1, 1.376577541435190426e2, 4.34565877475229228821e2, 6.45387271733267880336e2,
    4.29008140027567833386e2, 1.08635005541779435134e2, 6.57024977031928170135, -6.04244152148580987438e-2,
  ],
] as const;
const TAIL_FAR = [
  [
    -9.86494292470009928597e-3, -7.99283237680523006574e-1, -1.77579549177547519889e1,
    -1.60636384855821916062e2, -6.37566443368389627722e2, -1.02509513161107724954e3,
    -4.83519191608651397019e2,
  ],
  [
    1, 3.03380607434824582924e1, 3.25792512996573918826e2, 1.53672958608443695994e3, 3.19985821950859553908e3,
    2.55305040643316442583e3, 4.74528541206955367215e2, -2.24409524465858183362e1,
  ],
] as const;
const ERF_ONE = 8.45062911510467529297e-1;
const tailBits = new DataView(new ArrayBuffer(8));

function quotient(x: number, [top, bottom]: readonly [readonly number[], readonly number[]]): number {
  return polynomial(x, top) / polynomial(x, bottom);
}

/** erfc(x) for x in [1.25, 28). */
function erfcTail(x: number): number {
  const inverse = 1 / (x * x);
  const ratio = quotient(inverse, x < 1 / 0.35 ? TAIL_NEAR : TAIL_FAR);
  // exp(-x²) with x² split so that its rounding error does not reach the exponent.
  tailBits.setFloat64(0, x);
  tailBits.setUint32(4, 0);
  const head = tailBits.getFloat64(0);
  return (Math.exp(-head * head - 0.5625) * Math.exp((head - x) * (head + x) + ratio)) / x;
}

/** Error function, 2/√π ∫₀ˣ exp(-t²) dt. */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(size)) return x;
  if (size < 0.84375) return x + x * quotient(x * x, NEAR_ZERO);
  const value = size < 1.25 ? ERF_ONE + quotient(size - 1, NEAR_ONE) : size < 6 ? 1 - erfcTail(size) : 1;
  return x < 0 ? -value : value;
}

/** 1 - erf(x), without the cancellation. */
export function erfc(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(size)) return x;
  if (size < 0.84375)
    return x < 0.25
      ? 1 - (x + x * quotient(x * x, NEAR_ZERO))
      : 0.5 - (x - 0.5 + x * quotient(x * x, NEAR_ZERO));
  if (size < 1.25) {
    const step = quotient(size - 1, NEAR_ONE);
    return x < 0 ? 1 + ERF_ONE + step : 1 - ERF_ONE - step;
  }
  if (size >= 28) return x < 0 ? 2 : 0;
  return x < 0 ? 2 - erfcTail(size) : erfcTail(size);
}
