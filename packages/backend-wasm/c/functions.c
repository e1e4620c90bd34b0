// Functions that rarely matter, a point at a time: those of JavaScript's Math, and the error function of doubles.
#include "program.h"

// JavaScript's remainder made to have the sign of the divisor.
static f64 floor_mod(f64 a, f64 b) {
  f64 rest = js_math(MATH_MOD, a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static f64 power(f64 a, f64 b) {
  if (a == 1 || (a == -1 && __builtin_fabs(b) == __builtin_inf())) return 1;
  return js_math(MATH_POW, a, b);
}

// erf and erfc with the coefficients of fdlibm (s_erf.c), as in core's special.ts: a quotient of polynomials on each of
// five intervals. fdlibm asks that its notice be kept:
//
//   Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
//
//   Developed at SunPro, a Sun Microsystems, Inc. business.
//   Permission to use, copy, modify, and distribute this
//   software is freely granted, provided that this notice
//   is preserved.
static f64 quotient(f64 x, const f64 *top, u32 tops, const f64 *bottom, u32 bottoms) {
  f64 a = 0, b = 0;
  for (u32 i = tops; i-- > 0;) a = a * x + top[i];
  for (u32 i = bottoms; i-- > 0;) b = b * x + bottom[i];
  return a / b;
}
#define QUOTIENT(x, name)                                                                                              \
  quotient(x, name##_TOP, sizeof(name##_TOP) / 8, name##_BOTTOM, sizeof(name##_BOTTOM) / 8)

static const f64 ZERO_TOP[] = {1.28379167095512558561e-1, -3.2504210724700149937e-1, -2.84817495755985104766e-2,
                               -5.77027029648944159157e-3, -2.37630166566501626084e-5};
static const f64 ZERO_BOTTOM[] = {1, 3.97917223959155352819e-1, 6.50222499887672944485e-2, 5.08130628187576562776e-3,
                                  1.32494738004321644526e-4, -3.9602282787753681232e-6};
static const f64 ONE_TOP[] = {-2.36211856075265944077e-3, 4.14856118683748331666e-1, -3.72207876035701323847e-1,
                              3.18346619901161753674e-1, -1.10894694282396677476e-1, 3.54783043256182359371e-2,
                              -2.166375594868790843e-3};
static const f64 ONE_BOTTOM[] = {1, 1.06420880400844228286e-1, 5.40397917702171048937e-1, 7.18286544141962662868e-2,
                                 1.26171219808761642112e-1, 1.36370839120290507362e-2, 1.1984499846799107417e-2};
static const f64 NEAR_TOP[] = {-9.86494403484714822705e-3, -6.93858572707181764372e-1, -1.05586262253232909814e1,
                               -6.23753324503260060396e1, -1.62396669462573470355e2, -1.84605092906711035994e2,
                               -8.12874355063065934246e1, -9.81432934416914548592};
static const f64 NEAR_BOTTOM[] = {1, 1.96512716674392571292e1, 1.376577541435190426e2, 4.34565877475229228821e2,
                                  6.45387271733267880336e2, 4.29008140027567833386e2, 1.08635005541779435134e2,
                                  6.57024977031928170135, -6.04244152148580987438e-2};
static const f64 FAR_TOP[] = {-9.86494292470009928597e-3, -7.99283237680523006574e-1, -1.77579549177547519889e1,
                              -1.60636384855821916062e2, -6.37566443368389627722e2, -1.02509513161107724954e3,
                              -4.83519191608651397019e2};
static const f64 FAR_BOTTOM[] = {1, 3.03380607434824582924e1, 3.25792512996573918826e2, 1.53672958608443695994e3,
                                 3.19985821950859553908e3, 2.55305040643316442583e3, 4.74528541206955367215e2,
                                 -2.24409524465858183362e1};
#define ERF_ONE 8.45062911510467529297e-1

// erfc(x) for x in [1.25, 28).
static f64 erfc_tail(f64 x) {
  f64 inverse = 1 / (x * x);
  f64 ratio = x < 1 / 0.35 ? QUOTIENT(inverse, NEAR) : QUOTIENT(inverse, FAR);
  union {
    f64 f;
    u64 u;
  } head = {.f = x};
  head.u &= 0xffffffff00000000ull;
  return js_math(MATH_EXP, -head.f * head.f - 0.5625, 0) * js_math(MATH_EXP, (head.f - x) * (head.f + x) + ratio, 0) / x;
}

static f64 erf_1(f64 x) {
  f64 size = __builtin_fabs(x);
  if (size != size) return x;
  if (size < 0.84375) return x + x * QUOTIENT(x * x, ZERO);
  f64 value = size < 1.25 ? ERF_ONE + QUOTIENT(size - 1, ONE) : size < 6 ? 1 - erfc_tail(size) : 1;
  return x < 0 ? -value : value;
}

static f64 erfc_1(f64 x) {
  f64 size = __builtin_fabs(x);
  if (size != size) return x;
  if (size < 0.84375) {
    f64 rest = x * QUOTIENT(x * x, ZERO);
    return x < 0.25 ? 1 - (x + rest) : 0.5 - (x - 0.5 + rest);
  }
  if (size < 1.25) {
    f64 step = QUOTIENT(size - 1, ONE);
    return x < 0 ? 1 + ERF_ONE + step : 1 - ERF_ONE - step;
  }
  if (size >= 28) return x < 0 ? 2 : 0;
  return x < 0 ? 2 - erfc_tail(size) : erfc_tail(size);
}

static f64 value_at(u32 op, f64 x, f64 y) {
  switch (op) {
  case OP_POW: return power(x, y);
  case OP_ATAN2: return js_math(MATH_ATAN2, x, y);
  case OP_MOD: return floor_mod(x, y);
  case OP_ERF: return erf_1(x);
  case OP_ERFC: return erfc_1(x);
  // From OP_EXP to OP_ATANH they are numbered alike.
  default: return js_math(op - OP_EXP + MATH_EXP, x, 0);
  }
}

void apply_function(const Instruction *in, const u8 *pa, const u8 *pb, u8 *pt, u32 count) {
  if (in->from == C_F32) {
    const f32 *a = (const f32 *)pa, *b = (const f32 *)pb;
    for (u32 i = 0; i < count; i++) ((f32 *)pt)[i] = (f32)value_at(in->op, a[i], b[i]);
  } else {
    const f64 *a = (const f64 *)pa, *b = (const f64 *)pb;
    for (u32 i = 0; i < count; i++) ((f64 *)pt)[i] = value_at(in->op, a[i], b[i]);
  }
}
