// scan: running sums, products and maxima. Floats of 32 bits run in doubles, integers wrap around.
#include "simd.h"

enum { SUM, PROD, MAXIMUM };
enum { AS_F32, AS_F64, AS_I32, AS_U32 };
#define COLUMNS 64

typedef struct Job {
  const void *from;
  void *to;
  u32 outer, length, inner, kind, type, reverse, strips, parts;
} Job;

INLINE f64 combine_f(u32 kind, f64 a, f64 b) {
  if (kind == SUM) return a + b;
  if (kind == PROD) return a * b;
  return a != a ? a : b != b ? b : a > b ? a : b;
}
INLINE i32 combine_i(u32 kind, i32 a, i32 b) { return kind == SUM ? a + b : kind == PROD ? a * b : MAX(a, b); }
INLINE u32 combine_u(u32 kind, u32 a, u32 b) { return kind == SUM ? a + b : kind == PROD ? a * b : MAX(a, b); }

// One strip of neighbouring lines, step by step along the axis.
#define STRIP(TYPE, TOTAL, COMBINE)                                                                                    \
  {                                                                                                                    \
    const TYPE *from = (const TYPE *)job->from;                                                                        \
    TYPE *to = (TYPE *)job->to;                                                                                        \
    TOTAL totals[COLUMNS];                                                                                             \
    for (u32 k = 0; k < length; k++) {                                                                                 \
      u32 at = start + (job->reverse ? length - 1 - k : k) * inner;                                                    \
      for (u32 i = 0; i < width; i++) {                                                                                \
        totals[i] = k == 0 ? (TOTAL)from[at + i] : COMBINE(job->kind, totals[i], from[at + i]);                        \
        to[at + i] = (TYPE)totals[i];                                                                                  \
      }                                                                                                                \
    }                                                                                                                  \
    break;                                                                                                             \
  }

static void scan_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 inner = job->inner, length = job->length;
  Range strips = part_range(job->outer * job->strips, job->parts, part, 1);
  for (u32 strip = strips.begin; strip < strips.end; strip++) {
    u32 first = strip % job->strips * COLUMNS, width = MIN(inner - first, COLUMNS);
    u32 start = strip / job->strips * length * inner + first;
    switch (job->type) {
    case AS_F32: STRIP(f32, f64, combine_f)
    case AS_F64: STRIP(f64, f64, combine_f)
    case AS_I32: STRIP(i32, i32, combine_i)
    default: STRIP(u32, u32, combine_u)
    }
  }
}

// attr: kind, axis, reverse
KERNEL(scan) {
  const View *input = call->in, *output = call->out;
  u32 axis = (u32)call->attr[1], dtype = input->dtype;
  Job job = {.outer = 1, .inner = 1, .length = (u32)input->shape[axis], .kind = (u32)call->attr[0],
             .reverse = (u32)call->attr[2]};
  for (u32 i = 0; i < axis; i++) job.outer *= (u32)input->shape[i];
  for (u32 i = axis + 1; i < input->rank; i++) job.inner *= (u32)input->shape[i];
  job.strips = (job.inner + COLUMNS - 1) / COLUMNS;
  job.parts = parts_of(job.outer * job.strips, 1 + 16384 / (job.length * MIN(job.inner, COLUMNS)));
  f64 work = input->size * 1.5;
  if (dtype == F64) {
    job.type = AS_F64;
    job.from = dense_f64(input);
    job.to = target_f64(output);
    parallel(scan_part, &job, job.parts, work);
    finish_f64(output, job.to);
  } else if (dtype == F32 || dtype == F16 || dtype == BF16) {
    job.type = AS_F32;
    job.from = dense_f32(input);
    job.to = target_f32(output);
    parallel(scan_part, &job, job.parts, work);
    finish_f32(output, job.to);
  } else {
    job.type = dtype == U32 || dtype == U8 ? AS_U32 : AS_I32;
    job.from = dense_i32(input);
    job.to = target_i32(output);
    parallel(scan_part, &job, job.parts, work);
    finish_i32(output, job.to);
  }
  return 0;
}
