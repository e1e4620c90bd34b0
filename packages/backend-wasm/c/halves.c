// Products with a matrix of 16-bit floats, which is read as it is stored: weights that are f16 or bf16.
//
// Few rows: each line of the matrix becomes floats in registers and meets all rows. Many rows: tiles of the matrix
// become floats for gemm.c.
#include "gemm.h"
#include "rows.h"

// Up to so many rows are taken a line at a time: from 12 to 16 on tiles are as fast.
#define FEW_ROWS 12
// Rows that meet a line at once, with two sums each.
#define ROWS 4
// Floats of a tile.
#define TILE_FLOATS (1u << 20)

typedef struct Job {
  const Gemm *g;
  const u16 *b;
  u32 dtype, parts;
  const f32 *x;      // rows in the order that lines are widened: of each eight elements the even ones first
  u32 first, count;  // columns of the tile
  f32 *tile;
} Job;

// The odd and the even ones of eight elements. A power of two moves a half's exponent, subnormal or not; infinities and
// NaN it leaves finite.
INLINE f32x4 odd4(v128_t x, u32 dtype) {
  if (dtype == BF16) return (f32x4)wasm_v128_and(x, wasm_i32x4_splat((i32)0xffff0000));
  return (f32x4)wasm_v128_and(wasm_i32x4_shr(x, 3), wasm_i32x4_splat((i32)0x8fffe000)) * 0x1p112f;
}
INLINE f32x4 even4(v128_t x, u32 dtype) { return odd4(wasm_i32x4_shl(x, 16), dtype); }
// Whether halves of a line were infinite or NaN, after the greatest size of each lane.
INLINE v128_t greatest8(v128_t most, v128_t x) {
  return wasm_i16x8_max(most, wasm_v128_and(x, wasm_i16x8_splat(0x7fff)));
}
INLINE u32 endless(v128_t most) { return wasm_v128_any_true(wasm_i16x8_gt(most, wasm_i16x8_splat(0x7bff))); }

INLINE f32 value_of(u16 bits, u32 dtype) { return dtype == BF16 ? bfloat_to_f32(bits) : half_to_f32(bits); }
// Where element k of a row lies in that order; what follows the last whole eight stays where it is.
INLINE u32 place_of(u32 k, u32 depth) { return k < (depth & ~7u) ? (k & ~7u) + (k & 1) * 4 + (k & 7) / 2 : k; }

void load_halves(u32 dtype, const u16 *from, f32 *to, u32 count) {
  u32 i = 0;
  v128_t zero = wasm_i32x4_const(0, 0, 0, 0);
  NO_UNROLL for (; i + 8 <= count; i += 8) {
    v128_t x = wasm_v128_load(from + i);
    v128_t low = wasm_i16x8_shuffle(zero, x, 0, 8, 1, 9, 2, 10, 3, 11);
    v128_t high = wasm_i16x8_shuffle(zero, x, 4, 12, 5, 13, 6, 14, 7, 15);
    f32x4 a = odd4(low, dtype), b = odd4(high, dtype);
    if (dtype == F16 && endless(greatest8(zero, x))) {
      for (u32 j = 0; j < 8; j++) to[i + j] = half_to_f32(from[i + j]);
      continue;
    }
    store4(to + i, a);
    store4(to + i + 4, b);
  }
  for (; i < count; i++) to[i] = value_of(from[i], dtype);
}

// ---------------------------------------------------------------------------------------------------------------------
// Lines along the depth, as in x times the transpose of a weight.

// One line with `rows` rows of x.
INLINE void dot(const u16 *line, u32 dtype, u32 depth, const f32 *x, u32 rows, f32 *c, i32 c_row) {
  f32x4 even[ROWS] = {{0}}, odd[ROWS] = {{0}}, more_even = {0}, more_odd = {0};
  v128_t most = wasm_i32x4_const(0, 0, 0, 0);
  u32 k = 0, whole = depth & ~7u;
  // One row alone has as many sums as four, or they would wait for one another.
  if (rows == 1)
    NO_UNROLL for (; k + 16 <= whole; k += 16) {
      v128_t w = wasm_v128_load(line + k), v = wasm_v128_load(line + k + 8);
      if (dtype == F16) most = greatest8(greatest8(most, w), v);
      even[0] = madd4(even4(w, dtype), load4(x + k), even[0]);
      odd[0] = madd4(odd4(w, dtype), load4(x + k + 4), odd[0]);
      more_even = madd4(even4(v, dtype), load4(x + k + 8), more_even);
      more_odd = madd4(odd4(v, dtype), load4(x + k + 12), more_odd);
    }
  NO_UNROLL for (; k < whole; k += 8) {
    v128_t w = wasm_v128_load(line + k);
    if (dtype == F16) most = greatest8(most, w);
    f32x4 w_even = even4(w, dtype), w_odd = odd4(w, dtype);
    const f32 *at = x + k;
    for (u32 r = 0; r < rows; r++, at += depth) {
      even[r] = madd4(w_even, load4(at), even[r]);
      odd[r] = madd4(w_odd, load4(at + 4), odd[r]);
    }
  }
  even[0] += more_even;
  odd[0] += more_odd;
  for (u32 r = 0; r < rows; r++, c += c_row, x += depth) {
    f32 sum = sum4(even[r] + odd[r]);
    k = whole;
    if (dtype == F16 && endless(most)) {
      sum = 0;
      NO_UNROLL for (u32 i = 0; i < whole; i++) sum += half_to_f32(line[i]) * x[place_of(i, depth)];
    }
    NO_UNROLL for (; k < depth; k++) sum += value_of(line[k], dtype) * x[k];
    *c = sum;
  }
}

