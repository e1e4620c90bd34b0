// Products of matrices of floats (gemm.c), for matmul and for whoever can use one.
#pragma once
#include "nf.h"

// A batch of products c = a b: a is rows x depth, b is depth x columns. Matrix i of each stack begins `…_offset[i]`
// elements after its base; NULL stands for a batch of one. Strides are in elements and may be 0 (a, b) or negative.
typedef struct Gemm {
  u32 batch, rows, columns, depth;
  const f32 *a, *b;
  f32 *c;
  const i32 *a_offset, *b_offset, *c_offset;
  i32 a_row, a_column, b_row, b_column, c_row, c_column;
} Gemm;

// The same of doubles.
typedef struct Gemm64 {
  u32 batch, rows, columns, depth;
  const f64 *a, *b;
  f64 *c;
  const i32 *a_offset, *b_offset, *c_offset;
  i32 a_row, a_column, b_row, b_column, c_row, c_column;
} Gemm64;

// Run on all threads; not from inside a part. c must not overlap a or b.
void gemm_f32(const Gemm *gemm);
void gemm_f64(const Gemm64 *gemm);
// b in 16-bit floats (halves.c): F16 or BF16, one matrix for the whole batch; b and b_offset of the Gemm are not used,
// its strides are.
void gemm_halves(const Gemm *gemm, const u16 *b, u32 dtype);
