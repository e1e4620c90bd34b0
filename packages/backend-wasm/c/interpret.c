// The block interpreter: each instruction of a program runs over a block of points before the next one does.
#include "program.h"
#include "simd.h"

void prepare_registers(Registers *registers, const Program *program, const f64 *params, u32 points, u32 thread) {
  // Blocks are shorter where registers are many, so that they stay in the nearest cache.
  u32 block = program->slots > 16 ? BLOCK / 2 : BLOCK;
  while ((u64)program->slots * block * 8 > THREAD_SCRATCH / 2) block /= 2;
  registers->block = block;
  u8 *memory = thread_scratch(thread);
  for (u32 i = 0; i < program->slots; i++) registers->slot[i] = memory + i * block * 8;
  u32 count = MIN(block, (points + 3) & ~3u);
  for (u32 i = 0; i < program->scalars; i++) {
    const Scalar *scalar = program->scalar + i;
    u8 *to = registers->slot[scalar->slot];
    f64 value = scalar->param >= 0 ? params[scalar->param] : scalar->value;
    if (scalar->dtype == C_F64) {
      for (u32 k = 0; k < count; k++) ((f64 *)to)[k] = value;
      continue;
    }
    union {
      f32 f;
      i32 i;
    } bits;
    if (scalar->dtype == C_F32) bits.f = (f32)value;
    else if (scalar->dtype == C_BOOL) bits.i = value != 0 ? -1 : 0;
    else bits.i = (i32)(i64)value;
    for (u32 k = 0; k < count; k++) ((i32 *)to)[k] = bits.i;
  }
}

