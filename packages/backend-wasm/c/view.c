// Conversions between element types, and dense copies of views.
#include "simd.h"

f32 half_to_f32(u16 bits) {
  u32 sign = (u32)(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  union {
    u32 u;
    f32 f;
  } x;
  if (exponent == 31) {
    x.u = sign | 0x7f800000 | (fraction != 0 ? 0x400000 | fraction << 13 : 0);
  } else if (exponent == 0) {
    x.f = (f32)fraction * 0x1p-24f;
    x.u |= sign;
  } else {
    x.u = sign | (exponent + 112) << 23 | fraction << 13;
  }
  return x.f;
}

u16 f32_to_half(f32 value) {
  union {
    f32 f;
    u32 u;
  } x = {.f = value};
  u32 sign = (x.u >> 16) & 0x8000, size = x.u & 0x7fffffff;
  if (size > 0x7f800000) return (u16)(sign | 0x7e00);
  if (size >= 0x477ff000) return (u16)(sign | 0x7c00);
  if (size >= 0x38800000) {
    u32 rebased = size - 0x38000000;
    return (u16)(sign | (rebased + 0xfff + ((rebased >> 13) & 1)) >> 13);
  }
  // Subnormal: adding 0.5 leaves multiples of 2^-24 in the low bits, rounded half to even.
  x.u = size;
  x.f += 0.5f;
  return (u16)(sign | (x.u - 0x3f000000));
}

u16 f32_to_bfloat(f32 value) {
  union {
    f32 f;
    u32 u;
  } x = {.f = value};
  if ((x.u & 0x7fffffff) > 0x7f800000) return (u16)(x.u >> 16 | 0x40);
  return (u16)((x.u + 0x7fff + ((x.u >> 16) & 1)) >> 16);
}

#define LOAD(TYPE, EXPRESSION)                                                                                         \
  {                                                                                                                    \
    const TYPE *p = (const TYPE *)from;                                                                                \
    if (step == 1) {                                                                                                   \
      for (u32 i = 0; i < count; i++) {                                                                                \
        TYPE x = p[i];                                                                                                 \
        to[i] = EXPRESSION;                                                                                            \
      }                                                                                                                \
    } else {                                                                                                           \
      NO_UNROLL for (u32 i = 0; i < count; i++, p += step) {                                                           \
        TYPE x = *p;                                                                                                   \
        to[i] = EXPRESSION;                                                                                            \
      }                                                                                                                \
    }                                                                                                                  \
    return;                                                                                                            \
  }

#define STORE(TYPE, EXPRESSION)                                                                                        \
  {                                                                                                                    \
    TYPE *p = (TYPE *)to;                                                                                              \
    if (step == 1) {                                                                                                   \
      for (u32 i = 0; i < count; i++) p[i] = (TYPE)(EXPRESSION);                                                       \
    } else {                                                                                                           \
      NO_UNROLL for (u32 i = 0; i < count; i++, p += step) *p = (TYPE)(EXPRESSION);                                    \
    }                                                                                                                  \
    return;                                                                                                            \
  }

void load_f32(u32 dtype, const u8 *from, i32 step, f32 *to, u32 count) {
  if (step == 1 && (dtype == F16 || dtype == BF16)) {
    load_halves(dtype, (const u16 *)from, to, count);
    return;
  }
  switch (dtype) {
  case F32:
    if (step == 1) {
      copy_f32(to, (const f32 *)from, count);
      return;
    }
    LOAD(f32, x)
  case F64: LOAD(f64, (f32)x)
  case F16: LOAD(u16, half_to_f32(x))
  case BF16: LOAD(u16, bfloat_to_f32(x))
  case I32: LOAD(i32, (f32)x)
  case U32: LOAD(u32, (f32)x)
  case I8: LOAD(i8, (f32)x)
  case BOOL: LOAD(u8, (f32)(x != 0))
  default: LOAD(u8, (f32)x)
  }
}

void load_f64(u32 dtype, const u8 *from, i32 step, f64 *to, u32 count) {
  switch (dtype) {
  case F32: LOAD(f32, x)
  case F64: LOAD(f64, x)
  case F16: LOAD(u16, half_to_f32(x))
  case BF16: LOAD(u16, bfloat_to_f32(x))
  case I32: LOAD(i32, x)
  case U32: LOAD(u32, x)
  case I8: LOAD(i8, x)
  case BOOL: LOAD(u8, x != 0)
  default: LOAD(u8, x)
  }
}

// Integers; u32 keeps its bits.
void load_i32(u32 dtype, const u8 *from, i32 step, i32 *to, u32 count) {
  switch (dtype) {
  case U8: LOAD(u8, x)
  case I8: LOAD(i8, x)
  case BOOL: LOAD(u8, x != 0)
  default: LOAD(i32, x)
  }
}

void store_f32(u32 dtype, u8 *to, i32 step, const f32 *from, u32 count) {
  switch (dtype) {
  case F32:
    if (step == 1) {
      copy_f32((f32 *)to, from, count);
      return;
    }
    STORE(f32, from[i])
  case F64: STORE(f64, from[i])
  case F16: STORE(u16, f32_to_half(from[i]))
  case BF16: STORE(u16, f32_to_bfloat(from[i]))
  case I32: STORE(i32, __builtin_wasm_trunc_saturate_s_i32_f32(from[i]))
  case U32: STORE(u32, __builtin_wasm_trunc_saturate_u_i32_f32(from[i]))
  case BOOL: STORE(u8, from[i] != 0)
  default: STORE(u8, __builtin_wasm_trunc_saturate_s_i32_f32(from[i]))
  }
}

void store_f64(u32 dtype, u8 *to, i32 step, const f64 *from, u32 count) {
  switch (dtype) {
  case F32: STORE(f32, (f32)from[i])
  case F64: STORE(f64, from[i])
  case F16: STORE(u16, f32_to_half((f32)from[i]))
  case BF16: STORE(u16, f32_to_bfloat((f32)from[i]))
  case I32: STORE(i32, __builtin_wasm_trunc_saturate_s_i32_f64(from[i]))
  case U32: STORE(u32, __builtin_wasm_trunc_saturate_u_i32_f64(from[i]))
  case BOOL: STORE(u8, from[i] != 0)
  default: STORE(u8, __builtin_wasm_trunc_saturate_s_i32_f64(from[i]))
  }
}

// Integers wrap to narrower types.
void store_i32(u32 dtype, u8 *to, i32 step, const i32 *from, u32 count) {
  switch (dtype) {
  case U8:
  case I8: STORE(u8, from[i])
  case BOOL: STORE(u8, from[i] != 0)
  default: STORE(i32, from[i])
  }
}

// Copies of whole views, a part a range of rows.

typedef struct Copy {
  const View *view;
  u8 *dense;
  u32 kind, to_view, inner, rows;
} Copy;

enum { COPY_F32, COPY_F64, COPY_I32 };

static void copy_row(const Copy *copy, u8 *at, i32 step, u32 row) {
  u32 dtype = copy->view->dtype, count = copy->inner;
  u8 *dense = copy->dense + (u64)row * count * (copy->kind == COPY_F64 ? 8 : 4);
  switch (copy->kind * 2 + copy->to_view) {
  case COPY_F32 * 2: load_f32(dtype, at, step, (f32 *)dense, count); break;
  case COPY_F64 * 2: load_f64(dtype, at, step, (f64 *)dense, count); break;
  case COPY_I32 * 2: load_i32(dtype, at, step, (i32 *)dense, count); break;
  case COPY_F32 * 2 + 1: store_f32(dtype, at, step, (const f32 *)dense, count); break;
  case COPY_F64 * 2 + 1: store_f64(dtype, at, step, (const f64 *)dense, count); break;
  default: store_i32(dtype, at, step, (const i32 *)dense, count);
  }
}

static void copy_part(void *arg, u32 part, u32 thread) {
  const Copy *copy = arg;
  const View *view = copy->view;
  u32 bytes = dtype_bytes(view->dtype);
  Range rows = part_range(copy->rows, parts_of(view->size, 16384), part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    u32 rest = row;
    i32 offset = 0;
    for (i32 axis = (i32)view->rank - 2; axis >= 0; axis--) {
      offset += (i32)(rest % (u32)view->shape[axis]) * view->strides[axis];
      rest /= (u32)view->shape[axis];
    }
    i32 step = view->rank == 0 ? 1 : view->strides[view->rank - 1];
    copy_row(copy, view->data + offset * (i32)bytes, step, row);
  }
}

static void copy_view(const View *view, void *dense, u32 kind, u32 to_view) {
  Copy copy = {view, dense, kind, to_view, view->rank == 0 ? 1 : (u32)view->shape[view->rank - 1], 0};
  if (view->contiguous) {
    // One row, cut into pieces that parts can share.
    View flat = *view;
    u32 width = 4096, rows = view->size / width;
    flat.rank = 2;
    flat.shape[0] = (i32)rows;
    flat.shape[1] = (i32)width;
    flat.strides[0] = (i32)width;
    flat.strides[1] = 1;
    flat.size = rows * width;
    copy.view = &flat;
    copy.inner = width;
    copy.rows = rows;
    if (rows > 0) parallel(copy_part, &copy, parts_of(flat.size, 16384), flat.size * 0.7);
    copy.inner = view->size - rows * width;
    copy.dense += (u64)rows * width * (kind == COPY_F64 ? 8 : 4);
    if (copy.inner > 0) copy_row(&copy, view->data + rows * width * dtype_bytes(view->dtype), 1, 0);
    return;
  }
  copy.rows = view->size / copy.inner;
  parallel(copy_part, &copy, parts_of(view->size, 16384), view->size * 1.0);
}

const f32 *dense_f32(const View *view) {
  if (view->contiguous && view->dtype == F32) return (const f32 *)view->data;
  f32 *dense = scratch((u64)view->size * 4);
  copy_view(view, dense, COPY_F32, 0);
  return dense;
}

const f64 *dense_f64(const View *view) {
  if (view->contiguous && view->dtype == F64) return (const f64 *)view->data;
  f64 *dense = scratch((u64)view->size * 8);
  copy_view(view, dense, COPY_F64, 0);
  return dense;
}

const i32 *dense_i32(const View *view) {
  if (view->contiguous && (view->dtype == I32 || view->dtype == U32)) return (const i32 *)view->data;
  i32 *dense = scratch((u64)view->size * 4);
  copy_view(view, dense, COPY_I32, 0);
  return dense;
}

f32 *target_f32(const View *view) {
  return view->contiguous && view->dtype == F32 ? (f32 *)view->data : scratch((u64)view->size * 4);
}

void finish_f32(const View *view, const f32 *values) {
  if ((const u8 *)values != view->data) copy_view(view, (void *)values, COPY_F32, 1);
}

f64 *target_f64(const View *view) {
  return view->contiguous && view->dtype == F64 ? (f64 *)view->data : scratch((u64)view->size * 8);
}

void finish_f64(const View *view, const f64 *values) {
  if ((const u8 *)values != view->data) copy_view(view, (void *)values, COPY_F64, 1);
}

i32 *target_i32(const View *view) {
  return view->contiguous && (view->dtype == I32 || view->dtype == U32) ? (i32 *)view->data : scratch((u64)view->size * 4);
}

void finish_i32(const View *view, const i32 *values) {
  if ((const u8 *)values != view->data) copy_view(view, (void *)values, COPY_I32, 1);
}
