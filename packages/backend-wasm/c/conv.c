// conv: forward, gradient of the input, gradient of the weight, in up to three dimensions: geometry, padding, and what
// runs when. The passes are in files of their own.
#include "conv.h"

#define MOST_PADDED (1u << 24) // elements of padded input in memory at a time
#define PARTIALS 8             // private weight gradients at most

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
  f64 channel = (f64)c->depth * c->height * c->width * c->phases, image = channel * c->groups * c->in_channels;
  // With its padding one image may be more than there is memory: that ends the call.
  if (c->copied && image > 0x3fffffff) scratch((u64)MIN(image, 0x1p50) * 4);
  c->channel = (u32)channel;
}

static void make_tables(Conv *c) {
  i32 pitch = c->width * c->phases;
  u32 per_row = ((u32)c->out[2] + 3) / 4;
  c->vectors = (u32)(c->out[0] * c->out[1]) * per_row;
  c->list = scratch((u64)c->vectors * sizeof(Pixels));
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
  c->tap = scratch((u64)c->taps * 4);
  c->origin = scratch((u64)c->taps * 4);
  c->runs = scratch((u64)c->taps * sizeof(Run));
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
  c.row_blocks = (c.out_channels + 3) / 4;
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
    if (pass == FORWARD) conv_pack_forward(&c);
    if (pass == INPUT_GRAD) {
      // Input channels are cut where there are few images.
      c.channel_blocks = MIN(c.in_channels, (15 + c.batch * c.groups) / (c.batch * c.groups));
      conv_pack_input(&c);
    }
    if (pass == WEIGHT_GRAD) {
      u32 size = outs * c.taps, rows = c.batch * (u32)(c.out[0] * c.out[1]);
      c.splits = MIN(rows, size <= 65536 ? PARTIALS : size <= 524288 ? 4 : 1);
      c.partials = c.splits == 1 ? c.dw : scratch((u64)c.splits * size * 4);
    }
  }
  u32 image = ins * c.channel, chunk = MIN(c.batch, c.copied ? MAX(1, MOST_PADDED / image) : c.batch);
  void *padded = c.copied ? scratch((u64)chunk * image * bytes) : NULL;
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
    Part part = pass == FORWARD      ? (wide ? conv_forward64_part : conv_forward_part)
                : pass == INPUT_GRAD ? (wide ? conv_input64_part : conv_input_part)
                                     : (wide ? conv_weight64_part : conv_weight_part);
    parallel(part, &c, c.parts, nanoseconds);
    if (c.copied && pass == INPUT_GRAD) each_channel(&c, wide ? unpad_f64 : unpad_f32);
  }
  if (!wide && pass == WEIGHT_GRAD && c.splits > 1) {
    c.parts = parts_of(outs * c.taps, 2048);
    parallel(conv_sum_part, &c, c.parts, (f64)outs * c.taps * c.splits);
  }
  if (wide) finish_f64(result, c.y64);
  else finish_f32(result, c.y);
  return 0;
}