// JavaScript's remainder made to have the sign of the divisor.
static f64 floor_mod(f64 a, f64 b) {
  f64 rest = js_math(MATH_MOD, a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static f64 power(f64 a, f64 b) {
  if (a == 1 || (a == -1 && __builtin_fabs(b) == __builtin_inf())) return 1;
  return js_math(MATH_POW, a, b);
}

static f64 sign(f64 x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

// erf and erfc by the rational approximations of W. J. Cody's method as in core's special.ts.
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

// Threefry2x32 with 20 rounds, four counters at a time. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011.
INLINE u32x4 rotate4(u32x4 x, u32 by) { return x << by | x >> (32 - by); }
static void threefry(const u32 *k0, const u32 *k1, const u32 *c0, const u32 *c1, u32 *first, u32 *second, u32 n) {
  for (u32 i = 0; i < n; i += 4) {
    u32x4 keys[3];
    keys[0] = *(const u32x4 *)(k0 + i);
    keys[1] = *(const u32x4 *)(k1 + i);
    keys[2] = 0x1bd11bda ^ keys[0] ^ keys[1];
    u32x4 x = *(const u32x4 *)(c0 + i) + keys[0], y = *(const u32x4 *)(c1 + i) + keys[1];
#define ROUND(BY) x += y; y = rotate4(y, BY) ^ x;
#define FOUR(A, B, C, D, N) ROUND(A) ROUND(B) ROUND(C) ROUND(D) x += keys[N % 3]; y += keys[(N + 1) % 3] + N;
    FOUR(13, 15, 26, 6, 1)
    FOUR(17, 29, 16, 24, 2)
    FOUR(13, 15, 26, 6, 3)
    FOUR(17, 29, 16, 24, 4)
    FOUR(13, 15, 26, 6, 5)
    if (first != NULL) *(u32x4 *)(first + i) = x;
    if (second != NULL) *(u32x4 *)(second + i) = y;
  }
}

#define KEY(OP, DTYPE) ((OP) * 8 + (DTYPE))

// Element by element, left to the compiler to vectorise; n is a multiple of 4.
#define LOOP(FROM, TO, EXPRESSION)                                                                                     \
  {                                                                                                                    \
    const FROM *a = (const FROM *)pa, *b = (const FROM *)pb;                                                           \
    TO *to = (TO *)pt;                                                                                                 \
    (void)b;                                                                                                           \
    VECTORIZE for (u32 i = 0; i < n; i++) {                                                                            \
      FROM x = a[i], y = b[i];                                                                                         \
      (void)y;                                                                                                         \
      to[i] = (TO)(EXPRESSION);                                                                                        \
    }                                                                                                                  \
    break;                                                                                                             \
  }
// The same for functions of JavaScript: only the points asked for.
#define SLOW(TYPE, EXPRESSION)                                                                                         \
  {                                                                                                                    \
    const TYPE *a = (const TYPE *)pa, *b = (const TYPE *)pb;                                                           \
    TYPE *to = (TYPE *)pt;                                                                                             \
    (void)b;                                                                                                           \
    NO_UNROLL for (u32 i = 0; i < count; i++) {                                                                        \
      f64 x = a[i], y = b[i];                                                                                          \
      (void)y;                                                                                                         \
      to[i] = (TYPE)(EXPRESSION);                                                                                      \
    }                                                                                                                  \
    break;                                                                                                             \
  }
#define SLOW_BOTH(OP, EXPRESSION)                                                                                      \
  case KEY(OP, C_F32): SLOW(f32, EXPRESSION)                                                                           \
  case KEY(OP, C_F64): SLOW(f64, EXPRESSION)
// Four floats at a time, of one operand or of two, either of which may be a scalar.
#define UNARY4(EXPRESSION)                                                                                             \
  {                                                                                                                    \
    const f32 *a = (const f32 *)pa;                                                                                    \
    NO_UNROLL for (u32 i = 0; i < n; i += 4) {                                                                         \
      f32x4 x = load4(a + i);                                                                                          \
      store4((f32 *)pt + i, (f32x4)(EXPRESSION));                                                                      \
    }                                                                                                                  \
    break;                                                                                                             \
  }
#define BINARY4(EXPRESSION)                                                                                            \
  {                                                                                                                    \
    const f32 *a = (const f32 *)pa, *b = (const f32 *)pb;                                                              \
    if (in->b >= first_scalar) {                                                                                       \
      f32x4 y = splat4(*b);                                                                                            \
      for (u32 i = 0; i < n; i += 4) {                                                                                 \
        f32x4 x = load4(a + i);                                                                                        \
        store4((f32 *)pt + i, (f32x4)(EXPRESSION));                                                                    \
      }                                                                                                                \
    } else if (in->a >= first_scalar) {                                                                                \
      f32x4 x = splat4(*a);                                                                                            \
      for (u32 i = 0; i < n; i += 4) {                                                                                 \
        f32x4 y = load4(b + i);                                                                                        \
        store4((f32 *)pt + i, (f32x4)(EXPRESSION));                                                                    \
      }                                                                                                                \
    } else {                                                                                                           \
      for (u32 i = 0; i < n; i += 4) {                                                                                 \
        f32x4 x = load4(a + i), y = load4(b + i);                                                                      \
        store4((f32 *)pt + i, (f32x4)(EXPRESSION));                                                                    \
      }                                                                                                                \
    }                                                                                                                  \
    break;                                                                                                             \
  }
#define COMPARE(OP, SYMBOL)                                                                                            \
  case KEY(OP, C_F32): BINARY4((i32x4)(x SYMBOL y))                                                                    \
  case KEY(OP, C_F64): LOOP(f64, i32, x SYMBOL y ? -1 : 0)                                                             \
  case KEY(OP, C_I32): LOOP(i32, i32, x SYMBOL y ? -1 : 0)                                                             \
  case KEY(OP, C_U32): LOOP(u32, i32, x SYMBOL y ? -1 : 0)
#define WHOLE(OP, EXPRESSION)                                                                                          \
  case KEY(OP, C_I32): LOOP(i32, i32, EXPRESSION)                                                                      \
  case KEY(OP, C_U32): LOOP(u32, u32, EXPRESSION)
#define BITS(OP, EXPRESSION)                                                                                           \
  WHOLE(OP, EXPRESSION)                                                                                                \
  case KEY(OP, C_BOOL): LOOP(i32, i32, EXPRESSION)

static void cast(const Instruction *in, const u8 *pa, const u8 *pb, u8 *pt, u32 n) {
  switch (KEY(in->to, in->from)) {
  case KEY(C_F32, C_F64): LOOP(f64, f32, x)
  case KEY(C_F32, C_I32): LOOP(i32, f32, x)
  case KEY(C_F32, C_U32): LOOP(u32, f32, x)
  case KEY(C_F32, C_BOOL): LOOP(i32, f32, x & 1)
  case KEY(C_F64, C_F32): LOOP(f32, f64, x)
  case KEY(C_F64, C_I32): LOOP(i32, f64, x)
  case KEY(C_F64, C_U32): LOOP(u32, f64, x)
  case KEY(C_F64, C_BOOL): LOOP(i32, f64, x & 1)
  case KEY(C_I32, C_F32): LOOP(f32, i32, __builtin_wasm_trunc_saturate_s_i32_f32(x))
  case KEY(C_I32, C_F64): LOOP(f64, i32, __builtin_wasm_trunc_saturate_s_i32_f64(x))
  case KEY(C_U32, C_F32): LOOP(f32, u32, __builtin_wasm_trunc_saturate_u_i32_f32(x))
  case KEY(C_U32, C_F64): LOOP(f64, u32, __builtin_wasm_trunc_saturate_u_i32_f64(x))
  case KEY(C_I32, C_BOOL):
  case KEY(C_U32, C_BOOL): LOOP(i32, i32, x & 1)
  case KEY(C_BOOL, C_F32): LOOP(f32, i32, x != 0 ? -1 : 0)
  case KEY(C_BOOL, C_F64): LOOP(f64, i32, x != 0 ? -1 : 0)
  case KEY(C_BOOL, C_I32):
  case KEY(C_BOOL, C_U32): LOOP(i32, i32, x != 0 ? -1 : 0)
  default: LOOP(i32, i32, x) // between integers
  }
}

INLINE i32 floor_div(i32 x, i32 y) {
  if (y == 0) return 0;
  if (y == -1) return (i32)(0u - (u32)x);
  i32 q = x / y;
  return q * y != x && (x < 0) != (y < 0) ? q - 1 : q;
}

void interpret(const Program *program, u8 *const *slot, u32 count) {
  u32 n = (count + 3) & ~3u, first_scalar = program->first_scalar;
  const Instruction *in = program->instruction, *end = in + program->instructions;
  for (; in < end; in++) {
    const u8 *pa = slot[in->a], *pb = slot[in->b];
    u8 *pt = slot[in->dst];
    switch (KEY(in->op, in->from)) {
    case KEY(OP_ADD, C_F32): BINARY4(x + y)
    case KEY(OP_SUB, C_F32): BINARY4(x - y)
    case KEY(OP_MUL, C_F32): BINARY4(x *y)
    case KEY(OP_DIV, C_F32): BINARY4(x / y)
    case KEY(OP_MAX, C_F32): BINARY4(max4(x, y))
    case KEY(OP_MIN, C_F32): BINARY4(min4(x, y))
    case KEY(OP_NEG, C_F32): UNARY4(-x)
    case KEY(OP_ABS, C_F32): UNARY4(abs4(x))
    case KEY(OP_SQRT, C_F32): UNARY4(sqrt4(x))
    case KEY(OP_FLOOR, C_F32): UNARY4(wasm_f32x4_floor((v128_t)x))
    case KEY(OP_CEIL, C_F32): UNARY4(wasm_f32x4_ceil((v128_t)x))
    case KEY(OP_ROUND, C_F32): UNARY4(nearest4(x))
    case KEY(OP_TRUNC, C_F32): UNARY4(wasm_f32x4_trunc((v128_t)x))
    case KEY(OP_SIGN, C_F32): UNARY4(select4(x > 0, splat4(1), select4(x < 0, splat4(-1), x)))
    case KEY(OP_EXP, C_F32): UNARY4(exp4(x))
    case KEY(OP_EXPM1, C_F32): UNARY4(expm1_4(x))
    case KEY(OP_LOG, C_F32): UNARY4(log4(x))
    case KEY(OP_LOG1P, C_F32): UNARY4(log1p_4(x))
    case KEY(OP_TANH, C_F32): UNARY4(tanh4(x))
    case KEY(OP_ERF, C_F32): UNARY4(erf4(x))
    case KEY(OP_SIN, C_F32): UNARY4(sin4(x))
    case KEY(OP_COS, C_F32): UNARY4(cos4(x))
    case KEY(OP_ISNAN, C_F32): UNARY4((i32x4)(x != x))
    case KEY(OP_ISINF, C_F32): UNARY4((i32x4)(abs4(x) == __builtin_inff()))

    case KEY(OP_ADD, C_F64): LOOP(f64, f64, x + y)
    case KEY(OP_SUB, C_F64): LOOP(f64, f64, x - y)
    case KEY(OP_MUL, C_F64): LOOP(f64, f64, x *y)
    case KEY(OP_DIV, C_F64): LOOP(f64, f64, x / y)
    case KEY(OP_MAX, C_F64): LOOP(f64, f64, x != x || y != y ? __builtin_nan("") : x > y ? x : y > x ? y : x + y == 0 && 1 / x < 0 ? y : x)
    case KEY(OP_MIN, C_F64): LOOP(f64, f64, x != x || y != y ? __builtin_nan("") : x < y ? x : y < x ? y : x + y == 0 && 1 / y < 0 ? y : x)
    case KEY(OP_NEG, C_F64): LOOP(f64, f64, -x)
    case KEY(OP_ABS, C_F64): LOOP(f64, f64, __builtin_fabs(x))
    case KEY(OP_SQRT, C_F64): LOOP(f64, f64, __builtin_sqrt(x))
    case KEY(OP_FLOOR, C_F64): LOOP(f64, f64, __builtin_floor(x))
    case KEY(OP_CEIL, C_F64): LOOP(f64, f64, __builtin_ceil(x))
    case KEY(OP_ROUND, C_F64): LOOP(f64, f64, __builtin_rint(x))
    case KEY(OP_TRUNC, C_F64): LOOP(f64, f64, __builtin_trunc(x))
    case KEY(OP_SIGN, C_F64): LOOP(f64, f64, sign(x))
    case KEY(OP_ISNAN, C_F64): LOOP(f64, i32, x != x ? -1 : 0)
    case KEY(OP_ISINF, C_F64): LOOP(f64, i32, __builtin_fabs(x) == __builtin_inf() ? -1 : 0)

    case KEY(OP_EXP, C_F64): SLOW(f64, js_math(MATH_EXP, x, 0))
    case KEY(OP_EXPM1, C_F64): SLOW(f64, js_math(MATH_EXPM1, x, 0))
    case KEY(OP_LOG, C_F64): SLOW(f64, js_math(MATH_LOG, x, 0))
    case KEY(OP_LOG1P, C_F64): SLOW(f64, js_math(MATH_LOG1P, x, 0))
    case KEY(OP_TANH, C_F64): SLOW(f64, js_math(MATH_TANH, x, 0))
    case KEY(OP_SIN, C_F64): SLOW(f64, js_math(MATH_SIN, x, 0))
    case KEY(OP_COS, C_F64): SLOW(f64, js_math(MATH_COS, x, 0))
    case KEY(OP_ERF, C_F64): SLOW(f64, erf_1(x))
      SLOW_BOTH(OP_ERFC, erfc_1(x))
      SLOW_BOTH(OP_LOG2, js_math(MATH_LOG2, x, 0))
      SLOW_BOTH(OP_TAN, js_math(MATH_TAN, x, 0))
      SLOW_BOTH(OP_ASIN, js_math(MATH_ASIN, x, 0))
      SLOW_BOTH(OP_ACOS, js_math(MATH_ACOS, x, 0))
      SLOW_BOTH(OP_ATAN, js_math(MATH_ATAN, x, 0))
      SLOW_BOTH(OP_SINH, js_math(MATH_SINH, x, 0))
      SLOW_BOTH(OP_COSH, js_math(MATH_COSH, x, 0))
      SLOW_BOTH(OP_ASINH, js_math(MATH_ASINH, x, 0))
      SLOW_BOTH(OP_ACOSH, js_math(MATH_ACOSH, x, 0))
      SLOW_BOTH(OP_ATANH, js_math(MATH_ATANH, x, 0))
      SLOW_BOTH(OP_POW, power(x, y))
      SLOW_BOTH(OP_ATAN2, js_math(MATH_ATAN2, x, y))
      SLOW_BOTH(OP_MOD, floor_mod(x, y))

      WHOLE(OP_ADD, x + y)
      WHOLE(OP_SUB, x - y)
      WHOLE(OP_MUL, x *y)
      WHOLE(OP_MAX, x > y ? x : y)
      WHOLE(OP_MIN, x < y ? x : y)
      WHOLE(OP_NEG, 0 - x)
      WHOLE(OP_SHL, x << (y & 31))
      WHOLE(OP_SHR, x >> (y & 31))
    case KEY(OP_ABS, C_I32): LOOP(i32, i32, x < 0 ? 0 - x : x)
    case KEY(OP_ABS, C_U32): LOOP(u32, u32, x)
    case KEY(OP_SIGN, C_I32): LOOP(i32, i32, (x > 0) - (x < 0))
    case KEY(OP_SIGN, C_U32): LOOP(u32, u32, x > 0)
    case KEY(OP_FLOORDIV, C_I32): LOOP(i32, i32, floor_div(x, y))
    case KEY(OP_FLOORDIV, C_U32): LOOP(u32, u32, y == 0 ? 0 : x / y)
    case KEY(OP_MOD, C_I32): LOOP(i32, i32, y == 0 ? 0 : x - floor_div(x, y) * y)
    case KEY(OP_MOD, C_U32): LOOP(u32, u32, y == 0 ? 0 : x % y)
      BITS(OP_AND, x &y)
      BITS(OP_OR, x | y)
      BITS(OP_XOR, x ^ y)
      BITS(OP_NOT, ~x)

      COMPARE(OP_EQ, ==)
      COMPARE(OP_NE, !=)
      COMPARE(OP_LT, <)
      COMPARE(OP_LE, <=)
    case KEY(OP_EQ, C_BOOL): LOOP(i32, i32, ~(x ^ y))
    case KEY(OP_NE, C_BOOL): LOOP(i32, i32, x ^ y)
    case KEY(OP_LT, C_BOOL): LOOP(i32, i32, ~x & y)
    case KEY(OP_LE, C_BOOL): LOOP(i32, i32, ~x | y)

    case KEY(OP_SELECT, C_F64): {
      const i32 *mask = (const i32 *)pa;
      const f64 *b = (const f64 *)pb, *c = (const f64 *)slot[in->c];
      f64 *to = (f64 *)pt;
      VECTORIZE for (u32 i = 0; i < n; i++) to[i] = mask[i] ? b[i] : c[i];
      break;
    }
    case KEY(OP_SELECT, C_F32):
    case KEY(OP_SELECT, C_I32):
    case KEY(OP_SELECT, C_U32):
    case KEY(OP_SELECT, C_BOOL): {
      const i32 *mask = (const i32 *)pa, *b = (const i32 *)pb, *c = (const i32 *)slot[in->c];
      i32 *to = (i32 *)pt;
      for (u32 i = 0; i < n; i += 4) {
        i32x4 m = *(const i32x4_any *)(mask + i), x = *(const i32x4_any *)(b + i), y = *(const i32x4_any *)(c + i);
        *(i32x4_any *)(to + i) = (x & m) | (y & ~m);
      }
      break;
    }
    case KEY(OP_CHECK, C_BOOL): {
      const i32 *holds = (const i32 *)pa;
      u32 failed = 0;
      for (u32 i = 0; i < count; i++) failed |= holds[i] == 0;
      if (failed) set_fault(in->extra);
      break;
    }
    case KEY(OP_THREEFRY, C_U32):
      threefry((const u32 *)pa, (const u32 *)pb, (const u32 *)slot[in->c], (const u32 *)slot[in->d],
               in->extra != 1 ? (u32 *)pt : NULL,
               in->extra == 1 ? (u32 *)pt : in->extra == 2 ? (u32 *)slot[in->second] : NULL, n);
      break;
    default:
      if (in->op == OP_CAST) {
        cast(in, pa, pb, pt, n);
      } else {
        // MOVE and BITCAST.
        copy_bytes(pt, pa, n * (in->from == C_F64 ? 8 : 4));
      }
    }
  }
}

// Compiles a module and puts its function into this thread's table; 0 where that is impossible.
__attribute__((import_module("env"), import_name("load_program"))) u32 load_program(u32 index, const u8 *module, u32 bytes);

typedef void (*Run)(u8 *const *slot, u32 count);

void run_program(const Program *program, u8 *const *slot, u32 count, u32 thread) {
  Emitted *emitted = program->emitted;
  if (emitted != NULL) {
    u8 *state = emitted->state + thread;
    if (*state == EMITTED_NOT_LOADED)
      *state = load_program(emitted->index, emitted->module, emitted->bytes) ? EMITTED_LOADED : EMITTED_FAILED;
    if (*state == EMITTED_LOADED) {
      ((Run)emitted->index)(slot, count);
      return;
    }
  }
  interpret(program, slot, count);
}
