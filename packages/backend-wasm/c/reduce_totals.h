// Totals of a reduction: values into them, for every kind and every dtype that a program computes. In a header, since runs
// are often so short that calls would show.
#pragma once
#include "program.h"
#include "simd.h"

enum { SUM, PROD, MAXIMUM, MINIMUM, ANY, ALL };

// One group's value so far. f64 sums carry their rounding error along (Neumaier 1974).
typedef union Total {
  struct {
    f64 value, error;
  };
  i32 whole;
} Total;

static Total start_total(u32 kind, u32 dtype) {
  Total total = {.value = 0, .error = 0};
  u32 whole = dtype == C_I32 || dtype == C_U32;
  switch (kind) {
  case PROD:
    if (whole) total.whole = 1;
    else total.value = 1;
    break;
  case MAXIMUM:
    if (whole) total.whole = dtype == C_I32 ? (i32)0x80000000 : 0;
    else total.value = -__builtin_inf();
    break;
  case MINIMUM:
    if (whole) total.whole = dtype == C_I32 ? 0x7fffffff : -1;
    else total.value = __builtin_inf();
    break;
  case ALL: total.whole = 1; break;
  case ANY: total.whole = 0; break;
  }
  return total;
}

INLINE f64 greater(f64 a, f64 b) { return a != a ? a : b != b ? b : a > b ? a : b; }
INLINE f64 lesser(f64 a, f64 b) { return a != a ? a : b != b ? b : a < b ? a : b; }

INLINE void add(Total *total, f64 value) {
  f64 a = total->value, sum = a + value;
  total->error += __builtin_fabs(a) >= __builtin_fabs(value) ? a - sum + value : value - sum + a;
  total->value = sum;
}

// Takes one group's total into another; both are of the same kind.
static void merge_totals(u32 kind, u32 dtype, Total *total, const Total *more) {
  u32 floats = dtype == C_F32 || dtype == C_F64;
  switch (kind) {
  case SUM:
    if (!floats) {
      total->whole += more->whole;
    } else {
      add(total, more->value);
      total->error += more->error;
    }
    break;
  case PROD:
    if (floats) total->value *= more->value;
    else total->whole *= more->whole;
    break;
  case MAXIMUM:
    if (floats) total->value = greater(total->value, more->value);
    else if (dtype == C_I32) total->whole = MAX(total->whole, more->whole);
    else total->whole = (i32)MAX((u32)total->whole, (u32)more->whole);
    break;
  case MINIMUM:
    if (floats) total->value = lesser(total->value, more->value);
    else if (dtype == C_I32) total->whole = MIN(total->whole, more->whole);
    else total->whole = (i32)MIN((u32)total->whole, (u32)more->whole);
    break;
  case ANY: total->whole |= more->whole; break;
  default: total->whole &= more->whole;
  }
}

// Sums of f32 add up in doubles: no error to speak of, whatever their number.
static f64 sum_f32(const f32 *x, u32 n) {
  f64x2 a = {0, 0}, b = {0, 0}, c = {0, 0}, d = {0, 0};
  u32 i = 0;
  NO_UNROLL for (; i + 8 <= n; i += 8) {
    f32x4 p = load4(x + i), q = load4(x + i + 4);
    a += low2(p);
    b += high2(p);
    c += low2(q);
    d += high2(q);
  }
  a = (a + b) + (c + d);
  f64 sum = a[0] + a[1];
  for (; i < n; i++) sum += x[i];
  return sum;
}

// The maximum, or the maximum of the negated values; NaN if there is one. Comparing selects are one instruction where
// NaN-keeping ones are many, so NaN is watched for on the side.
static f32 extreme_f32(const f32 *x, u32 n, u32 greatest) {
  i32 sign = greatest ? 0 : (i32)0x80000000;
  i32x4 flip = {sign, sign, sign, sign}, ordered = {-1, -1, -1, -1};
  f32x4 a = splat4(-__builtin_inff()), b = a;
  u32 i = 0;
  NO_UNROLL for (; i + 8 <= n; i += 8) {
    f32x4 p = as_f32(as_i32(load4(x + i)) ^ flip), q = as_f32(as_i32(load4(x + i + 4)) ^ flip);
    ordered &= (p == p) & (q == q);
    a = (f32x4)wasm_f32x4_pmax((v128_t)a, (v128_t)p);
    b = (f32x4)wasm_f32x4_pmax((v128_t)b, (v128_t)q);
  }
  f32 best = hmax4((f32x4)wasm_f32x4_pmax((v128_t)a, (v128_t)b));
  u32 nan = !wasm_i32x4_all_true((v128_t)ordered);
  for (; i < n; i++) {
    f32 value = greatest ? x[i] : -x[i];
    nan |= value != value;
    best = value > best ? value : best;
  }
  return nan ? __builtin_nanf("") : best;
}

