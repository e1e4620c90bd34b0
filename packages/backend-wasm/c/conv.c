// conv: forward, gradient of the input, gradient of the weight, in up to three dimensions.
//
// All three walk the same geometry. The input is seen with its padding; output pixel p meets element k of the window
// ("tap") at `base(p) + tap(k)`, two tables. Pixels are taken in vectors of four of one row. Their inputs are next to
// each other where the stride is 1; for other strides the input is copied with its columns sorted by their remainder,
// so that they are again. So there is no im2col, and the inner loops are those of a matrix product.
//
// - forward: 2 output channels x 4 vectors, the sum over taps in registers.
// - inputGrad: 4 taps x 2 vectors, the sum over output channels in registers, then added to the input's places.
// - weightGrad: 4 output channels x 2 taps, the sum over pixels in registers, a few images at a time.
#include "simd.h"

#define KEEP(pointer) __asm__("" : "+r"(pointer))
#define MOST_PADDED (1u << 24) // elements of padded input in memory at a time
#define TAP_BLOCK 512          // taps summed before they are added to the output
#define PARTIALS 16            // private weight gradients at most

enum { FORWARD, INPUT_GRAD, WEIGHT_GRAD };

// Four output pixels of one row: where their windows begin, where they lie in an output channel, how many are there,
// and how many of them the vector before has too.
typedef struct Pixels {
  i32 from, to;
  u16 count, again;
} Pixels;

// Taps whose inputs are `step` apart.
typedef struct Run {
  i32 from;
  u32 count;
} Run;

typedef struct Conv {
  u32 batch, groups, in_channels, out_channels; // channels of one group
  i32 in[3], out[3], kernel[3], stride[3], dilation[3], before[3];
  u32 pixels, taps; // output pixels of a channel; elements of a window in a group
  u32 in_size;      // elements of one input channel without padding
  // The padded, sorted input: sizes, elements of a channel. `copied`: it is not the input itself.
  i32 depth, height, width, phases;
  u32 channel, copied;
  i32 step; // between the taps of a run
  Pixels *list;
  u32 vectors;
  Run *runs;
  u32 run_count;
  i32 *tap;    // place of each tap, in the order of runs
  u32 *origin; // which element of the window it is
  const f32 *x, *w, *g, *bias;
  f32 *y, *dx, *dw;
  f32 *packed, *padded, *partials;
  const f64 *x64, *w64, *g64, *bias64; // the same for doubles
  f64 *y64, *dx64, *dw64, *padded64;
  i32 *panel_tap, *panel_origin; // inputGrad: `tap` and `origin` of each panel of four; -1 where there is none
  u32 channel_blocks, panels; // blocks of input channels, and the panels of one
  u32 first, images; // images under way
  u32 row_blocks;    // blocks of output channels: up to two forward, up to four in weightGrad
  u32 splits, parts, items;
} Conv;