INLINE void dots(const Job *job, u32 column, u32 dtype) {
  const Gemm *g = job->g;
  const u16 *line = job->b + (i32)column * g->b_column;
  f32 *c = g->c + (i32)column * g->c_column;
  const f32 *x = job->x;
  u32 i = 0;
  for (; i + ROWS <= g->rows; i += ROWS, c += ROWS * g->c_row, x += ROWS * g->depth)
    dot(line, dtype, g->depth, x, ROWS, c, g->c_row);
  for (; i < g->rows; i++, c += g->c_row, x += g->depth) dot(line, dtype, g->depth, x, 1, c, g->c_row);
}

static void dots_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  Range range = part_range(job->g->columns, job->parts, part, 1);
  if (job->dtype == BF16)
    for (u32 column = range.begin; column < range.end; column++) dots(job, column, BF16);
  else
    for (u32 column = range.begin; column < range.end; column++) dots(job, column, F16);
}

// Rows of x, one after the other, in the order of widened lines.
static const f32 *rows_of_x(const Gemm *g) {
  f32 *x = scratch_floats((u64)g->rows * g->depth), *to = x;
  for (u32 i = 0; i < g->rows; i++, to += g->depth) {
    const f32 *from = g->a + (i32)i * g->a_row;
    for (u32 k = 0; k < g->depth; k++, from += g->a_column) to[place_of(k, g->depth)] = *from;
  }
  return x;
}

// ---------------------------------------------------------------------------------------------------------------------
// Many rows, or lines that lie otherwise.

static void widen_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  const Gemm *g = job->g;
  // Lines of the tile are those of memory where it has any.
  u32 across = g->b_column == 1, length = across ? job->count : g->depth;
  Range range = part_range(across ? g->depth : job->count, job->parts, part, 1);
  for (u32 at = range.begin; at < range.end; at++) {
    f32 *to = job->tile + at * length;
    if (across) {
      load_halves(job->dtype, job->b + (i32)at * g->b_row + (i32)job->first, to, length);
    } else {
      const u16 *from = job->b + (i32)(job->first + at) * g->b_column;
      load_f32(job->dtype, (const u8 *)from, g->b_row, to, length);
    }
  }
}

static void tiles(Job *job) {
  const Gemm *g = job->g;
  u32 most = MIN(g->columns, MAX(TILE_FLOATS / g->depth, 32));
  job->tile = scratch_floats((u64)most * g->depth);
  i32 *still = scratch((u64)g->batch * 4);
  ScratchMark mark = scratch_mark();
  for (u32 i = 0; i < g->batch; i++) still[i] = 0;
  u32 across = g->b_column == 1;
  for (job->first = 0; job->first < g->columns; job->first += most) {
    job->count = MIN(most, g->columns - job->first);
    u32 length = across ? job->count : g->depth;
    job->parts = parts_of(across ? g->depth : job->count, MAX(16384 / length, 1));
    parallel(widen_part, job, job->parts, (f64)job->count * g->depth * 0.4);
    Gemm gemm = *g;
    gemm.columns = job->count;
    gemm.b = job->tile;
    gemm.b_offset = g->batch > 1 ? still : NULL;
    gemm.b_row = across ? (i32)job->count : 1;
    gemm.b_column = across ? 1 : (i32)g->depth;
    gemm.c += (i32)job->first * g->c_column;
    gemm_f32(&gemm);
    scratch_release(mark);
  }
}

void gemm_halves(const Gemm *g, const u16 *b, u32 dtype) {
  Job job = {.g = g, .b = b, .dtype = dtype};
  if (g->depth == 0) {
    gemm_f32(g);
    return;
  }
  if (g->batch == 1 && g->rows <= FEW_ROWS && g->b_row == 1 && g->depth >= 8) {
    job.x = rows_of_x(g);
    job.parts = parts_of(g->columns, MAX(32768 / g->depth, 1));
    parallel(dots_part, &job, job.parts, (f64)g->columns * g->depth * (0.1 + 0.05 * g->rows));
  } else {
    tiles(&job);
  }
}
