// pool: maximum or mean over windows, forward and backward, in up to three dimensions. Windows of 2 x 2 that do not
// overlap go four at a time.
#include "simd.h"



enum { MAXIMUM, MEAN };

// Of each output position along a dimension: the first element of its window inside the input, the end, and how many
// elements count for a mean.
typedef struct Span {
  i32 begin, end, counted;
} Span;

typedef struct Pooling {
  u32 kind, backward, wide, planes, parts;
  i32 in[3], out[3], kernel[3], stride[3], dilation[3];
  u32 in_size, pixels;
  Span *span[3];
  u32 square; // windows of 2 x 2, stride 2, no padding
  const f32 *x, *g;
  f32 *to;
  const f64 *x64, *g64;
  f64 *to64;
} Pooling;

static void make_spans(Pooling *p, u32 d, i32 before, i32 counted_before, i32 counted_after, u32 include) {
  p->span[d] = scratch((u64)p->out[d] * sizeof(Span));
  i32 step = p->dilation[d];
  for (i32 i = 0; i < p->out[d]; i++) {
    i32 first = i * p->stride[d] - before, last = first + (p->kernel[d] - 1) * step;
    i32 begin = first < 0 ? first + (-first + step - 1) / step * step : first;
    i32 end = MIN(p->in[d], last + 1);
    // The counted padding belongs to the window like elements of the input.
    i32 low = include ? -counted_before : 0, high = p->in[d] + (include ? counted_after : 0);
    i32 counted_begin = first < low ? first + (low - first + step - 1) / step * step : first;
    i32 counted_end = MIN(high, last + 1);
    p->span[d][i] = (Span){begin, end, counted_end > counted_begin ? (counted_end - counted_begin + step - 1) / step : 0};
  }
}

// The place of a window's first greatest element, or its first NaN; -1 where the window lies in the padding.
#define WALK(NAME, TYPE, X, G, TO)                                                                                     \
  INLINE i32 best_##NAME(const Pooling *p, const TYPE *x, const Span *sz, const Span *sy, const Span *sx) {            \
    TYPE best = -(TYPE)__builtin_inff();                                                                               \
    i32 at = -1;                                                                                                       \
    for (i32 z = sz->begin; z < sz->end; z += p->dilation[0])                                                          \
      for (i32 y = sy->begin; y < sy->end; y += p->dilation[1]) {                                                      \
        i32 row = (z * p->in[1] + y) * p->in[2];                                                                       \
        for (i32 i = sx->begin; i < sx->end; i += p->dilation[2]) {                                                    \
          TYPE value = x[row + i];                                                                                     \
          if ((!(value <= best) && best == best) || at < 0) {                                                          \
            best = value;                                                                                              \
            at = row + i;                                                                                              \
          }                                                                                                            \
        }                                                                                                              \
      }                                                                                                                \
    return at;                                                                                                         \
  }                                                                                                                    \
  INLINE f64 sum_##NAME(const Pooling *p, const TYPE *x, const Span *sz, const Span *sy, const Span *sx) {             \
    f64 sum = 0;                                                                                                       \
    for (i32 z = sz->begin; z < sz->end; z += p->dilation[0])                                                          \
      for (i32 y = sy->begin; y < sy->end; y += p->dilation[1])                                                        \
        for (i32 i = sx->begin; i < sx->end; i += p->dilation[2]) sum += x[(z * p->in[1] + y) * p->in[2] + i];         \
    return sum;                                                                                                        \
  }                                                                                                                    \
  INLINE void spread_##NAME(const Pooling *p, TYPE *x, TYPE share, const Span *sz, const Span *sy, const Span *sx) {   \
    for (i32 z = sz->begin; z < sz->end; z += p->dilation[0])                                                          \
      for (i32 y = sy->begin; y < sy->end; y += p->dilation[1])                                                        \
        for (i32 i = sx->begin; i < sx->end; i += p->dilation[2]) x[(z * p->in[1] + y) * p->in[2] + i] += share;       \
  }                                                                                                                    \
  static void plane_##NAME(const Pooling *p, u32 plane) {                                                              \
    const TYPE *x = p->X == NULL ? NULL : p->X + plane * p->in_size;                                                   \
    const TYPE *g = p->backward ? p->G + plane * p->pixels : NULL;                                                     \
    TYPE *to = p->TO + plane * (p->backward ? p->in_size : p->pixels);                                                 \
    if (p->backward) fill_bytes(to, 0, p->in_size * sizeof(TYPE));                                                     \
    u32 pixel = 0;                                                                                                     \
    for (i32 oz = 0; oz < p->out[0]; oz++)                                                                             \
      for (i32 oy = 0; oy < p->out[1]; oy++)                                                                           \
        for (i32 ox = 0; ox < p->out[2]; ox++, pixel++) {                                                              \
          const Span *sz = p->span[0] + oz, *sy = p->span[1] + oy, *sx = p->span[2] + ox;                              \
          if (p->kind == MEAN) {                                                                                       \
            f64 counted = (f64)sz->counted * sy->counted * sx->counted;                                                \
            if (p->backward) spread_##NAME(p, to, (TYPE)(g[pixel] / counted), sz, sy, sx);                             \
            else to[pixel] = (TYPE)(sum_##NAME(p, x, sz, sy, sx) / counted);                                           \
            continue;                                                                                                  \
          }                                                                                                            \
          i32 at = best_##NAME(p, x, sz, sy, sx);                                                                      \
          if (!p->backward) to[pixel] = at < 0 ? -(TYPE)__builtin_inff() : x[at];                                      \
          else if (at >= 0) to[at] += g[pixel];                                                                        \
        }                                                                                                              \
  }
