// Four floats at a time: arithmetic helpers and the functions that matter for speed, within 1.3e-6 of the true value,
// relative. NaN goes through all of them, infinities and signed zeros come out as they should.
#pragma once
#include "nf.h"

typedef f32 f32x4 __attribute__((vector_size(16)));
typedef f64 f64x2 __attribute__((vector_size(16)));
typedef i32 i32x4 __attribute__((vector_size(16)));
typedef u32 u32x4 __attribute__((vector_size(16)));
typedef f32 f32x4_any __attribute__((vector_size(16), aligned(4)));
typedef i32 i32x4_any __attribute__((vector_size(16), aligned(4)));

INLINE f32x4 splat4(f32 x) { return (f32x4){x, x, x, x}; }
INLINE f32x4 load4(const f32 *p) { return *(const f32x4_any *)p; }
INLINE void store4(f32 *p, f32x4 x) { *(f32x4_any *)p = x; }
// The first n of four; the others are 0, and nothing beyond is read.
INLINE f32x4 load4_part(const f32 *p, u32 n) {
  f32x4 x = {n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0};
  return x;
}
INLINE void store4_part(f32 *p, f32x4 x, u32 n) {
  for (u32 i = 0; i < n; i++) p[i] = x[i];
}
INLINE f32x4 as_f32(i32x4 x) { return (f32x4)x; }
INLINE i32x4 as_i32(f32x4 x) { return (i32x4)x; }
// NaN wins, as core wants it.
INLINE f32x4 max4(f32x4 a, f32x4 b) { return (f32x4)wasm_f32x4_max((v128_t)a, (v128_t)b); }
INLINE f32x4 min4(f32x4 a, f32x4 b) { return (f32x4)wasm_f32x4_min((v128_t)a, (v128_t)b); }
// One instruction each where those are many. Of two operands the first stays where they do not compare: a NaN does.
INLINE f32x4 at_least4(f32x4 a, f32x4 low) { return (f32x4)wasm_f32x4_pmax((v128_t)a, (v128_t)low); }
INLINE f32x4 at_most4(f32x4 a, f32x4 high) { return (f32x4)wasm_f32x4_pmin((v128_t)a, (v128_t)high); }
INLINE f32x4 abs4(f32x4 a) { return (f32x4)wasm_f32x4_abs((v128_t)a); }
INLINE f32x4 sqrt4(f32x4 a) { return (f32x4)wasm_f32x4_sqrt((v128_t)a); }
INLINE f32x4 nearest4(f32x4 a) { return (f32x4)wasm_f32x4_nearest((v128_t)a); }
INLINE i32x4 int4(f32x4 a) { return (i32x4)wasm_i32x4_trunc_sat_f32x4((v128_t)a); }
INLINE f32x4 float4(i32x4 a) { return (f32x4)wasm_f32x4_convert_i32x4((v128_t)a); }
// mask ? a : b; lanes of the mask are all ones or all zeros, as comparisons give them.
INLINE f32x4 select4(i32x4 mask, f32x4 a, f32x4 b) {
  return (f32x4)wasm_v128_bitselect((v128_t)a, (v128_t)b, (v128_t)mask);
}
INLINE u32 any4(i32x4 mask) { return wasm_v128_any_true((v128_t)mask); }

// a * b + c: fused in the relaxed module, rounded twice in the plain one. Never in strict programs.
INLINE f32x4 madd4(f32x4 a, f32x4 b, f32x4 c) {
#ifdef RELAXED
  return (f32x4)wasm_f32x4_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c);
#else
  return a * b + c;
#endif
}
INLINE f64x2 madd2(f64x2 a, f64x2 b, f64x2 c) {
#ifdef RELAXED
  return (f64x2)wasm_f64x2_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c);
#else
  return a * b + c;
#endif
}

