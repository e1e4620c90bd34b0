// argReduce: position of the greatest or least element of each group. The first wins a tie, a NaN wins over everything.
#include "simd.h"

typedef struct Job {
  const void *values;
  i32 *positions;
  u32 groups, length, kind, parts; // kind: C type of the values
  u32 least;
} Job;

enum { AS_F32, AS_F64, AS_I32, AS_U32 };

#define FIRST(NAME, TYPE, IS_NAN)                                                                                      \
  static u32 NAME(const TYPE *x, u32 n, u32 least) {                                                                   \
    TYPE best = x[0];                                                                                                  \
    u32 at = 0;                                                                                                        \
    for (u32 i = 1; i < n; i++) {                                                                                      \
      if (IS_NAN(best)) break;                                                                                         \
      if ((least ? x[i] < best : x[i] > best) || IS_NAN(x[i])) {                                                       \
        best = x[i];                                                                                                   \
        at = i;                                                                                                        \
      }                                                                                                                \
    }                                                                                                                  \
    return at;                                                                                                         \
  }
#define FLOAT_NAN(x) ((x) != (x))
#define NEVER(x) 0
FIRST(first_f32, f32, FLOAT_NAN)
FIRST(first_f64, f64, FLOAT_NAN)
FIRST(first_i32, i32, NEVER)
FIRST(first_u32, u32, NEVER)

static void arg_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  Range groups = part_range(job->groups, job->parts, part, 1);
  u32 n = job->length;
  for (u32 group = groups.begin; group < groups.end; group++) {
    u32 at = group * n;
    switch (job->kind) {
    case AS_F32: job->positions[group] = (i32)first_f32((const f32 *)job->values + at, n, job->least); break;
    case AS_F64: job->positions[group] = (i32)first_f64((const f64 *)job->values + at, n, job->least); break;
    case AS_I32: job->positions[group] = (i32)first_i32((const i32 *)job->values + at, n, job->least); break;
    default: job->positions[group] = (i32)first_u32((const u32 *)job->values + at, n, job->least);
    }
  }
}

// attr: 1 for min, number of axes, axes
KERNEL(arg_reduce) {
  const View *input = call->in, *output = call->out;
  u32 axes = (u32)call->attr[1], rank = input->rank, at = 0;
  u8 reduced[MAX_RANK] = {0};
  for (u32 i = 0; i < axes; i++) reduced[call->attr[2 + i]] = 1;
  // Reduced axes last, so that each group is one run of numbers.
  View grouped = *input;
  for (u32 pass = 0; pass < 2; pass++)
    for (u32 axis = 0; axis < rank; axis++)
      if (reduced[axis] == pass) {
        grouped.shape[at] = input->shape[axis];
        grouped.strides[at++] = input->strides[axis];
      }
  i32 step = 1;
  grouped.contiguous = 1;
  for (i32 axis = (i32)rank - 1; axis >= 0; axis--) {
    if (grouped.shape[axis] != 1 && grouped.strides[axis] != step) grouped.contiguous = 0;
    step *= grouped.shape[axis];
  }
  Job job = {.groups = output->size, .length = input->size / output->size, .least = (u32)call->attr[0]};
  switch (input->dtype) {
  case F32:
  case F16:
  case BF16:
    job.kind = AS_F32;
    job.values = dense_f32(&grouped);
    break;
  case F64:
    job.kind = AS_F64;
    job.values = dense_f64(&grouped);
    break;
  default:
    job.kind = input->dtype == U32 ? AS_U32 : AS_I32;
    job.values = dense_i32(&grouped);
  }
  job.positions = target_i32(output);
  job.parts = parts_of(job.groups, 1 + 16384 / job.length);
  parallel(arg_part, &job, job.parts, input->size * 1.0);
  finish_i32(output, job.positions);
  return 0;
}
