// crossEntropy: the loss of rows of logits against class indices, and its gradient. With smoothing s over C classes a
// row's loss is logSumExp(x) - (1 - s) x[target] - s / C Σ x, computed relative to the greatest logit.
#include "rows.h"

typedef struct Job {
  Rows logits;
  const i32 *target;
  const f32 *gradient;
  f32 *to, *sums;
  f64 ignored, smoothing;
  u32 parts;
} Job;

static void loss_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 n = job->logits.width;
  f64 spread = job->smoothing / n;
  Range rows = part_range(job->logits.count, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    const f32 *x = row_at(&job->logits, row);
    f32 shift = row_max(x, n);
    f32 log = log1((f32)row_exp_sum(x, n, shift));
    job->sums[row] = shift + log;
    i32 target = job->target[row];
    if ((f64)target == job->ignored) {
      job->to[row] = 0;
      continue;
    }
    f64 loss = log - (1 - job->smoothing) * ((f64)x[target] - shift);
    if (spread != 0) {
#define TERM(i) (load4(x + (i)) - shift)
      ROW_SUM(sum, n, TERM)
#undef TERM
      loss -= spread * sum;
    }
    job->to[row] = (f32)loss;
  }
}

// The sums are computed anew: the stored logSumExp is rounded, which matters for large logits.
static void loss_grad_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 n = job->logits.width;
  f64 spread = job->smoothing / n;
  Range rows = part_range(job->logits.count, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    f32 *to = job->to + row * n;
    i32 target = job->target[row];
    if ((f64)target == job->ignored) {
      fill_bytes(to, 0, n * 4);
      continue;
    }
    const f32 *x = row_at(&job->logits, row);
    f32 factor = job->gradient[row], everywhere = (f32)spread;
    f32 scale = (f32)(1.0 / row_exp(x, to, n, row_max(x, n)));
    f32 there = factor * (to[target] * scale - (f32)(spread + (1 - job->smoothing)));
#define TERM(i) factor * (load4(to + (i)) * scale - everywhere)
    ROW_STORE(to, n, TERM)
#undef TERM
    to[target] = there;
  }
}

// attr: whether backward; params: ignored target, smoothing.
KERNEL(cross_entropy) {
  u32 backward = (u32)call->attr[0];
  const View *in = call->in + backward;
  Job job = {.logits = rows_of(in), .target = dense_i32(in + 1), .to = target_f32(call->out)};
  job.ignored = call->params[0];
  job.smoothing = call->params[1];
  job.parts = row_parts(job.logits.count, job.logits.width);
  f64 work = in->size * 2.2;
  if (backward) {
    job.gradient = dense_f32(call->in);
    parallel(loss_grad_part, &job, job.parts, work);
  } else {
    job.sums = target_f32(call->out + 1);
    parallel(loss_part, &job, job.parts, work);
    finish_f32(call->out + 1, job.sums);
  }
  finish_f32(call->out, job.to);
  return 0;
}
