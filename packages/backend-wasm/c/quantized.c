// quantizedMatmul: x [rows, inner] times the transpose of a weight [columns, inner] in blocks of GGUF: 32 values each, a
// 16-bit scale, then a signed byte a value (Q8_0) or two values a byte, 8 above themselves (Q4_0: low nibbles first).
//
// Few rows: x becomes whole numbers of 16 bits with a scale for each block, so that blocks are multiplied as they lie,
// in integers; rounding x costs about 1e-5 of Σ |x w|. Many rows, small products, or values that are not finite: tiles
// of the weight become floats.
#include "gemm.h"
#include "rows.h"

#define BLOCK_SIZE 32
// Up to so many rows of x go the integer way (from 12 to 16 on both are equally fast), from so many products on.
#define FEW_ROWS 12
#define SMALL 16384
// Blocks whose products are added up in floats before the sum goes on in doubles: 4 lanes of 64.
#define BLOCK_RUN 256
// Floats of a tile of the weight.
#define TILE_FLOATS (1u << 20)

typedef struct Job {
  const u8 *weight;
  const f32 *x;
  f32 *to;
  u32 rows, columns, blocks, nibbles, parts;
  // x in whole numbers: levels[row][32 blocks], scales and sums (of a block's levels) [row][blocks up to a multiple of 4]
  i16 *levels;
  f32 *scales;
  i32 *sums;
  u32 stride; // of scales and sums
  u32 first, count; // columns of the tile
  f32 *tile;
} Job;

INLINE u32 bytes_of(const Job *job) { return job->nibbles ? 18 : 34; }

// The scales of four blocks that begin `bytes` apart.
INLINE f32x4 scales4(const u8 *block, u32 bytes) {
  v128_t lanes = wasm_v128_load16_lane(block, wasm_i32x4_const(0, 0, 0, 0), 0);
  lanes = wasm_v128_load16_lane(block + bytes, lanes, 2);
  lanes = wasm_v128_load16_lane(block + 2 * bytes, lanes, 4);
  u32x4 bits = (u32x4)wasm_v128_load16_lane(block + 3 * bytes, lanes, 6);
  i32x4 size = (i32x4)((bits & 0x7fff) << 13);
  // Moving the exponent by multiplication is right for subnormals too; the highest exponent stays the highest.
  u32x4 value = (u32x4)((f32x4)size * 0x1p112f);
  value |= (u32x4)(size >= 0x0f800000) & 0x7f800000;
  return (f32x4)(value | (bits & 0x8000) << 16);
}

INLINE v128_t dot8(v128_t levels, const i16 *x) { return wasm_i32x4_dot_i16x8(levels, wasm_v128_load(x)); }

// Products of a block with 32 levels of x, in four partial sums.
INLINE i32x4 dot_bytes(const u8 *q, const i16 *x) {
  v128_t a = dot8(wasm_i16x8_load8x8(q), x), b = dot8(wasm_i16x8_load8x8(q + 8), x + 8);
  v128_t c = dot8(wasm_i16x8_load8x8(q + 16), x + 16), d = dot8(wasm_i16x8_load8x8(q + 24), x + 24);
  return (i32x4)wasm_i32x4_add(wasm_i32x4_add(a, b), wasm_i32x4_add(c, d));
}

// The same for nibbles as they are stored, without taking 8 off. The levels of x lie in the order that 16-bit lanes
// give the nibbles: 0, 2, … 14, then 16, 18, …, then 1, 3, …, then 17, 19, ….
INLINE i32x4 dot_nibbles(const u8 *q, const i16 *x) {
  v128_t bytes = wasm_v128_load(q), low = wasm_i16x8_splat(15);
  v128_t a = dot8(wasm_v128_and(bytes, low), x);
  v128_t b = dot8(wasm_v128_and(wasm_u16x8_shr(bytes, 4), low), x + 8);
  v128_t c = dot8(wasm_v128_and(wasm_u16x8_shr(bytes, 8), low), x + 16);
  v128_t d = dot8(wasm_u16x8_shr(bytes, 12), x + 24);
  return (i32x4)wasm_i32x4_add(wasm_i32x4_add(a, b), wasm_i32x4_add(c, d));
}

// Where value i of a block lies among the levels.
INLINE u32 level_place(const Job *job, u32 i) { return job->nibbles ? (i & 1) * 16 + (i >> 4) * 8 + (i & 15) / 2 : i; }