// Sums and maxima over the lanes, in a fixed order.
INLINE f32 sum4(f32x4 x) { return (x[0] + x[2]) + (x[1] + x[3]); }
INLINE f32 hmax4(f32x4 x) {
  f32x4 y = max4(x, __builtin_shufflevector(x, x, 2, 3, 0, 1));
  y = max4(y, __builtin_shufflevector(y, y, 1, 0, 3, 2));
  return y[0];
}
INLINE f64x2 low2(f32x4 x) { return (f64x2)wasm_f64x2_promote_low_f32x4((v128_t)x); }
INLINE f64x2 high2(f32x4 x) { return low2(__builtin_shufflevector(x, x, 2, 3, 2, 3)); }

// 2^n for n in [-126, 127].
INLINE f32x4 power_of_two4(i32x4 n) { return as_f32((n + 127) << 23); }

// The nearest whole number as float and as integer, for |x| < 2^22: beyond 1.5 * 2^23 floats are whole numbers apart, so
// that adding it rounds. Anything for NaN.
INLINE f32x4 round4(f32x4 x, i32x4 *whole) {
  f32x4 shifted = x + 12582912.0f;
  *whole = as_i32(shifted) - 0x4b400000;
  return shifted - 12582912.0f;
}

// e^r - 1 for |r| below 0.42. Two halves side by side, for fewer steps that wait for one another.
INLINE f32x4 exp_series4(f32x4 r) {
  f32x4 z = r * r;
  f32x4 low = madd4(splat4(1.6666576895e-1f), r, splat4(0.5f));
  f32x4 high = madd4(splat4(8.3631948844e-3f), r, splat4(4.1666554498e-2f));
  high = madd4(splat4(1.3926203361e-3f), z, high);
  return madd4(madd4(high, z, low), z, r);
}
// x less n times the logarithm of 2.
INLINE f32x4 exp_rest4(f32x4 x, f32x4 n) { return (x - n * 0.693359375f) + n * 2.12194440e-4f; }

// e^x. The exponent is applied in two steps, so that results up to the greatest float and down to subnormals are right.
INLINE f32x4 exp4(f32x4 x) {
  x = at_most4(at_least4(x, splat4(-105.0f)), splat4(89.5f));
  i32x4 whole;
  f32x4 n = round4(x * 1.44269504f, &whole);
  f32x4 p = exp_series4(exp_rest4(x, n)) + 1.0f;
  i32x4 half = whole >> 1;
  return p * power_of_two4(half) * power_of_two4(whole - half);
}

// e^x - 1, exact near 0.
INLINE f32x4 expm1_4(f32x4 x) {
  f32x4 clamped = at_most4(at_least4(x, splat4(-30.0f)), splat4(89.5f));
  i32x4 whole;
  f32x4 n = round4(clamped * 1.44269504f, &whole);
  f32x4 p = exp_series4(exp_rest4(clamped, n));
  // 2^n (1 + p) - 1 = 2^n p + (2^n - 1), where the bracket is exact for the n that matter.
  i32x4 half = whole >> 1;
  f32x4 a = power_of_two4(half), b = power_of_two4(whole - half);
  f32x4 result = p * a * b + (a * b - 1.0f);
  // At 2^128 the bracket overflows although the whole may not: e^x is near enough there.
  result = select4(clamped > 88.0f, (p + 1.0f) * a * b, result);
  return select4(x == 0.0f, x, result);
}

