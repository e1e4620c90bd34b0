// conv forward: 2 output channels x 4 vectors of pixels, the sum over taps in registers.
#include "conv.h"

#define TAP_BLOCK 512          // taps summed before they are added to the output

#define FORWARD_TILE(ROWS)                                                                                             \
  static NOINLINE void forward_##ROWS(const Run *run, const Run *end, i32 step, const f32 *w, const f32 *x, i32 n1,    \
                                      i32 n2, i32 n3, f32 *to, const f32 *bias) {                                      \
    f32x4 sum[ROWS][4];                                                                                                \
    for (u32 r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = sum[r][2] = sum[r][3] = splat4(bias == NULL ? 0 : bias[r]); \
    for (; run != end; run++) {                                                                                        \
      const f32 *p = x + run->from, *w_end = w + ROWS * run->count;                                                    \
      NO_UNROLL for (; w != w_end; w += ROWS, p += step) {                                                             \
        KEEP(w);                                                                                                       \
        KEEP(p);                                                                                                       \
        f32x4 s[ROWS];                                                                                                 \
        for (u32 r = 0; r < ROWS; r++) s[r] = splat4(w[r]);                                                            \
        f32x4 a = load4(p), b = load4(p + n1), c = load4(p + n2), d = load4(p + n3);                                   \
        for (u32 r = 0; r < ROWS; r++) {                                                                               \
          sum[r][0] = madd4(s[r], a, sum[r][0]);                                                                       \
          sum[r][1] = madd4(s[r], b, sum[r][1]);                                                                       \
          sum[r][2] = madd4(s[r], c, sum[r][2]);                                                                       \
          sum[r][3] = madd4(s[r], d, sum[r][3]);                                                                       \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
    for (u32 r = 0; r < ROWS; r++)                                                                                     \
      for (u32 v = 0; v < 4; v++) store4(to + 16 * r + 4 * v, sum[r][v]);                                              \
  }
FORWARD_TILE(1)
FORWARD_TILE(2)

// One or two output channels of one image: all vectors, four at a time.
static void forward_block(const Conv *c, u32 image, u32 group, u32 block) {
  u32 first = block * 2, rows = MIN(2, c->out_channels - first);
  u32 out = group * c->out_channels + first, last_vector = c->vectors - 1;
  const f32 *x = c->padded + (image * c->groups + group) * c->in_channels * c->channel;
  const f32 *w = c->packed + out * c->taps;
  f32 *y = c->y + ((c->first + image) * c->groups * c->out_channels + out) * c->pixels;
  f32 sums[32];
  for (u32 begin = 0; begin < c->run_count;) {
    u32 end = begin, taps = 0;
    do taps += c->runs[end++].count;
    while (end < c->run_count && taps + c->runs[end].count <= TAP_BLOCK);
    u32 more = begin > 0;
    const f32 *bias = more || c->bias == NULL ? NULL : c->bias + out;
    const Run *run = c->runs + begin, *last = c->runs + end;
    for (u32 v = 0; v < c->vectors; v += 4) {
      const Pixels *p = c->list + v;
      u32 count = MIN(4, c->vectors - v);
      const f32 *from = x + p->from;
      i32 n1 = c->list[MIN(v + 1, last_vector)].from - p->from, n2 = c->list[MIN(v + 2, last_vector)].from - p->from;
      i32 n3 = c->list[MIN(v + 3, last_vector)].from - p->from;
      if (rows == 2) forward_2(run, last, c->step, w, from, n1, n2, n3, sums, bias);
      else forward_1(run, last, c->step, w, from, n1, n2, n3, sums, bias);
      for (u32 r = 0; r < rows; r++)
        for (u32 i = 0; i < count; i++) place(y + r * c->pixels + p[i].to, sums + 16 * r + 4 * i, p + i, more);
    }
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
    u32 first = group * c->out_channels + block * 2, end = MIN(first + 2, (group + 1) * c->out_channels);
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