static i32 gcd(i32 a, i32 b) {
  while (b != 0) {
    i32 rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// ---------------------------------------------------------------------------------------------------------------------
// Geometry

static void read_call(Conv *c, const Call *call, const View *x, const View *w, const View *out) {
  u32 rank = x->rank - 2;
  const i32 *attr = call->attr + 2;
  c->groups = (u32)call->attr[1];
  c->batch = (u32)x->shape[0];
  c->in_channels = (u32)x->shape[1] / c->groups;
  c->out_channels = (u32)out->shape[1] / c->groups;
  for (u32 d = 0; d < 3; d++) {
    i32 axis = (i32)d - 3 + (i32)rank;
    u32 present = axis >= 0;
    c->in[d] = present ? x->shape[axis + 2] : 1;
    c->out[d] = present ? out->shape[axis + 2] : 1;
    c->kernel[d] = present ? w->shape[axis + 2] : 1;
    c->stride[d] = present ? attr[axis * 4] : 1;
    c->dilation[d] = present ? attr[axis * 4 + 1] : 1;
    c->before[d] = present ? attr[axis * 4 + 2] : 0;
  }
  i32 after[3];
  for (u32 d = 0; d < 3; d++) {
    i32 axis = (i32)d - 3 + (i32)rank;
    after[d] = axis >= 0 ? attr[axis * 4 + 3] : 0;
  }
  c->in_size = (u32)(c->in[0] * c->in[1] * c->in[2]);
  c->pixels = (u32)(c->out[0] * c->out[1] * c->out[2]);
  c->taps = c->in_channels * (u32)(c->kernel[0] * c->kernel[1] * c->kernel[2]);
  i32 padding = 0;
  for (u32 d = 0; d < 3; d++) padding |= c->before[d] | after[d];
  c->copied = padding != 0 || c->stride[2] != 1;
  c->depth = c->in[0] + c->before[0] + after[0];
  c->height = c->in[1] + c->before[1] + after[1];
  c->phases = c->stride[2];
  // Columns are sorted by their remainder; each class has `width` places.
  c->width = (c->in[2] + c->before[2] + after[2] + c->phases - 1) / c->phases;
  c->channel = (u32)(c->depth * c->height * c->width * c->phases);
}

static void make_tables(Conv *c) {
  i32 pitch = c->width * c->phases;
  u32 per_row = ((u32)c->out[2] + 3) / 4;
  c->vectors = (u32)(c->out[0] * c->out[1]) * per_row;
  c->list = scratch(c->vectors * sizeof(Pixels));
  Pixels *pixels = c->list;
  for (i32 z = 0; z < c->out[0]; z++)
    for (i32 y = 0; y < c->out[1]; y++)
      for (u32 v = 0; v < per_row; v++) {
        // The last vector of a row overlaps the one before rather than being short.
        i32 wanted = (i32)v * 4, x = wanted + 4 > c->out[2] ? MAX(0, c->out[2] - 4) : wanted;
        *pixels++ = (Pixels){
            .from = (z * c->stride[0] * c->height + y * c->stride[1]) * pitch + x,
            .to = (z * c->out[1] + y) * c->out[2] + x,
            .count = (u16)MIN(4, c->out[2]),
            .again = (u16)(wanted - x),
        };
      }
  c->tap = scratch(c->taps * 4);
  c->origin = scratch(c->taps * 4);
  c->runs = scratch(c->taps * sizeof(Run));
  i32 shared = gcd(c->phases, c->dilation[2]);
  u32 classes = (u32)(c->phases / shared), at = 0;
  u32 single = c->kernel[0] * c->kernel[1] * c->kernel[2] == 1;
  c->step = single ? (i32)c->channel : c->dilation[2] / shared;
  Run *run = c->runs;
  for (u32 channel = 0; channel < c->in_channels; channel++) {
    for (i32 z = 0; z < c->kernel[0]; z++)
      for (i32 y = 0; y < c->kernel[1]; y++)
        for (u32 class = 0; class < classes && (i32)class < c->kernel[2]; class++) {
          u32 begin = at;
          for (i32 x = (i32)class; x < c->kernel[2]; x += (i32)classes) {
            i32 column = x * c->dilation[2];
            c->tap[at] = (i32)(channel * c->channel) +
                         (z * c->dilation[0] * c->height + y * c->dilation[1]) * pitch +
                         column % c->phases * c->width + column / c->phases;
            c->origin[at++] = ((channel * (u32)c->kernel[0] + (u32)z) * (u32)c->kernel[1] + (u32)y) *
                                  (u32)c->kernel[2] + (u32)x;
          }
          *run++ = (Run){c->tap[begin], at - begin};
        }
  }
  c->run_count = (u32)(run - c->runs);
  if (single) { // one run through the channels
    c->runs[0] = (Run){0, c->in_channels};
    c->run_count = 1;
  }
}

// One channel between its own layout and the padded, sorted one, and all channels of the images under way.
#define COPIES(NAME, TYPE, PADDED, X, DX)                                                                              \
  static void fill_##NAME(const Conv *c, const TYPE *x, TYPE *padded) {                                                \
    fill_bytes(padded, 0, c->channel * sizeof(TYPE));                                                                  \
    for (i32 z = 0; z < c->in[0]; z++)                                                                                 \
      for (i32 y = 0; y < c->in[1]; y++, x += c->in[2]) {                                                              \
        TYPE *row = padded + ((z + c->before[0]) * c->height + y + c->before[1]) * c->width * c->phases;               \
        if (c->phases == 1) copy_bytes(row + c->before[2], x, (u32)c->in[2] * sizeof(TYPE));                           \
        else                                                                                                           \
          for (i32 i = 0; i < c->in[2]; i++) row[sorted(c, i)] = x[i];                                                 \
      }                                                                                                                \
  }                                                                                                                    \
  static void unfill_##NAME(const Conv *c, const TYPE *padded, TYPE *x) {                                              \
    for (i32 z = 0; z < c->in[0]; z++)                                                                                 \
      for (i32 y = 0; y < c->in[1]; y++, x += c->in[2]) {                                                              \
        const TYPE *row = padded + ((z + c->before[0]) * c->height + y + c->before[1]) * c->width * c->phases;         \
        if (c->phases == 1) copy_bytes(x, row + c->before[2], (u32)c->in[2] * sizeof(TYPE));                           \
        else                                                                                                           \
          for (i32 i = 0; i < c->in[2]; i++) x[i] = row[sorted(c, i)];                                                 \
      }                                                                                                                \
  }                                                                                                                    \
  static void pad_##NAME(void *arg, u32 part, u32 thread) {                                                            \
    const Conv *c = arg;                                                                                               \
    u32 channels = c->groups * c->in_channels;                                                                         \
    Range range = part_range(c->images * channels, c->parts, part, 1);                                                 \
    for (u32 i = range.begin; i < range.end; i++)                                                                      \
      fill_##NAME(c, c->X + (c->first * channels + i) * c->in_size, c->PADDED + i * c->channel);                       \
  }                                                                                                                    \
  static void unpad_##NAME(void *arg, u32 part, u32 thread) {                                                          \
    const Conv *c = arg;                                                                                               \
    u32 channels = c->groups * c->in_channels;                                                                         \
    Range range = part_range(c->images * channels, c->parts, part, 1);                                                 \
    for (u32 i = range.begin; i < range.end; i++)                                                                      \
      unfill_##NAME(c, c->PADDED + i * c->channel, c->DX + (c->first * channels + i) * c->in_size);                    \
  }