// Natural logarithm. -inf at 0, NaN below.
INLINE f32x4 log4(f32x4 x) {
  i32x4 tiny = x < 1.17549435e-38f;
  f32x4 scaled = select4(tiny, x * 8388608.0f, x);
  i32x4 bits = as_i32(scaled);
  // The exponent that leaves a mantissa in [0.7, 1.4].
  i32x4 e = (bits - 0x3f330000) >> 23;
  f32x4 m = as_f32(bits - (e << 23));
  f32x4 exponent = float4(e) - select4(tiny, splat4(23.0f), splat4(0.0f));
  f32x4 f = m - 1.0f;
  f32x4 s = f / (f + 2.0f);
  f32x4 z = s * s;
  f32x4 p = splat4(2.0f / 11.0f);
  p = madd4(p, z, splat4(2.0f / 9.0f));
  p = madd4(p, z, splat4(2.0f / 7.0f));
  p = madd4(p, z, splat4(2.0f / 5.0f));
  p = madd4(p, z, splat4(2.0f / 3.0f));
  // log(1 + f) = f - s (f - z p), which keeps f's exactness near 1.
  f32x4 tail = exponent * -2.12194440e-4f - s * (f - z * p);
  f32x4 result = exponent * 0.693359375f + (f + tail);
  result = select4(x == __builtin_inff(), x, result);
  result = select4(x == 0.0f, splat4(-__builtin_inff()), result);
  return select4(~(x >= 0.0f), splat4(__builtin_nanf("")), result);
}

// log(1 + x), exact near 0: the rounding error of 1 + x is put back.
INLINE f32x4 log1p_4(f32x4 x) {
  f32x4 u = x + 1.0f;
  f32x4 error = select4(abs4(x) < 1.0f, x - (u - 1.0f), 1.0f - (u - x));
  f32x4 result = log4(u) + select4((u > 0.0f) & (u < 3.0e38f), error / u, splat4(0.0f));
  return select4(x == 0.0f, x, result);
}

// tanh and erf are odd rational functions (scripts/fit.py), which pass 1 shortly before they are cut off.
INLINE f32x4 tanh4(f32x4 x) {
  x = at_most4(at_least4(x, splat4(-9.6f)), splat4(9.6f));
  f32x4 z = x * x;
  f32x4 p = splat4(-8.37069294e-08f), q = splat4(7.76209447e-07f);
  p = madd4(p, z, splat4(-2.04552161e-05f));
  q = madd4(q, z, splat4(0.000328310678f));
  p = madd4(p, z, splat4(0.00026015492f));
  q = madd4(q, z, splat4(0.0258711074f));
  p = madd4(p, z, splat4(0.0754059553f));
  q = madd4(q, z, splat4(0.467130393f));
  p = madd4(p, z, splat4(0.875f));
  q = madd4(q, z, splat4(1.0f));
  return at_most4(at_least4(x * (p / q + 0.125f), splat4(-1.0f)), splat4(1.0f));
}

INLINE f32x4 erf4(f32x4 x) {
  x = at_most4(at_least4(x, splat4(-4.1f)), splat4(4.1f));
  f32x4 z = x * x;
  f32x4 p = splat4(-9.83431255e-06f), q = splat4(3.80041201e-05f);
  p = madd4(p, z, splat4(-7.93199724e-05f));
  q = madd4(q, z, splat4(0.00116521167f));
  p = madd4(p, z, splat4(-0.000907092006f));
  q = madd4(q, z, splat4(0.0149974246f));
  p = madd4(p, z, splat4(0.0170848127f));
  q = madd4(q, z, splat4(0.114257455f));
  p = madd4(p, z, splat4(0.0337804332f));
  q = madd4(q, z, splat4(0.502410352f));
  p = madd4(p, z, splat4(0.815879166f));
  q = madd4(q, z, splat4(1.0f));
  return at_most4(at_least4(x * (p / q + 0.3125f), splat4(-1.0f)), splat4(1.0f));
}