// Takes a run of values into a total.
static void take_run(u32 kind, u32 dtype, const u8 *values, u32 n, Total *total) {
  const f32 *f = (const f32 *)values;
  const f64 *d = (const f64 *)values;
  const i32 *w = (const i32 *)values;
  const u32 *u = (const u32 *)values;
  u32 i = 0;
  switch (kind * 8 + dtype) {
  case SUM * 8 + C_F32: total->value += sum_f32(f, n); return;
  case SUM * 8 + C_F64:
    for (; i < n; i++) add(total, d[i]);
    return;
  case SUM * 8 + C_I32:
  case SUM * 8 + C_U32:
    for (; i < n; i++) total->whole += w[i];
    return;
  case PROD * 8 + C_F32:
    for (; i < n; i++) total->value *= f[i];
    return;
  case PROD * 8 + C_F64:
    for (; i < n; i++) total->value *= d[i];
    return;
  case PROD * 8 + C_I32:
  case PROD * 8 + C_U32:
    for (; i < n; i++) total->whole *= w[i];
    return;
  case MAXIMUM * 8 + C_F32: total->value = greater(total->value, extreme_f32(f, n, 1)); return;
  case MAXIMUM * 8 + C_F64:
    for (; i < n; i++) total->value = greater(total->value, d[i]);
    return;
  case MAXIMUM * 8 + C_I32:
    for (; i < n; i++) total->whole = MAX(total->whole, w[i]);
    return;
  case MAXIMUM * 8 + C_U32:
    for (; i < n; i++) total->whole = (i32)MAX((u32)total->whole, u[i]);
    return;
  case MINIMUM * 8 + C_F32: total->value = lesser(total->value, -extreme_f32(f, n, 0)); return;
  case MINIMUM * 8 + C_F64:
    for (; i < n; i++) total->value = lesser(total->value, d[i]);
    return;
  case MINIMUM * 8 + C_I32:
    for (; i < n; i++) total->whole = MIN(total->whole, w[i]);
    return;
  case MINIMUM * 8 + C_U32:
    for (; i < n; i++) total->whole = (i32)MIN((u32)total->whole, u[i]);
    return;
  default:
    // ANY and ALL of any dtype; -0 counts as zero, NaN does not.
    for (; i < n; i++) {
      u32 truth = dtype == C_F32 ? f[i] != 0 : dtype == C_F64 ? d[i] != 0 : w[i] != 0;
      if (truth != (kind == ALL)) {
        total->whole = (i32)truth;
        return;
      }
    }
  }
}

// Takes a row of values into a row of totals.
static void take_row(u32 kind, u32 dtype, const u8 *values, u32 n, Total *totals) {
  const f32 *f = (const f32 *)values;
  u32 width = dtype == C_F64 ? 8 : 4;
  switch (kind * 8 + dtype) {
  case SUM * 8 + C_F32:
    for (u32 i = 0; i < n; i++) totals[i].value += f[i];
    return;
  case MAXIMUM * 8 + C_F32:
    for (u32 i = 0; i < n; i++) totals[i].value = greater(totals[i].value, f[i]);
    return;
  default:
    for (u32 i = 0; i < n; i++) take_run(kind, dtype, values + i * width, 1, totals + i);
  }
}

// Rows of f32 sums have an accumulator of plain doubles, which vectorises.
static void add_row_f32(const f32 *values, u32 n, f64 *sums) {
  u32 i = 0;
  NO_UNROLL for (; i + 4 <= n; i += 4) {
    f32x4 x = load4(values + i);
    f64x2 *to = (f64x2 *)(sums + i);
    to[0] += low2(x);
    to[1] += high2(x);
  }
  for (; i < n; i++) sums[i] += values[i];
}
