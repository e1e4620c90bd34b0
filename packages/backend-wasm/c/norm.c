// norm: layer norm (centered) and RMS norm over the last dimension, forward and backward.
#include "rows.h"

typedef struct Forward {
  Rows x;
  const f32 *weight, *bias;
  f32 *y, *inverse, *mean;
  f64 eps;
  u32 centered, parts;
} Forward;

static void norm_part(void *arg, u32 part, u32 thread) {
  const Forward *job = arg;
  u32 n = job->x.width;
  const f32 *weight = job->weight, *bias = job->bias;
  Range rows = part_range(job->x.count, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    const f32 *x = row_at(&job->x, row);
    f32 *y = job->y + row * n;
    // The mean in two floats: far from zero one would round off much of what is left. The second comes from what the
    // elements are off the first.
    f32 high = 0, low = 0;
    if (job->centered) {
#define TERM(i) load4(x + (i))
      ROW_SUM(sum, n, TERM)
#undef TERM
      high = (f32)(sum / n);
#define TERM(i) (load4(x + (i)) - high)
      ROW_SUM(rest, n, TERM)
#undef TERM
      low = (f32)(rest / n);
      job->mean[row] = high + low;
    }
#define DEVIATION(i) ((load4(x + (i)) - high) - low)
#define TERM(i) DEVIATION(i) * DEVIATION(i)
    ROW_SUM(squares, n, TERM)
#undef TERM
    f64 spread = squares / n + job->eps;
    f32 inverse = spread == 0 ? 0 : (f32)(1.0 / __builtin_sqrt(spread));
    job->inverse[row] = inverse;
    if (weight != NULL && bias != NULL) {
#define TERM(i) DEVIATION(i) * inverse * load4(weight + (i)) + load4(bias + (i))
      ROW_STORE(y, n, TERM)
#undef TERM
    } else if (weight != NULL) {
#define TERM(i) DEVIATION(i) * inverse * load4(weight + (i))
      ROW_STORE(y, n, TERM)
#undef TERM
    } else if (bias != NULL) {
#define TERM(i) DEVIATION(i) * inverse + load4(bias + (i))
      ROW_STORE(y, n, TERM)
#undef TERM
    } else {
#define TERM(i) DEVIATION(i) * inverse
      ROW_STORE(y, n, TERM)
#undef TERM
    }
  }
}

// attr: backward, centered, weight, bias; params: eps.
static u32 forward(const Call *call) {
  const View *in = call->in;
  Forward job = {.x = rows_of(in), .centered = (u32)call->attr[1], .eps = call->params[0]};
  if (call->attr[2]) job.weight = dense_f32(in + 1);
  if (call->attr[3]) job.bias = dense_f32(in + (call->attr[2] ? 2 : 1));
  job.y = target_f32(call->out);
  job.inverse = target_f32(call->out + 1);
  if (job.centered) job.mean = target_f32(call->out + 2);
  job.parts = row_parts(job.x.count, job.x.width);
  parallel(norm_part, &job, job.parts, in->size * 1.0);
  finish_f32(call->out, job.y);
  finish_f32(call->out + 1, job.inverse);
  if (job.centered) finish_f32(call->out + 2, job.mean);
  return 0;
}

// Rows whose columns are added up in floats before the sums go on in doubles.
#define COLUMN_RUN 64

typedef struct Backward {
  Rows g, x;
  const f32 *inverse, *mean, *weight;
  f32 *dx;
  f32 *runs;  // by part: sums of a run of rows for weight, then bias
  f64 *sums;  // the same for all rows of the part
  f32 *dweight, *dbias;
  u32 parts;
} Backward;

// What a row's gradient needs: dx = inverse (h - level - x̂ along) with x̂ = (x - mean) inverse, h = g weight, level the
// mean of h (centered) and along the mean of h x̂.
typedef struct Row {
  const f32 *g, *x;
  f32 *dx;
  f32 mean, inverse, level, along;
} Row;

INLINE Row prepare_row(const Backward *job, u32 at) {
  u32 n = job->x.width;
  Row row = {row_at(&job->g, at), row_at(&job->x, at), job->dx + at * n, 0, job->inverse[at], 0, 0};
  const f32 *g = row.g, *x = row.x, *weight = job->weight;
  f32 mean = 0, inverse = row.inverse;
  if (job->mean != NULL) row.mean = mean = job->mean[at];
  f32x4 zero = splat4(0);
  f64 level = 0, along = 0;
  for (u32 from = 0; from < n;) {
    u32 to = MIN(n, from + RUN), i = from;
    f32x4 sum = {0}, product = {0};
    NO_UNROLL for (; i + 4 <= to; i += 4) {
      f32x4 h = load4(g + i);
      if (weight != NULL) h *= load4(weight + i);
      sum += h;
      product += h * ((load4(x + i) - mean) * inverse);
    }
    if (i < to) {
      f32x4 h = load4(g + i);
      if (weight != NULL) h *= load4(weight + i);
      sum += keep4(h, to - i, zero);
      product += keep4(h * ((load4(x + i) - mean) * inverse), to - i, zero);
    }
    level += sum4(sum);
    along += sum4(product);
    from = to;
  }
  if (job->mean != NULL) row.level = (f32)(level / n);
  row.along = (f32)(along / n);
  return row;
}