// Rows of x to whole numbers. Sets a fault where a value is not finite.
static void quantize_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  Range range = part_range(job->rows * job->blocks, job->parts, part, 1);
  for (u32 at = range.begin; at < range.end; at++) {
    u32 row = at / job->blocks, block = at % job->blocks;
    const f32 *x = job->x + at * BLOCK_SIZE;
    f32x4 most = {0};
    for (u32 i = 0; i < BLOCK_SIZE; i += 4) most = max4(most, abs4(load4(x + i)));
    f32 greatest = hmax4(most);
    if (!(greatest < __builtin_inff())) set_fault(CHECK_INDEX);
    f32 inverse = greatest < 1e-33f ? 0 : 32767.0f / greatest;
    i16 *levels = job->levels + at * BLOCK_SIZE;
    i32 sum = 0;
    for (u32 i = 0; i < BLOCK_SIZE; i += 4) {
      i32x4 level = int4(nearest4(load4(x + i) * inverse));
      for (u32 j = 0; j < 4; j++) {
        levels[level_place(job, i + j)] = (i16)level[j];
        sum += level[j];
      }
    }
    job->scales[row * job->stride + block] = greatest / 32767.0f;
    job->sums[row * job->stride + block] = 8 * sum;
  }
}

// One row of the weight with one row of x.
INLINE f32 dot_row(const u8 *w, u32 nibbles, u32 blocks, const i16 *x, const f32 *scales, const i32 *sums) {
  u32 bytes = nibbles ? 18 : 34;
  f64 result = 0;
  u32 b = 0;
  for (u32 from = 0; from + 4 <= blocks; from = b) {
    u32 end = MIN(blocks & ~3u, from + BLOCK_RUN);
    f32x4 total = {0};
    NO_UNROLL for (; b < end; b += 4, w += 4 * bytes, x += 4 * BLOCK_SIZE) {
      i32x4 s0 = nibbles ? dot_nibbles(w + 2, x) : dot_bytes(w + 2, x);
      i32x4 s1 = nibbles ? dot_nibbles(w + bytes + 2, x + 32) : dot_bytes(w + bytes + 2, x + 32);
      i32x4 s2 = nibbles ? dot_nibbles(w + 2 * bytes + 2, x + 64) : dot_bytes(w + 2 * bytes + 2, x + 64);
      i32x4 s3 = nibbles ? dot_nibbles(w + 3 * bytes + 2, x + 96) : dot_bytes(w + 3 * bytes + 2, x + 96);
      i32x4 low = __builtin_shufflevector(s0, s1, 0, 4, 1, 5) + __builtin_shufflevector(s0, s1, 2, 6, 3, 7);
      i32x4 high = __builtin_shufflevector(s2, s3, 0, 4, 1, 5) + __builtin_shufflevector(s2, s3, 2, 6, 3, 7);
      i32x4 sum = __builtin_shufflevector(low, high, 0, 1, 4, 5) + __builtin_shufflevector(low, high, 2, 3, 6, 7);
      if (nibbles) sum -= *(const i32x4_any *)(sums + b);
      total = madd4(float4(sum), scales4(w, bytes) * load4(scales + b), total);
    }
    result += sum4(total);
  }
  for (; b < blocks; b++, w += bytes, x += BLOCK_SIZE) {
    i32x4 parts = nibbles ? dot_nibbles(w + 2, x) : dot_bytes(w + 2, x);
    i32 sum = parts[0] + parts[1] + parts[2] + parts[3];
    if (nibbles) sum -= sums[b];
    result += (f32)sum * (half_to_f32(*(const u16 *)w) * scales[b]);
  }
  return (f32)result;
}

static void rows_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 inner = job->blocks * BLOCK_SIZE, bytes = bytes_of(job) * job->blocks;
  Range range = part_range(job->columns, job->parts, part, 1);
  for (u32 column = range.begin; column < range.end; column++) {
    const u8 *w = job->weight + column * bytes;
    for (u32 row = 0; row < job->rows; row++) {
      const i16 *x = job->levels + row * inner;
      const f32 *scales = job->scales + row * job->stride;
      const i32 *sums = job->sums + row * job->stride;
      job->to[row * job->columns + column] = job->nibbles ? dot_row(w, 1, job->blocks, x, scales, sums)
                                                          : dot_row(w, 0, job->blocks, x, scales, sums);
    }
  }
}

