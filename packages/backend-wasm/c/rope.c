// rope: (a, b) becomes (a cos - b sin, b cos + a sin), or the other way round for the inverse.
#include "rows.h"

typedef struct Job {
  Rows x;
  const f32 *cos, *sin;
  f32 *to;
  u32 positions, interleaved, parts;
  f32 sign;
} Job;

// Element i goes with i + half.
static void turn_halves(const f32 *x, const f32 *cos, const f32 *sin, f32 sign, f32 *to, u32 half) {
  u32 i = 0;
  NO_UNROLL for (; i + 4 <= half; i += 4) {
    f32x4 a = load4(x + i), b = load4(x + half + i), c = load4(cos + i), s = load4(sin + i) * sign;
    store4(to + i, a * c - b * s);
    store4(to + half + i, b * c + a * s);
  }
  for (; i < half; i++) {
    f32 a = x[i], b = x[half + i], c = cos[i], s = sin[i] * sign;
    to[i] = a * c - b * s;
    to[half + i] = b * c + a * s;
  }
}

// Pairs are neighbours.
static void turn_neighbours(const f32 *x, const f32 *cos, const f32 *sin, f32 sign, f32 *to, u32 half) {
  u32 i = 0;
  NO_UNROLL for (; i + 4 <= half; i += 4) {
    f32x4 low = load4(x + 2 * i), high = load4(x + 2 * i + 4), c = load4(cos + i), s = load4(sin + i) * sign;
    f32x4 a = __builtin_shufflevector(low, high, 0, 2, 4, 6), b = __builtin_shufflevector(low, high, 1, 3, 5, 7);
    f32x4 first = a * c - b * s, second = b * c + a * s;
    store4(to + 2 * i, __builtin_shufflevector(first, second, 0, 4, 1, 5));
    store4(to + 2 * i + 4, __builtin_shufflevector(first, second, 2, 6, 3, 7));
  }
  for (; i < half; i++) {
    f32 a = x[2 * i], b = x[2 * i + 1], c = cos[i], s = sin[i] * sign;
    to[2 * i] = a * c - b * s;
    to[2 * i + 1] = b * c + a * s;
  }
}

static void rope_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 width = job->x.width, half = width / 2;
  Range rows = part_range(job->x.count, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    u32 angles = row % job->positions * half;
    const f32 *x = row_at(&job->x, row), *cos = job->cos + angles, *sin = job->sin + angles;
    f32 *to = job->to + row * width;
    if (job->interleaved) turn_neighbours(x, cos, sin, job->sign, to, half);
    else turn_halves(x, cos, sin, job->sign, to, half);
  }
}

// attr: whether pairs are neighbours, whether inverse.
KERNEL(rope) {
  const View *x = call->in;
  Job job = {.x = rows_of(x), .cos = dense_f32(call->in + 1), .sin = dense_f32(call->in + 2)};
  job.to = target_f32(call->out);
  job.positions = (u32)x->shape[x->rank - 2];
  job.interleaved = (u32)call->attr[0];
  job.sign = call->attr[1] ? -1 : 1;
  job.parts = row_parts(job.x.count, job.x.width);
  parallel(rope_part, &job, job.parts, x->size * 0.8);
  finish_f32(call->out, job.to);
  return 0;
}