// A row's gradient; `runs` take its share of the columns' sums, where they are wanted.
INLINE void finish_row(const Row *row, const f32 *weight, u32 n, f32 *runs) {
  const f32 *g = row->g, *x = row->x;
  f32 *dx = row->dx;
  f32 mean = row->mean, inverse = row->inverse, level = row->level, along = row->along;
  u32 i = 0;
  NO_UNROLL for (; i + 4 <= n; i += 4) {
    f32x4 gradient = load4(g + i), normalized = (load4(x + i) - mean) * inverse;
    f32x4 h = weight != NULL ? gradient * load4(weight + i) : gradient;
    if (runs != NULL) {
      store4(runs + i, load4(runs + i) + gradient * normalized);
      store4(runs + n + i, load4(runs + n + i) + gradient);
    }
    store4(dx + i, inverse * (h - level - normalized * along));
  }
  for (; i < n; i++) {
    f32 gradient = g[i], normalized = (x[i] - mean) * inverse;
    f32 h = weight != NULL ? gradient * weight[i] : gradient;
    if (runs != NULL) {
      runs[i] += gradient * normalized;
      runs[n + i] += gradient;
    }
    dx[i] = inverse * (h - level - normalized * along);
  }
}

static void norm_grad_part(void *arg, u32 part, u32 thread) {
  const Backward *job = arg;
  u32 n = job->x.width;
  const f32 *weight = job->weight;
  f32 *runs = NULL;
  f64 *sums = NULL;
  if (job->sums != NULL) {
    runs = job->runs + part * 2 * n;
    sums = job->sums + part * 2 * n;
    fill_bytes(runs, 0, 2 * n * 4);
    fill_bytes(sums, 0, 2 * n * 8);
  }
  Range range = part_range(job->x.count, job->parts, part, 1);
  for (u32 at = range.begin; at < range.end; at++) {
    Row row = prepare_row(job, at);
    if (runs == NULL) finish_row(&row, weight, n, NULL);
    else if (weight != NULL) finish_row(&row, weight, n, runs);
    else finish_row(&row, NULL, n, runs);
    u32 done = at + 1 - range.begin;
    if (runs == NULL || (done % COLUMN_RUN != 0 && at + 1 < range.end)) continue;
    for (u32 i = 0; i < 2 * n; i++) {
      sums[i] += runs[i];
      runs[i] = 0;
    }
  }
}

// Adds up the parts' sums, columns shared out.
static void norm_columns_part(void *arg, u32 part, u32 thread) {
  const Backward *job = arg;
  u32 n = job->x.width;
  Range range = part_range(n, parts_of(n, 1024), part, 4);
  for (u32 i = range.begin; i < range.end; i++) {
    f64 dweight = 0, dbias = 0;
    for (u32 p = 0; p < job->parts; p++) {
      dweight += job->sums[p * 2 * n + i];
      dbias += job->sums[p * 2 * n + n + i];
    }
    if (job->dweight != NULL) job->dweight[i] = (f32)dweight;
    if (job->dbias != NULL) job->dbias[i] = (f32)dbias;
  }
}

static u32 backward(const Call *call) {
  const View *in = call->in, *out = call->out;
  u32 centered = (u32)call->attr[1], weighted = (u32)call->attr[2], biased = (u32)call->attr[3];
  Backward job = {.g = rows_of(in), .x = rows_of(in + 1), .inverse = dense_f32(in + 2)};
  if (centered) job.mean = dense_f32(in + 3);
  if (weighted) job.weight = dense_f32(in + (centered ? 4 : 3));
  u32 n = job.x.width;
  job.parts = row_parts(job.x.count, n);
  job.dx = target_f32(out);
  if (weighted) job.dweight = target_f32(out + 1);
  if (biased) job.dbias = target_f32(out + 1 + weighted);
  if (weighted || biased) {
    job.runs = scratch_floats((u64)job.parts * 2 * n);
    job.sums = (f64 *)scratch_floats((u64)job.parts * 4 * n);
  }
  parallel(norm_grad_part, &job, job.parts, in->size * 1.8);
  if (job.sums != NULL) parallel(norm_columns_part, &job, parts_of(n, 1024), (f64)job.parts * n * 1.5);
  finish_f32(out, job.dx);
  if (weighted) finish_f32(out + 1, job.dweight);
  if (biased) finish_f32(out + 1 + weighted, job.dbias);
  return 0;
}

KERNEL(norm) { return call->attr[0] ? backward(call) : forward(call); }