INLINE i32 sorted(const Conv *c, i32 column) {
  column += c->before[2];
  return column % c->phases * c->width + column / c->phases;
}
COPIES(f32, f32, padded, x, dx)
COPIES(f64, f64, padded64, x64, dx64)

static void each_channel(Conv *c, Part function) {
  u32 channels = c->images * c->groups * c->in_channels;
  c->parts = parts_of(channels, 8192 / c->channel + 1);
  parallel(function, c, c->parts, (f64)channels * c->channel * 0.5);
}

// The output channels of a group in blocks of equal size, four at most.
INLINE u32 block_begin(u32 channels, u32 blocks, u32 block) { return channels * block / blocks; }

// ---------------------------------------------------------------------------------------------------------------------
// forward

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

// Four pixels' sums into their places, or added to what is there. Pixels that the vector before had too are not added
// again.
INLINE void place(f32 *to, const f32 *sums, const Pixels *p, u32 more) {
  if (p->count < 4) {
    for (u32 i = 0; i < p->count; i++) to[i] = (more ? to[i] : 0) + sums[i];
  } else if (!more) {
    store4(to, load4(sums));
  } else if (p->again == 0) {
    store4(to, load4(to) + load4(sums));
  } else {
    for (u32 i = p->again; i < 4; i++) to[i] += sums[i];
  }
}

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