// Whether the integer way could be taken.
static u32 few_rows(Job *job) {
  u32 blocks = job->rows * job->blocks;
  job->levels = scratch((u64)blocks * BLOCK_SIZE * 2);
  job->stride = (job->blocks + 3) & ~3u;
  job->scales = scratch((u64)job->rows * job->stride * 4);
  job->sums = scratch((u64)job->rows * job->stride * 4);
  job->parts = parts_of(blocks, 256);
  parallel(quantize_part, job, job->parts, blocks * 40.0);
  if (take_fault() != 0) return 0;
  u32 bytes = bytes_of(job) * job->blocks;
  job->parts = parts_of(job->columns, MAX(65536 / bytes, 1));
  parallel(rows_part, job, job->parts, (f64)job->columns * job->blocks * job->rows * 3);
  return 1;
}

INLINE void store_levels(v128_t levels, f32 scale, f32 *to) {
  store4(to, float4((i32x4)wasm_i32x4_extend_low_i16x8(levels)) * scale);
  store4(to + 4, float4((i32x4)wasm_i32x4_extend_high_i16x8(levels)) * scale);
}

// Rows of the weight as floats.
static void unpack_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 size = bytes_of(job), blocks = job->blocks;
  Range range = part_range(job->count, job->parts, part, 1);
  for (u32 at = range.begin * blocks; at < range.end * blocks; at++) {
    const u8 *w = job->weight + (job->first * blocks + at) * size;
    f32 *to = job->tile + at * BLOCK_SIZE;
    f32 scale = half_to_f32(*(const u16 *)w);
    if (job->nibbles) {
      v128_t bytes = wasm_v128_load(w + 2), eight = wasm_i8x16_splat(8);
      v128_t low = wasm_i8x16_sub(wasm_v128_and(bytes, wasm_i8x16_splat(15)), eight);
      v128_t high = wasm_i8x16_sub(wasm_u8x16_shr(bytes, 4), eight);
      store_levels(wasm_i16x8_extend_low_i8x16(low), scale, to);
      store_levels(wasm_i16x8_extend_high_i8x16(low), scale, to + 8);
      store_levels(wasm_i16x8_extend_low_i8x16(high), scale, to + 16);
      store_levels(wasm_i16x8_extend_high_i8x16(high), scale, to + 24);
    } else {
      for (u32 i = 0; i < BLOCK_SIZE; i += 8) store_levels(wasm_i16x8_load8x8(w + 2 + i), scale, to + i);
    }
  }
}

static void many_rows(Job *job) {
  u32 inner = job->blocks * BLOCK_SIZE;
  u32 most = MIN(job->columns, MAX(TILE_FLOATS / inner, 32));
  job->tile = scratch_floats((u64)most * inner);
  ScratchMark mark = scratch_mark();
  for (job->first = 0; job->first < job->columns; job->first += most) {
    job->count = MIN(most, job->columns - job->first);
    job->parts = parts_of(job->count, MAX(16384 / inner, 1));
    parallel(unpack_part, job, job->parts, (f64)job->count * inner * 0.4);
    Gemm gemm = {
        .batch = 1, .rows = job->rows, .columns = job->count, .depth = inner,
        .a = job->x, .b = job->tile, .c = job->to + job->first,
        .a_row = (i32)inner, .a_column = 1, .b_row = 1, .b_column = (i32)inner, .c_row = (i32)job->columns, .c_column = 1,
    };
    gemm_f32(&gemm);
    scratch_release(mark);
  }
}

// attr: 0 for Q8_0, 1 for Q4_0.
KERNEL(quantized_matmul) {
  const View *x = call->in, *out = call->out;
  Job job = {.weight = call->in[1].data, .x = dense_f32(x), .to = target_f32(out), .nibbles = (u32)call->attr[0]};
  job.rows = (u32)out->shape[0];
  job.columns = (u32)out->shape[1];
  job.blocks = (u32)x->shape[1] / BLOCK_SIZE;
  u32 integers = job.rows <= FEW_ROWS && (f64)out->size * x->shape[1] >= SMALL;
  if (!integers || !few_rows(&job)) many_rows(&job);
  finish_f32(out, job.to);
  return 0;
}
