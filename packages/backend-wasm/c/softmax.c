// softmax: softmax and its logarithm along the last dimension, forward and backward.
#include "rows.h"

typedef struct Job {
  Rows first, y;
  f32 *to;
  u32 parts, log;
} Job;

static void softmax_row(const f32 *x, f32 *y, u32 n) {
  f32 scale = (f32)(1.0 / row_exp(x, y, n, row_max(x, n)));
#define TERM(i) load4(y + (i)) * scale
  ROW_STORE(y, n, TERM)
#undef TERM
}

static void log_softmax_row(const f32 *x, f32 *y, u32 n) {
  f32 shift = row_max(x, n);
  f32 log = log1((f32)row_exp_sum(x, n, shift));
#define TERM(i) (load4(x + (i)) - shift) - log
  ROW_STORE(y, n, TERM)
#undef TERM
}

// dx = y (g - Σ g y)
static void softmax_grad_row(const f32 *g, const f32 *y, f32 *dx, u32 n) {
#define TERM(i) load4(g + (i)) * load4(y + (i))
  ROW_SUM(sum, n, TERM)
#undef TERM
  f32 dot = (f32)sum;
#define TERM(i) load4(y + (i)) * (load4(g + (i)) - dot)
  ROW_STORE(dx, n, TERM)
#undef TERM
}

// dx = g - e^y Σ g, for y the logarithm
static void log_softmax_grad_row(const f32 *g, const f32 *y, f32 *dx, u32 n) {
#define TERM(i) load4(g + (i))
  ROW_SUM(sum, n, TERM)
#undef TERM
  f32 total = (f32)sum;
#define TERM(i) load4(g + (i)) - exp_share4(load4(y + (i))) * total
  ROW_STORE(dx, n, TERM)
#undef TERM
}

static void softmax_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 n = job->first.width;
  Range rows = part_range(job->first.count, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    const f32 *x = row_at(&job->first, row);
    if (job->log) log_softmax_row(x, job->to + row * n, n);
    else softmax_row(x, job->to + row * n, n);
  }
}

static void softmax_grad_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 n = job->first.width;
  Range rows = part_range(job->first.count, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    const f32 *g = row_at(&job->first, row), *y = row_at(&job->y, row);
    if (job->log) log_softmax_grad_row(g, y, job->to + row * n, n);
    else softmax_grad_row(g, y, job->to + row * n, n);
  }
}

// attr: whether backward, whether the logarithm.
KERNEL(softmax) {
  u32 backward = (u32)call->attr[0];
  Job job = {.first = rows_of(call->in), .to = target_f32(call->out), .log = (u32)call->attr[1]};
  if (backward) job.y = rows_of(call->in + 1);
  job.parts = row_parts(job.first.count, job.first.width);
  f64 cost = backward && !job.log ? 0.8 : 2.0;
  parallel(backward ? softmax_grad_part : softmax_part, &job, job.parts, call->out->size * cost);
  finish_f32(call->out, job.to);
  return 0;
}