static void forward_part(void *arg, u32 part, u32 thread) {
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
static void pack_forward(Conv *c) {
  u32 size = c->groups * c->out_channels * c->taps;
  c->packed = scratch(size * 4);
  c->parts = parts_of(c->groups * c->row_blocks, 2048 / c->taps + 1);
  parallel(pack_forward_part, c, c->parts, size * 1.5);
}

// ---------------------------------------------------------------------------------------------------------------------
// inputGrad

// Sums over output channels for four taps and two vectors of pixels: to `sums`, or where that is NULL added to the
// taps' places for the first vector, and `shift` elements further for the second.
static NOINLINE void input_tile(u32 channels, const f32 *w, const f32 *g, i32 next, i32 pixels, f32 *x, const i32 *tap,
                                i32 shift, f32 *sums) {
  f32x4 sum[4][2] = {0};
  const f32 *end = w + 4 * channels;
  NO_UNROLL for (; w != end; w += 4, g += pixels) {
    KEEP(w);
    KEEP(g);
    f32x4 a = load4(g), b = load4(g + next);
    for (u32 r = 0; r < 4; r++) {
      f32x4 s = splat4(w[r]);
      sum[r][0] = madd4(s, a, sum[r][0]);
      sum[r][1] = madd4(s, b, sum[r][1]);
    }
  }
  if (sums == NULL) {
    for (u32 r = 0; r < 4; r++) {
      f32 *to = x + tap[r];
      store4(to, load4(to) + sum[r][0]);
      store4(to + shift, load4(to + shift) + sum[r][1]);
    }
    return;
  }
  for (u32 r = 0; r < 4; r++) {
    store4(sums + 8 * r, sum[r][0]);
    store4(sums + 8 * r + 4, sum[r][1]);
  }
}

static void input_block(const Conv *c, u32 image, u32 group, u32 block) {
  u32 first = block_begin(c->in_channels, c->channel_blocks, block);
  u32 channels = block_begin(c->in_channels, c->channel_blocks, block + 1) - first;
  f32 *x = c->padded + (image * c->groups + group) * c->in_channels * c->channel;
  fill_bytes(x + first * c->channel, 0, channels * c->channel * 4);
  const f32 *g = c->g + ((c->first + image) * c->groups + group) * c->out_channels * c->pixels;
  const f32 *weights = c->packed + (group * c->channel_blocks + block) * c->panels * c->out_channels * 4;
  f32 sums[32];
  for (u32 v = 0; v < c->vectors; v += 2) {
    const Pixels *p = c->list + v, *q = v + 1 < c->vectors ? p + 1 : p;
    const i32 *tap = c->panel_tap + block * c->panels * 4;
    u32 simple = p != q && p->count == 4 && p->again == 0 && q->again == 0;
    const f32 *w = weights;
    for (u32 panel = 0; panel < c->panels; panel++, tap += 4, w += 4 * c->out_channels) {
      u32 straight = simple && tap[3] >= 0;
      input_tile(c->out_channels, w, g + p->to, q->to - p->to, (i32)c->pixels, x + p->from, tap, q->from - p->from,
                 straight ? NULL : sums);
      if (straight) continue;
      for (u32 r = 0; r < 4 && tap[r] >= 0; r++) {
        place(x + p->from + tap[r], sums + 8 * r, p, 1);
        if (p != q) place(x + q->from + tap[r], sums + 8 * r + 4, q, 1);
      }
    }
  }
}

static void input_part(void *arg, u32 part, u32 thread) {
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
static void pack_input(Conv *c) {
  u32 volume = c->taps / c->in_channels, most = 0, width = (u32)c->kernel[2];
  for (u32 block = 0; block < c->channel_blocks; block++)
    most = MAX(most, block_begin(c->in_channels, c->channel_blocks, block + 1) -
                         block_begin(c->in_channels, c->channel_blocks, block));
  c->panels = (most * volume + 3) / 4;
  c->panel_tap = scratch(c->channel_blocks * c->panels * 16);
  c->panel_origin = scratch(c->channel_blocks * c->panels * 16);
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
  c->packed = scratch(all * 16 * c->out_channels);
  c->parts = parts_of(all, 256 / c->out_channels + 1);
  parallel(pack_input_part, c, c->parts, (f64)all * c->out_channels * 6);
}

// ---------------------------------------------------------------------------------------------------------------------
// weightGrad

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
        if (rest == 0) continue;                                                                                       \
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

static void weight_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 all_rows = c->images * (u32)(c->out[0] * c->out[1]);
  // So many rows that what they touch stays in the cache while all taps pass over it.
  u32 rows = (u32)(c->out[0] * c->out[1]);
  u32 touched = (c->in_channels * c->channel + c->out_channels * c->pixels) / rows + 1;
  u32 chunk = MAX(4, 8192 / touched);
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

static void sum_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 size = c->groups * c->out_channels * c->taps;
  Range range = part_range(size, c->parts, part, 4);
  for (u32 i = range.begin; i < range.end; i++) {
    f32 sum = 0;
    for (u32 split = 0; split < c->splits; split++) sum += c->partials[split * size + i];
    c->dw[i] = sum;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Doubles: the same walk, without tiles.

static void forward64_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 outs = c->groups * c->out_channels, rows = (u32)(c->out[0] * c->out[1]), per_row = c->vectors / rows;
  i32 width = c->out[2];
  Range range = part_range(c->images * outs, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 image = i / outs, out = i % outs, group = out / c->out_channels;
    const f64 *x = c->padded64 + (image * c->groups + group) * c->in_channels * c->channel;
    f64 *y = c->y64 + ((c->first + image) * outs + out) * c->pixels;
    for (u32 p = 0; p < c->pixels; p++) y[p] = c->bias64 == NULL ? 0 : c->bias64[out];
    for (u32 k = 0; k < c->taps; k++) {
      f64 w = c->w64[out * c->taps + c->origin[k]];
      for (u32 row = 0; row < rows; row++) {
        const f64 *from = x + c->tap[k] + c->list[row * per_row].from;
        f64 *to = y + (i32)row * width;
        VECTORIZE for (i32 j = 0; j < width; j++) to[j] += w * from[j];
      }
    }
  }
}

static void input64_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 ins = c->groups * c->in_channels, rows = (u32)(c->out[0] * c->out[1]), per_row = c->vectors / rows;
  u32 volume = c->taps / c->in_channels;
  i32 width = c->out[2];
  Range range = part_range(c->images * ins, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 image = i / ins, group = i % ins / c->in_channels, channel = i % c->in_channels;
    f64 *x = c->padded64 + (image * c->groups + group) * c->in_channels * c->channel;
    fill_bytes(x + channel * c->channel, 0, c->channel * 8);
    for (u32 out = group * c->out_channels; out < (group + 1) * c->out_channels; out++) {
      const f64 *g = c->g64 + ((c->first + image) * c->groups * c->out_channels + out) * c->pixels;
      for (u32 k = channel * volume; k < (channel + 1) * volume; k++) {
        f64 w = c->w64[out * c->taps + c->origin[k]];
        for (u32 row = 0; row < rows; row++) {
          f64 *to = x + c->tap[k] + c->list[row * per_row].from;
          const f64 *from = g + (i32)row * width;
          VECTORIZE for (i32 j = 0; j < width; j++) to[j] += w * from[j];
        }
      }
    }
  }
}

static void weight64_part(void *arg, u32 part, u32 thread) {
  const Conv *c = arg;
  u32 outs = c->groups * c->out_channels, rows = (u32)(c->out[0] * c->out[1]), per_row = c->vectors / rows;
  i32 width = c->out[2];
  Range range = part_range(outs * c->taps, c->parts, part, 1);
  for (u32 i = range.begin; i < range.end; i++) {
    u32 out = i / c->taps, k = i % c->taps, group = out / c->out_channels;
    f64 *dw = c->dw64 + out * c->taps + c->origin[k], total = c->first == 0 ? 0 : *dw;
    for (u32 image = 0; image < c->images; image++) {
      const f64 *x = c->padded64 + (image * c->groups + group) * c->in_channels * c->channel + c->tap[k];
      const f64 *g = c->g64 + ((c->first + image) * outs + out) * c->pixels;
      f64 sum = 0;
      for (u32 row = 0; row < rows; row++) {
        const f64 *from = x + c->list[row * per_row].from;
        for (i32 j = 0; j < width; j++) sum += from[j] * g[(i32)row * width + j];
      }
      total += sum;
    }
    *dw = total;
  }
}

// ---------------------------------------------------------------------------------------------------------------------

// Attributes: pass, groups, then stride, dilation, padding before and after of each spatial dimension.
KERNEL(conv) {
  u32 pass = (u32)call->attr[0];
  const View *first = call->in, *second = call->in + 1, *result = call->out;
  const View *x = pass == FORWARD ? first : pass == INPUT_GRAD ? result : second;
  const View *w = pass == WEIGHT_GRAD ? result : second;
  const View *out = pass == FORWARD ? result : first;
  Conv c = {.row_blocks = 0};
  read_call(&c, call, x, w, out);
  make_tables(&c);
  u32 wide = result->dtype == F64, bytes = wide ? 8 : 4;
  u32 ins = c.groups * c.in_channels, outs = c.groups * c.out_channels;
  f64 work = (f64)c.batch * outs * c.pixels * c.taps; // multiplications
  c.row_blocks = pass == FORWARD ? (c.out_channels + 1) / 2 : (c.out_channels + 3) / 4;
  if (wide) {
    if (pass != INPUT_GRAD) c.x64 = dense_f64(x);
    if (pass != WEIGHT_GRAD) c.w64 = dense_f64(w);
    if (pass != FORWARD) c.g64 = dense_f64(out);
    if (pass == FORWARD && call->inputs > 2) c.bias64 = dense_f64(call->in + 2);
    c.y64 = c.dx64 = c.dw64 = target_f64(result);
  } else {
    if (pass != INPUT_GRAD) c.x = dense_f32(x);
    if (pass != WEIGHT_GRAD) c.w = dense_f32(w);
    if (pass != FORWARD) c.g = dense_f32(out);
    if (pass == FORWARD && call->inputs > 2) c.bias = dense_f32(call->in + 2);
    c.y = c.dx = c.dw = target_f32(result);
    if (pass == FORWARD) pack_forward(&c);
    if (pass == INPUT_GRAD) {
      // Input channels are cut where there are few images.
      c.channel_blocks = MIN(c.in_channels, (15 + c.batch * c.groups) / (c.batch * c.groups));
      pack_input(&c);
    }
    if (pass == WEIGHT_GRAD) {
      u32 size = outs * c.taps, rows = c.batch * (u32)(c.out[0] * c.out[1]);
      c.splits = MIN(rows, size <= 65536 ? PARTIALS : size <= 524288 ? 4 : 1);
      c.partials = c.splits == 1 ? c.dw : scratch(c.splits * size * 4);
    }
  }
  u32 image = ins * c.channel, chunk = MIN(c.batch, c.copied ? MAX(1, MOST_PADDED / image) : c.batch);
  void *padded = c.copied ? scratch(chunk * image * bytes) : NULL;
  for (; c.first < c.batch; c.first += chunk) {
    c.images = MIN(chunk, c.batch - c.first);
    if (c.copied) {
      c.padded = padded;
      c.padded64 = padded;
      if (pass != INPUT_GRAD) each_channel(&c, wide ? pad_f64 : pad_f32);
    } else {
      c.padded = pass == INPUT_GRAD ? c.dx : (f32 *)c.x;
      c.padded64 = pass == INPUT_GRAD ? c.dx64 : (f64 *)c.x64;
    }
    if (wide) {
      c.items = pass == FORWARD ? c.images * outs : pass == INPUT_GRAD ? c.images * ins : outs * c.taps;
    } else {
      c.items = pass == FORWARD      ? c.images * c.groups * c.row_blocks
                : pass == INPUT_GRAD ? c.images * c.groups * c.channel_blocks
                                     : c.splits * c.groups * c.row_blocks;
    }
    f64 nanoseconds = work * c.images / c.batch * (wide ? 0.4 : 0.05);
    c.parts = parts_of(c.items, (u32)(10000 / (nanoseconds / c.items + 1)) + 1);
    Part part = pass == FORWARD      ? (wide ? forward64_part : forward_part)
                : pass == INPUT_GRAD ? (wide ? input64_part : input_part)
                                     : (wide ? weight64_part : weight_part);
    parallel(part, &c, c.parts, nanoseconds);
    if (c.copied && pass == INPUT_GRAD) each_channel(&c, wide ? unpad_f64 : unpad_f32);
  }
  if (!wide && pass == WEIGHT_GRAD && c.splits > 1) {
    c.parts = parts_of(outs * c.taps, 2048);
    parallel(sum_part, &c, c.parts, (f64)outs * c.taps * c.splits);
  }
  if (wide) finish_f64(result, c.y64);
  else finish_f32(result, c.y);
  return 0;
}
