// Products of matrices of floats.
#include "gemm.h"
#include "simd.h"

typedef struct Job {
  const Gemm *gemm;
  u32 parts;
} Job;

static void gemm_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  const Gemm *g = job->gemm;
  Range rows = part_range(g->batch * g->rows, job->parts, part, 1);
  for (u32 at = rows.begin; at < rows.end; at++) {
    u32 batch = at / g->rows, row = at % g->rows;
    const f32 *a = g->a + (g->a_offset ? g->a_offset[batch] : 0) + (i32)row * g->a_row;
    const f32 *b = g->b + (g->b_offset ? g->b_offset[batch] : 0);
    f32 *c = g->c + (g->c_offset ? g->c_offset[batch] : 0) + (i32)row * g->c_row;
    for (u32 j = 0; j < g->columns; j++) {
      f64 sum = 0;
      for (u32 k = 0; k < g->depth; k++)
        sum += (f64)a[(i32)k * g->a_column] * b[(i32)k * g->b_row + (i32)j * g->b_column];
      c[(i32)j * g->c_column] = (f32)sum;
    }
  }
}

void gemm_f32(const Gemm *gemm) {
  Job job = {gemm, parts_of(gemm->batch * gemm->rows, 4)};
  parallel(gemm_part, &job, job.parts, (f64)gemm->batch * gemm->rows * gemm->columns * gemm->depth);
}