// 1 - erf(x), as exact in the tail: e^-x² times a rational function; *bell is e^-x². The square is taken apart, or its
// rounding would show in the power: (h - x)(h + x) is what that of x's upper half h lacks.
INLINE f32x4 erfc_bell4(f32x4 x, f32x4 *bell) {
  f32x4 a = at_most4(abs4(x), splat4(10.3f));
  f32x4 h = as_f32(as_i32(a) & (i32)0xfffff000);
  f32x4 square = h * h;
  i32x4 whole;
  f32x4 n = round4(square * -1.44269504f, &whole);
  f32x4 rest = ((h - a) * (h + a) + n * 2.12194440e-4f) - (square + n * 0.693359375f);
  i32x4 half = whole >> 1;
  f32x4 e = (exp_series4(rest) + 1.0f) * power_of_two4(half), power = power_of_two4(whole - half);
  *bell = e * power;
  f32x4 p = splat4(0.0328849629f), q = splat4(0.0582863949f);
  q = madd4(q, a, splat4(0.407051861f));
  p = madd4(p, a, splat4(0.229639754f));
  q = madd4(q, a, splat4(1.32701635f));
  p = madd4(p, a, splat4(0.732486784f));
  q = madd4(q, a, splat4(2.40406418f));
  p = madd4(p, a, splat4(1.23925257f));
  q = madd4(q, a, splat4(2.36763239f));
  p = madd4(p, a, splat4(1.0f));
  q = madd4(q, a, splat4(1.0f));
  f32x4 y = p / q * e * power;
  return select4(x < 0.0f, 2.0f - y, y);
}
INLINE f32x4 erfc4(f32x4 x) {
  f32x4 bell;
  return erfc_bell4(x, &bell);
}

// 1 / (1 + e^-x)
INLINE f32x4 sigmoid4(f32x4 x) { return 1.0f / (1.0f + exp4(-x)); }

// The argument less a multiple of π/2, in three steps; good up to LARGEST_ANGLE.
#define LARGEST_ANGLE 30000.0f
INLINE f32x4 reduce_angle4(f32x4 x, i32x4 *quadrant) {
  f32x4 n = round4(x * 0.636619772f, quadrant);
  f32x4 r = x - n * 1.5703125f;
  // The first three steps have few bits, so that n times them is exact.
  r = r - n * 0x1.fbp-12f;
  return (r - n * 0x1.51p-22f) - n * 0x1.0b461p-34f;
}
INLINE f32x4 sin_part4(f32x4 r, f32x4 z) {
  f32x4 p = splat4(1.0f / 362880.0f);
  p = madd4(p, z, splat4(-1.0f / 5040.0f));
  p = madd4(p, z, splat4(1.0f / 120.0f));
  p = madd4(p, z, splat4(-1.0f / 6.0f));
  return madd4(p * z, r, r);
}
INLINE f32x4 cos_part4(f32x4 z) {
  f32x4 p = splat4(-1.0f / 3628800.0f);
  p = madd4(p, z, splat4(1.0f / 40320.0f));
  p = madd4(p, z, splat4(-1.0f / 720.0f));
  p = madd4(p, z, splat4(1.0f / 24.0f));
  p = madd4(p, z, splat4(-0.5f));
  return madd4(p, z, splat4(1.0f));
}
INLINE f32x4 circle4(f32x4 x, i32 shift, u32 function) {
  if (any4(~(abs4(x) < LARGEST_ANGLE))) {
    f32x4 result;
    for (u32 i = 0; i < 4; i++) result[i] = (f32)js_math(function, x[i], 0);
    return result;
  }
  i32x4 quadrant;
  f32x4 r = reduce_angle4(x, &quadrant);
  quadrant += shift;
  f32x4 z = r * r;
  f32x4 value = select4((quadrant & 1) != 0, cos_part4(z), sin_part4(r, z));
  value = as_f32(as_i32(value) ^ ((quadrant & 2) << 30));
  // Adding up loses the sign of -0.
  return shift == 0 ? select4(x == 0.0f, x, value) : value;
}
INLINE f32x4 sin4(f32x4 x) { return circle4(x, 0, MATH_SIN); }
INLINE f32x4 cos4(f32x4 x) { return circle4(x, 1, MATH_COS); }

// The same for one number.
INLINE f32 exp1(f32 x) { return exp4(splat4(x))[0]; }
INLINE f32 log1(f32 x) { return log4(splat4(x))[0]; }