WALK(f32, f32, x, g, to)
WALK(f64, f64, x64, g64, to64)

// Four windows of 2 x 2: elements (0, 0), (0, 1), (1, 0), (1, 1) of each.
#define CORNERS(p, q)                                                                                                  \
  f32x4 x0 = load4(p), x1 = load4(p + 4), x2 = load4(q), x3 = load4(q + 4);                                            \
  f32x4 a = __builtin_shufflevector(x0, x1, 0, 2, 4, 6), b = __builtin_shufflevector(x0, x1, 1, 3, 5, 7);              \
  f32x4 c = __builtin_shufflevector(x2, x3, 0, 2, 4, 6), d = __builtin_shufflevector(x2, x3, 1, 3, 5, 7)

INLINE i32x4 beats(f32x4 value, f32x4 best) { return ~(value <= best) & (best == best); }

// Forward over one row of windows: x and the row below.
static void square_forward(u32 kind, const f32 *p, i32 width, f32 *to, i32 count) {
  const f32 *q = p + width;
  i32 i = 0;
  if (kind == MAXIMUM) {
    NO_UNROLL for (; i + 4 <= count; i += 4, p += 8, q += 8) {
      CORNERS(p, q);
      // The first NaN is the one that comes out.
      f32x4 best = select4(beats(b, a), b, a);
      best = select4(beats(c, best), c, best);
      store4(to + i, select4(beats(d, best), d, best));
    }
    for (; i < count; i++, p += 2, q += 2) {
      f32 best = p[0];
      if (!(p[1] <= best) && best == best) best = p[1];
      if (!(q[0] <= best) && best == best) best = q[0];
      if (!(q[1] <= best) && best == best) best = q[1];
      to[i] = best;
    }
    return;
  }
  NO_UNROLL for (; i + 4 <= count; i += 4, p += 8, q += 8) {
    CORNERS(p, q);
    store4(to + i, ((a + b) + (c + d)) * 0.25f);
  }
  for (; i < count; i++, p += 2, q += 2) to[i] = ((p[0] + p[1]) + (q[0] + q[1])) * 0.25f;
}

static void square_backward(u32 kind, const f32 *p, i32 width, const f32 *g, f32 *to, i32 count) {
  const f32 *q = p + width;
  f32 *below = to + width;
  i32 i = 0;
  f32x4 zero = splat4(0);
  NO_UNROLL for (; i + 4 <= count; i += 4, to += 8, below += 8) {
    f32x4 value = load4(g + i), va, vb, vc, vd;
    if (kind == MAXIMUM) {
      CORNERS(p, q);
      p += 8, q += 8;
      i32x4 right = beats(b, a);
      f32x4 best = select4(right, b, a);
      i32x4 low = beats(c, best);
      best = select4(low, c, best);
      i32x4 last = beats(d, best);
      va = select4(right | low | last, zero, value);
      vb = select4(right & ~(low | last), value, zero);
      vc = select4(low & ~last, value, zero);
      vd = select4(last, value, zero);
    } else {
      va = vb = vc = vd = value * 0.25f;
    }
    store4(to, __builtin_shufflevector(va, vb, 0, 4, 1, 5));
    store4(to + 4, __builtin_shufflevector(va, vb, 2, 6, 3, 7));
    store4(below, __builtin_shufflevector(vc, vd, 0, 4, 1, 5));
    store4(below + 4, __builtin_shufflevector(vc, vd, 2, 6, 3, 7));
  }
  for (; i < count; i++, to += 2, below += 2) {
    if (kind == MEAN) {
      to[0] = to[1] = below[0] = below[1] = g[i] * 0.25f;
      continue;
    }
    f32 best = p[0];
    u32 at = 0;
    if (!(p[1] <= best) && best == best) best = p[1], at = 1;
    if (!(q[0] <= best) && best == best) best = q[0], at = 2;
    if (!(q[1] <= best) && best == best) best = q[1], at = 3;
    to[0] = at == 0 ? g[i] : 0;
    to[1] = at == 1 ? g[i] : 0;
    below[0] = at == 2 ? g[i] : 0;
    below[1] = at == 3 ? g[i] : 0;
    p += 2, q += 2;
  }
}

