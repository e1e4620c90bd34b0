// conv forward: 4 output channels x 2 vectors of pixels or 2 x 4, the sum over taps in registers.
#include "conv.h"

#define TAP_BLOCK 512          // taps summed before they are added to the output

// A block of output channels of one image, `end - runs` runs of taps: all vectors of pixels, some at a time. What is in
// one function need not pass through calls. `aside`: sums cannot be stored as they are.
#define FORWARD_TILE(ROWS, VECTORS)                                                                                    \
  static NOINLINE void forward_##ROWS(const Conv *c, const Run *runs, const Run *end, const f32 *weights,              \
                                      const f32 *x, f32 *y, const f32 *bias, u32 aside) {                              \
    const Pixels *list = c->list;                                                                                      \
    u32 count = c->vectors, pixels = c->pixels;                                                                        \
    i32 step = c->step;                                                                                                \
    for (u32 v = 0; v < count; v += VECTORS) {                                                                         \
      const Pixels *at[VECTORS];                                                                                       \
      i32 next[VECTORS];                                                                                               \
      f32x4 sum[ROWS][VECTORS];                                                                                        \
      for (u32 i = 0; i < VECTORS; i++) {                                                                              \
        at[i] = list + MIN(v + i, count - 1);                                                                          \
        next[i] = at[i]->from - at[0]->from;                                                                           \
        for (u32 r = 0; r < ROWS; r++) sum[r][i] = splat4(bias == NULL ? 0 : bias[r]);                                 \
      }                                                                                                                \
      const f32 *from = x + at[0]->from, *w = weights;                                                                 \
      for (const Run *run = runs; run != end; run++) {                                                                 \
        const f32 *p = from + run->from, *w_end = w + ROWS * run->count;                                               \
        NO_UNROLL for (; w != w_end; w += ROWS, p += step) {                                                           \
          KEEP(w);                                                                                                     \
          KEEP(p);                                                                                                     \
          f32x4 a[VECTORS];                                                                                            \
          for (u32 i = 0; i < VECTORS; i++) a[i] = load4(p + next[i]);                                                 \
          for (u32 r = 0; r < ROWS; r++) {                                                                             \
            f32x4 s = splat4(w[r]);                                                                                    \
            for (u32 i = 0; i < VECTORS; i++) sum[r][i] = madd4(s, a[i], sum[r][i]);                                   \
          }                                                                                                            \
        }                                                                                                              \
      }                                                                                                                \
      if (!aside) {                                                                                                    \
        /* The last vector may be there several times. */                                                              \
        for (u32 i = 0; i < VECTORS; i++)                                                                              \
          for (u32 r = 0; r < ROWS; r++) store4(y + at[i]->to + r * pixels, sum[r][i]);                                \
        continue;                                                                                                      \
      }                                                                                                                \
      for (u32 i = 0; i < VECTORS && v + i < count; i++)                                                               \
        for (u32 r = 0; r < ROWS; r++) {                                                                               \
          f32 sums[4];                                                                                                 \
          store4(sums, sum[r][i]);                                                                                     \
          place(y + at[i]->to + r * pixels, sums, at[i], aside - 1);                                                   \
        }                                                                                                              \
    }                                                                                                                  \
  }
FORWARD_TILE(1, 4)
FORWARD_TILE(2, 4)
FORWARD_TILE(3, 2)
FORWARD_TILE(4, 2)

// Up to four output channels of one image.
static void forward_block(const Conv *c, u32 image, u32 group, u32 block) {
  u32 first = block * 4, rows = MIN(4, c->out_channels - first);
  u32 out = group * c->out_channels + first;
  const f32 *x = c->padded + (image * c->groups + group) * c->in_channels * c->channel;
  const f32 *w = c->packed + out * c->taps;
  f32 *y = c->y + ((c->first + image) * c->groups * c->out_channels + out) * c->pixels;
  for (u32 begin = 0; begin < c->run_count;) {
    u32 end = begin, taps = 0;
    do taps += c->runs[end++].count;
    while (end < c->run_count && taps + c->runs[end].count <= TAP_BLOCK);
    u32 more = begin > 0, aside = more ? 2 : c->out[2] < 4;
    const f32 *bias = more || c->bias == NULL ? NULL : c->bias + out;
    const Run *run = c->runs + begin, *last = c->runs + end;
    if (rows == 4) forward_4(c, run, last, w, x, y, bias, aside);
    else if (rows == 3) forward_3(c, run, last, w, x, y, bias, aside);
    else if (rows == 2) forward_2(c, run, last, w, x, y, bias, aside);
    else forward_1(c, run, last, w, x, y, bias, aside);
    w += taps * rows;
    begin = end;
  }
}

void conv_forward_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  Range range = part_range(c->items, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 block = i % c->row_blocks, rest = i / c->row_blocks;
    forward_block(c, rest / c->groups, rest % c->groups, block);
  }
}

// Weights in the order of taps, those of a block of output channels side by side.
static void pack_forward_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  Range range = part_range(c->groups * c->row_blocks, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 group = i / c->row_blocks, block = i % c->row_blocks;
    u32 first = group * c->out_channels + block * 4, end = MIN(first + 4, (group + 1) * c->out_channels);
    f32 *to = c->packed + first * c->taps;
    for (u32 k = 0; k < c->taps; k++)
      for (u32 r = first; r < end; r++) *to++ = c->w[r * c->taps + c->origin[k]];
  }
}
void conv_pack_forward(Conv *c) {
  u32 size = c->groups * c->out_channels * c->taps;
  c->packed = scratch((u64)size * 4);
  c->parts = parts_of(c->groups * c->row_blocks, 2048 / c->taps + 1);
  parallel(pack_forward_part, c, c->parts, size * 1.5);
}
