// The gradient of conv's input: 4 taps x 2 vectors of pixels, the sum over output channels in registers, then added to
// the input's places.
#include "conv.h"

// Sums over output channels for two vectors of pixels, four taps at a time, added to the taps' places. `straight`: whole
// vectors of their own, one after the other.
static NOINLINE void input_tiles(const Conv *c, const f32 *w, const f32 *g, f32 *x, const i32 *tap, const Pixels *p,
                                 const Pixels *q, u32 straight) {
  u32 channels = c->out_channels, pixels = c->pixels;
  i32 next = q->to - p->to, shift = q->from - p->from;
  g += p->to;
  for (u32 panel = c->panels; panel > 0; panel--, tap += 4) {
    f32x4 sum[4][2] = {0};
    const f32 *end = w + 4 * channels, *from = g;
    NO_UNROLL for (; w != end; w += 4, from += pixels) {
      KEEP(w);
      KEEP(from);
      f32x4 a = load4(from), b = load4(from + next);
      for (u32 r = 0; r < 4; r++) {
        f32x4 s = splat4(w[r]);
        sum[r][0] = madd4(s, a, sum[r][0]);
        sum[r][1] = madd4(s, b, sum[r][1]);
      }
    }
    if (straight && tap[3] >= 0) {
      for (u32 r = 0; r < 4; r++) {
        f32 *to = x + p->from + tap[r];
        store4(to, load4(to) + sum[r][0]);
        store4(to + shift, load4(to + shift) + sum[r][1]);
      }
      continue;
    }
    f32 sums[32];
    for (u32 r = 0; r < 4; r++) {
      store4(sums + 8 * r, sum[r][0]);
      store4(sums + 8 * r + 4, sum[r][1]);
    }
    for (u32 r = 0; r < 4 && tap[r] >= 0; r++) {
      place(x + p->from + tap[r], sums + 8 * r, p, 1);
      if (p != q) place(x + q->from + tap[r], sums + 8 * r + 4, q, 1);
    }
  }
}

static void input_block(const Conv *c, u32 image, u32 group, u32 block) {
  u32 first = block_begin(c->in_channels, c->channel_blocks, block);
  u32 channels = block_begin(c->in_channels, c->channel_blocks, block + 1) - first;
  f32 *x = c->padded + (image * c->groups + group) * c->in_channels * c->channel;
  fill_bytes(x + first * c->channel, 0, channels * c->channel * 4);
  const f32 *g = c->g + ((c->first + image) * c->groups + group) * c->out_channels * c->pixels;
  const f32 *w = c->packed + (group * c->channel_blocks + block) * c->panels * c->out_channels * 4;
  const i32 *tap = c->panel_tap + block * c->panels * 4;
  for (u32 v = 0; v < c->vectors; v += 2) {
    const Pixels *p = c->list + v, *q = v + 1 < c->vectors ? p + 1 : p;
    input_tiles(c, w, g, x, tap, p, q, p != q && p->count == 4 && p->again == 0 && q->again == 0);
  }
}

void conv_input_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  Range range = part_range(c->items, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 block = i % c->channel_blocks, rest = i / c->channel_blocks;
    input_block(c, rest / c->groups, rest % c->groups, block);
  }
}

// Weights by panels of four taps, those of an output channel side by side.
static void pack_input_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 panels = c->channel_blocks * c->panels;
  Range range = part_range(c->groups * panels, c->parts, part, 1);
  f32 *to = c->packed + range.begin * c->out_channels * 4;
  for (u32 i = range.begin; i < range.end; i++) {
    const i32 *origin = c->panel_origin + i % panels * 4;
    const f32 *w = c->w + i / panels * c->out_channels * c->taps;
    for (u32 channel = 0; channel < c->out_channels; channel++, w += c->taps)
      for (u32 r = 0; r < 4; r++) *to++ = origin[r] < 0 ? 0 : w[origin[r]];
  }
}
// Taps next to each other in memory are kept apart: what one tile adds should have reached memory when the next one
// needs it.
void conv_pack_input(Conv *c) {
  u32 volume = c->taps / c->in_channels, most = 0, width = (u32)c->kernel[2];
  for (u32 block = 0; block < c->channel_blocks; block++)
    most = MAX(most, block_begin(c->in_channels, c->channel_blocks, block + 1) -
                         block_begin(c->in_channels, c->channel_blocks, block));
  c->panels = (most * volume + 3) / 4;
  c->panel_tap = scratch((u64)c->channel_blocks * c->panels * 16);
  c->panel_origin = scratch((u64)c->channel_blocks * c->panels * 16);
  for (u32 block = 0; block < c->channel_blocks; block++) {
    u32 begin = block_begin(c->in_channels, c->channel_blocks, block) * volume;
    u32 end = block_begin(c->in_channels, c->channel_blocks, block + 1) * volume;
    u32 at = block * c->panels * 4, last = at + c->panels * 4;
    for (u32 x = 0; x < width; x++)
      for (u32 k = begin + x; k < end; k += width, at++) {
        c->panel_tap[at] = c->tap[k];
        c->panel_origin[at] = (i32)c->origin[k];
      }
    for (; at < last; at++) c->panel_tap[at] = c->panel_origin[at] = -1;
  }
  u32 all = c->groups * c->channel_blocks * c->panels;
  c->packed = scratch((u64)all * 16 * c->out_channels);
  c->parts = parts_of(all, 256 / c->out_channels + 1);
  parallel(pack_input_part, c, c->parts, (f64)all * c->out_channels * 6);
}
