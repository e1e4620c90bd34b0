// conv of doubles: the same walk, without tiles.
#include "conv.h"

void conv_forward64_part(void *arg, u32 part, u32 thread) {
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

void conv_input64_part(void *arg, u32 part, u32 thread) {
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

void conv_weight64_part(void *arg, u32 part, u32 thread) {
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
