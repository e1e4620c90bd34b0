// The gradient of conv's weight: 4 output channels x 2 taps, the sum over pixels in registers, a few images at a time.
#include "conv.h"

// Sums over pixels of rows [begin, end) of all images, for output channels next to each other and two taps.
#define WEIGHT_TILE(ROWS)                                                                                              \
  static NOINLINE void weight_##ROWS(const Conv *c, u32 begin, u32 end, const f32 *g, const f32 *x, i32 next,          \
                                     f32 *to) {                                                                        \
    f32x4 sum[ROWS][2] = {0};                                                                                          \
    i32 pixels = (i32)c->pixels, width = c->out[2];                                                                    \
    u32 rows = (u32)(c->out[0] * c->out[1]), per_row = c->vectors / rows;                                              \
    u32 rest = (u32)width & 3;                                                                                         \
    u32 image = begin / rows, row = begin % rows;                                                                      \
    for (u32 left = end - begin; left > 0; image++, row = 0) {                                                         \
      u32 last = MIN(rows, row + left);                                                                                \
      const f32 *gi = g + image * c->groups * c->out_channels * c->pixels + row * (u32)width;                          \
      const f32 *xi = x + image * c->groups * c->in_channels * c->channel;                                             \
      const Pixels *list = c->list + row * per_row;                                                                    \
      left -= last - row;                                                                                              \
      if (rest == 0) {                                                                                                 \
        /* One loop for all rows, which are short. */                                                                  \
        const Pixels *stop = c->list + last * per_row;                                                                 \
        NO_UNROLL for (; list != stop; list++, gi += 4) {                                                              \
          KEEP(gi);                                                                                                    \
          const f32 *p = xi + list->from, *q = gi;                                                                     \
          f32x4 a = load4(p), b = load4(p + next);                                                                     \
          for (u32 r = 0; r < ROWS; r++, q += pixels) {                                                                \
            f32x4 s = load4(q);                                                                                        \
            sum[r][0] = madd4(s, a, sum[r][0]);                                                                        \
            sum[r][1] = madd4(s, b, sum[r][1]);                                                                        \
          }                                                                                                            \
        }                                                                                                              \
        continue;                                                                                                      \
      }                                                                                                                \
      for (; row < last; row++, list += per_row) {                                                                     \
        const f32 *p = xi + list->from, *row_end = gi + ((u32)width & ~3u);                                            \
        NO_UNROLL for (; gi != row_end; gi += 4, p += 4) {                                                             \
          KEEP(gi);                                                                                                    \
          KEEP(p);                                                                                                     \
          f32x4 a = load4(p), b = load4(p + next);                                                                     \
          const f32 *q = gi;                                                                                           \
          for (u32 r = 0; r < ROWS; r++, q += pixels) {                                                                \
            f32x4 s = load4(q);                                                                                        \
            sum[r][0] = madd4(s, a, sum[r][0]);                                                                        \
            sum[r][1] = madd4(s, b, sum[r][1]);                                                                        \
          }                                                                                                            \
        }                                                                                                              \
        f32x4 a = load4_part(p, rest), b = load4_part(p + next, rest);                                                 \
        for (i32 r = 0; r < ROWS; r++) {                                                                               \
          f32x4 s = load4_part(gi + r * pixels, rest);                                                                 \
          sum[r][0] = madd4(s, a, sum[r][0]);                                                                          \
          sum[r][1] = madd4(s, b, sum[r][1]);                                                                          \
        }                                                                                                              \
        gi += rest;                                                                                                    \
      }                                                                                                                \
    }                                                                                                                  \
    for (u32 r = 0; r < ROWS; r++) {                                                                                   \
      to[2 * r] = sum4(sum[r][0]);                                                                                     \
      to[2 * r + 1] = sum4(sum[r][1]);                                                                                 \
    }                                                                                                                  \
  }
WEIGHT_TILE(1)
WEIGHT_TILE(2)
WEIGHT_TILE(3)
WEIGHT_TILE(4)

void conv_weight_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 all_rows = c->images * (u32)(c->out[0] * c->out[1]);
  // So many rows that what they touch stays in the cache while all taps pass over it.
  u32 rows = (u32)(c->out[0] * c->out[1]);
  u32 touched = (c->in_channels * c->channel + 4 * c->pixels) / rows + 1;
  u32 chunk = MAX(4, 16384 / touched);
  const i32 *tap = c->tap;
  Range range = part_range(c->items, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 block = i % c->row_blocks, group = i / c->row_blocks % c->groups, split = i / c->row_blocks / c->groups;
    u32 first = block_begin(c->out_channels, c->row_blocks, block);
    u32 channels = block_begin(c->out_channels, c->row_blocks, block + 1) - first;
    u32 out = group * c->out_channels + first;
    const f32 *g = c->g + (c->first * c->groups * c->out_channels + out) * c->pixels;
    const f32 *x = c->padded + group * c->in_channels * c->channel;
    f32 *dw = c->partials + (split * c->groups * c->out_channels + out) * c->taps;
    Range share = part_range(all_rows, c->splits, split, 1);
    f32 sums[8];
    if (c->first == 0) fill_bytes(dw, 0, channels * c->taps * 4);
    for (u32 begin = share.begin; begin < share.end; begin += chunk) {
      u32 end = MIN(share.end, begin + chunk);
      for (u32 k = 0; k < c->taps; k += 2) {
        i32 pair = k + 1 < c->taps ? tap[k + 1] - tap[k] : 0;
        const f32 *from = x + tap[k];
        if (channels == 4) weight_4(c, begin, end, g, from, pair, sums);
        else if (channels == 3) weight_3(c, begin, end, g, from, pair, sums);
        else if (channels == 2) weight_2(c, begin, end, g, from, pair, sums);
        else weight_1(c, begin, end, g, from, pair, sums);
        for (u32 r = 0; r < channels; r++)
          for (u32 s = 0; s < 2 && k + s < c->taps; s++) dw[r * c->taps + c->origin[k + s]] += sums[2 * r + s];
      }
    }
  }
}

void conv_sum_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 size = c->groups * c->out_channels * c->taps;
  Range range = part_range(size, c->parts, part, 4);
  for (u32 i = range.begin; i < range.end; i++) {
    f32 sum = 0;
    for (u32 split = 0; split < c->splits; split++) sum += c->partials[split * size + i];
    c->dw[i] = sum;
  }
}