static void square_plane(const Pooling *p, u32 plane) {
  i32 width = p->in[2], count = p->out[2];
  const f32 *x = p->x == NULL ? NULL : p->x + plane * p->in_size;
  f32 *to = p->to + plane * (p->backward ? p->in_size : p->pixels);
  const f32 *g = p->backward ? p->g + plane * p->pixels : NULL;
  // A last row or column that no window reaches.
  if (p->backward && p->in_size != 4 * p->pixels) fill_bytes(to, 0, p->in_size * 4);
  for (i32 y = 0; y < p->out[1]; y++) {
    const f32 *from = x == NULL ? NULL : x + 2 * y * width;
    if (p->backward) square_backward(p->kind, from, width, g + y * count, to + 2 * y * width, count);
    else square_forward(p->kind, from, width, to + y * count, count);
  }
}

static void pooling_part(void *arg, u32 part, u32 thread) {
  const Pooling *p = arg;
  Range range = part_range(p->planes, p->parts, part, 1);
  for (u32 plane = range.begin; plane < range.end; plane++) {
    if (p->square) square_plane(p, plane);
    else if (p->wide) plane_f64(p, plane);
    else plane_f32(p, plane);
  }
}

// Attributes: backward, kind, whether padding counts, then kernel size, stride, dilation, padding before and after,
// counted padding before and after of each spatial dimension.
KERNEL(pooling) {
  const i32 *attr = call->attr + 3;
  Pooling p = {.backward = (u32)call->attr[0], .kind = (u32)call->attr[1]};
  const View *result = call->out;
  // The gradient of a mean does not need x.
  const View *x = !p.backward ? call->in : call->inputs > 1 ? call->in + 1 : NULL;
  const View *input = p.backward ? result : call->in, *output = p.backward ? call->in : result;
  u32 rank = input->rank - 2;
  p.planes = (u32)(input->shape[0] * input->shape[1]);
  p.wide = result->dtype == F64;
  p.square = !p.wide && rank == 2;
  for (u32 d = 0; d < 3; d++) {
    i32 axis = (i32)d - 3 + (i32)rank;
    const i32 *a = attr + axis * 7;
    u32 present = axis >= 0;
    p.in[d] = present ? input->shape[axis + 2] : 1;
    p.out[d] = present ? output->shape[axis + 2] : 1;
    p.kernel[d] = present ? a[0] : 1;
    p.stride[d] = present ? a[1] : 1;
    p.dilation[d] = present ? a[2] : 1;
    make_spans(&p, d, present ? a[3] : 0, present ? a[5] : 0, present ? a[6] : 0, (u32)call->attr[2]);
    if (present && (a[0] != 2 || a[1] != 2 || a[2] != 1 || a[3] != 0 || a[4] != 0)) p.square = 0;
  }
  p.in_size = (u32)(p.in[0] * p.in[1] * p.in[2]);
  p.pixels = (u32)(p.out[0] * p.out[1] * p.out[2]);
  if (p.wide) {
    if (x != NULL) p.x64 = dense_f64(x);
    if (p.backward) p.g64 = dense_f64(output);
    p.to64 = target_f64(result);
  } else {
    if (x != NULL) p.x = dense_f32(x);
    if (p.backward) p.g = dense_f32(output);
    p.to = target_f32(result);
  }
  f64 window = (f64)p.pixels * p.kernel[0] * p.kernel[1] * p.kernel[2];
  f64 nanoseconds = p.planes * (p.square ? window * 0.15 : window * 1.5 + p.pixels * 3.0);
  p.parts = parts_of(p.planes, (u32)(8000 / (nanoseconds / p.planes + 1)) + 1);
  parallel(pooling_part, &p, p.parts, nanoseconds);
  if (p.wide) finish_f64(result, p.to64);
  else finish_f32(result, p.to);
  return 0;
}
