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

static f64 sign(f64 x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

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

// Functions of many steps go two vectors at a time: one fills the other's waits.
#define PAIRS(NAME, FUNCTION)                                                                                          \
  static NOINLINE void NAME(const f32 *a, f32 *to, u32 n) {                                                            \
    u32 i = 0;                                                                                                         \
    NO_UNROLL for (; i + 8 <= n; i += 8) {                                                                             \
      f32x4 x = FUNCTION(load4(a + i)), y = FUNCTION(load4(a + i + 4));                                                \
      store4(to + i, x);                                                                                               \
      store4(to + i + 4, y);                                                                                           \
    }                                                                                                                  \
    if (i < n) store4(to + i, FUNCTION(load4(a + i)));                                                                 \
  }
PAIRS(exp_pairs, exp4)
PAIRS(tanh_pairs, tanh4)
PAIRS(erfc_pairs, erfc4)

static NOINLINE void erfc_bell_pairs(const f32 *a, f32 *to, f32 *bell, u32 n) {
  f32x4 first, second;
  u32 i = 0;
  NO_UNROLL for (; i + 8 <= n; i += 8) {
    f32x4 x = erfc_bell4(load4(a + i), &first), y = erfc_bell4(load4(a + i + 4), &second);
    store4(to + i, x);
    store4(to + i + 4, y);
    store4(bell + i, first);
    store4(bell + i + 4, second);
  }
  if (i == n) return;
  f32x4 x = erfc_bell4(load4(a + i), &first);
  store4(to + i, x);
  store4(bell + i, first);
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
    case KEY(OP_EXP, C_F32): exp_pairs((const f32 *)pa, (f32 *)pt, n); break;
    case KEY(OP_EXPM1, C_F32): UNARY4(expm1_4(x))
    case KEY(OP_LOG, C_F32): UNARY4(log4(x))
    case KEY(OP_LOG1P, C_F32): UNARY4(log1p_4(x))
    case KEY(OP_TANH, C_F32): tanh_pairs((const f32 *)pa, (f32 *)pt, n); break;
    case KEY(OP_ERF, C_F32): UNARY4(erf4(x))
    case KEY(OP_ERFC, C_F32):
      if (in->extra == 2) erfc_bell_pairs((const f32 *)pa, (f32 *)pt, (f32 *)slot[in->second], n);
      else erfc_pairs((const f32 *)pa, (f32 *)pt, n);
      break;
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
      if (in->op == OP_CAST) cast(in, pa, pb, pt, n);
      else if (in->op == OP_MOVE || in->op == OP_BITCAST) copy_bytes(pt, pa, n * (in->from == C_F64 ? 8 : 4));
      else apply_function(in, pa, pb, pt, count);
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
