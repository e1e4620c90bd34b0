// Rows along the last dimension, as softmax, norms and others walk them, and sums over a row: in short runs of floats,
// then in doubles, so that long rows keep their accuracy.
#pragma once
#include "simd.h"

typedef struct Rows {
  const f32 *data;
  u32 count, width, rank;
  i32 step; // from row to row, where that is always the same
  u32 uniform;
  i32 shape[MAX_RANK], strides[MAX_RANK];
} Rows;

// The rows of a view as they lie, or of a dense copy where elements of a row are not neighbours or not f32.
INLINE Rows rows_of(const View *view) {
  Rows rows;
  rows.rank = view->rank;
  rows.width = view->rank == 0 ? 1 : (u32)view->shape[view->rank - 1];
  rows.count = view->size / rows.width;
  u32 last = view->rank - 1;
  u32 direct = view->dtype == F32 && (view->contiguous || rows.width == 1 || view->strides[last] == 1);
  rows.data = direct ? (const f32 *)view->data : dense_f32(view);
  rows.uniform = !direct || view->contiguous || view->rank < 3;
  rows.step = direct && !view->contiguous && view->rank == 2 ? view->strides[0] : (i32)rows.width;
  for (u32 axis = 0; axis < view->rank; axis++) {
    rows.shape[axis] = view->shape[axis];
    rows.strides[axis] = view->strides[axis];
  }
  return rows;
}

INLINE const f32 *row_at(const Rows *rows, u32 row) {
  if (rows->uniform) return rows->data + (i32)row * rows->step;
  i32 offset = 0;
  for (i32 axis = (i32)rows->rank - 2; axis >= 0; axis--) {
    u32 size = (u32)rows->shape[axis];
    offset += (i32)(row % size) * rows->strides[axis];
    row /= size;
  }
  return rows->data + offset;
}

INLINE f32 *scratch_floats(u64 count) { return scratch(count * 4); }

// Parts for rows, about 16,000 elements each.
INLINE u32 row_parts(u32 rows, u32 width) { return parts_of(rows, MAX(16384 / MAX(width, 1), 1)); }

// The first n of four lanes, `fill` in the others.
INLINE f32x4 keep4(f32x4 x, u32 n, f32x4 fill) {
  i32x4 lane = {0, 1, 2, 3};
  return select4(lane < (i32)n, x, fill);
}

// Stores the first n of four, n from 1 to 3.
INLINE void store_end(f32 *p, f32x4 x, u32 n) {
  if (n & 2) {
    wasm_v128_store64_lane(p, (v128_t)x, 0);
    if (n & 1) p[2] = x[2];
  } else {
    p[0] = x[0];
  }
}

#define RUN 256

// Adds up TERM(i), four values for the elements from i, over n elements. Reads up to three elements too many, whose
// terms do not count.
#define ROW_SUM(result, n, TERM)                                                                                       \
  f64 result = 0;                                                                                                      \
  for (u32 from_ = 0; from_ < (n);) {                                                                                  \
    u32 to_ = MIN((n), from_ + RUN), i_ = from_;                                                                       \
    f32x4 even_ = {0}, odd_ = {0};                                                                                     \
    NO_UNROLL for (; i_ + 8 <= to_; i_ += 8) {                                                                         \
      even_ += TERM(i_);                                                                                               \
      odd_ += TERM(i_ + 4);                                                                                            \
    }                                                                                                                  \
    if (i_ + 4 <= to_) {                                                                                               \
      even_ += TERM(i_);                                                                                               \
      i_ += 4;                                                                                                         \
    }                                                                                                                  \
    if (i_ < to_) odd_ += keep4(TERM(i_), to_ - i_, splat4(0));                                                        \
    result += sum4(even_ + odd_);                                                                                      \
    from_ = to_;                                                                                                       \
  }

// Stores TERM(i) for n elements.
#define ROW_STORE(out, n, TERM)                                                                                        \
  {                                                                                                                    \
    u32 i_ = 0;                                                                                                        \
    NO_UNROLL for (; i_ + 4 <= (n); i_ += 4) store4((out) + i_, TERM(i_));                                             \
    if (i_ < (n)) store_end((out) + i_, TERM(i_), (n) - i_);                                                           \
  }

// a where b is NaN, and where a is: one instruction, which max4 and min4 are not.
INLINE f32x4 quick_max4(f32x4 a, f32x4 b) { return (f32x4)wasm_f32x4_pmax((v128_t)a, (v128_t)b); }
INLINE f32x4 quick_min4(f32x4 a, f32x4 b) { return (f32x4)wasm_f32x4_pmin((v128_t)a, (v128_t)b); }

// The greatest of n elements that are not NaN; NaN comes back through the exponentials. -inf where there are none.
INLINE f32 row_max(const f32 *x, u32 n) {
  f32x4 low = splat4(-__builtin_inff());
  f32x4 a = low, b = low;
  u32 i = 0;
  NO_UNROLL for (; i + 8 <= n; i += 8) {
    a = quick_max4(a, load4(x + i));
    b = quick_max4(b, load4(x + i + 4));
  }
  if (i + 4 <= n) {
    a = quick_max4(a, load4(x + i));
    i += 4;
  }
  if (i < n) b = quick_max4(b, keep4(load4(x + i), n - i, low));
  return hmax4(quick_max4(a, b));
}

// e^x in half the instructions of exp4, where what is below 1e-37 may count as 0: shares of a sum that e^0 is part of.
INLINE f32x4 exp_share4(f32x4 x) {
  f32x4 y = quick_min4(quick_max4(x, splat4(-86.0f)), splat4(88.8f));
  // Adding this number rounds to whole numbers and leaves them in the low bits.
  f32x4 shifted = madd4(y, splat4(1.44269504f), splat4(12582912.0f));
  f32x4 n = shifted - 12582912.0f;
  f32x4 r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  f32x4 p = madd4(splat4(1.3926203361e-3f), r, splat4(8.3631948844e-3f));
  p = madd4(p, r, splat4(4.1666554498e-2f));
  p = madd4(p, r, splat4(1.6666576895e-1f));
  p = madd4(p, r, splat4(0.5f));
  p = madd4(p, r * r, r) + 1.0f;
  f32x4 power = as_f32((as_i32(shifted) << 23) + 0x3f800000);
  return (f32x4)wasm_v128_andnot((v128_t)(p * power), (v128_t)(x < -86.0f));
}

// e^(x - shift) into y, which may be x; returns the sum.
INLINE f64 row_exp(const f32 *x, f32 *y, u32 n, f32 shift) {
  f64 sum = 0;
  for (u32 from = 0; from < n;) {
    u32 to = MIN(n, from + RUN), i = from;
    f32x4 total = {0};
    NO_UNROLL for (; i + 4 <= to; i += 4) {
      f32x4 e = exp_share4(load4(x + i) - shift);
      store4(y + i, e);
      total += e;
    }
    if (i < to) {
      f32x4 e = keep4(exp_share4(load4(x + i) - shift), to - i, splat4(0));
      store_end(y + i, e, to - i);
      total += e;
    }
    sum += sum4(total);
    from = to;
  }
  return sum;
}

// Σ e^(x - shift)
INLINE f64 row_exp_sum(const f32 *x, u32 n, f32 shift) {
#define TERM(i) exp_share4(load4(x + (i)) - shift)
  ROW_SUM(sum, n, TERM)
#undef TERM
  return sum;
}
