// What the files of conv share: the geometry that all passes walk, and their parts.
//
// All three walk the same geometry. The input is seen with its padding; output pixel p meets element k of the window
// ("tap") at `base(p) + tap(k)`, two tables. Pixels are taken in vectors of four of one row. Their inputs are next to
// each other where the stride is 1; for other strides the input is copied with its columns sorted by their remainder,
// so that they are again. So there is no im2col, and the inner loops are those of a matrix product.
#pragma once
#include "simd.h"

#define KEEP(pointer) __asm__("" : "+r"(pointer))

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
  u32 row_blocks;    // blocks of up to four output channels
  u32 splits, parts, items;
} Conv;

// The output channels of a group in blocks of equal size, four at most.
INLINE u32 block_begin(u32 channels, u32 blocks, u32 block) { return channels * block / blocks; }

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

// Parts of each pass over images under way, of floats and of doubles, and what goes before and after.
void conv_forward_part(void *arg, u32 part, u32 thread);
void conv_input_part(void *arg, u32 part, u32 thread);
void conv_weight_part(void *arg, u32 part, u32 thread);
void conv_sum_part(void *arg, u32 part, u32 thread);
void conv_forward64_part(void *arg, u32 part, u32 thread);
void conv_input64_part(void *arg, u32 part, u32 thread);
void conv_weight64_part(void *arg, u32 part, u32 thread);
void conv_pack_forward(Conv *c);
void conv_pack_input(Conv *c);
