// Products of matrices of floats: register tiles of 4 rows and 8 (f64: 4) columns over panels of B.
//
// A product is cut into items: blocks of rows times blocks of columns of every matrix of the stack. Within an item the
// depth goes in blocks, so that a panel of B, packed to lie in one piece, stays in the first-level cache while all rows
// of the item pass over it. So is a block of A, unless its rows are dense and few columns pass over them.
// Many blocks of rows share B, so then it is packed once, before the items. Deep products with few results are cut
// along the depth, as a stack whose results are added. Everything follows from shapes and strides alone.
//
// This file includes itself, once for each type.
#ifndef REAL
#include "gemm.h"
#include "simd.h"

#define DEEPEST 320      // most elements of a block of the depth
#define TILE 4           // rows of a tile
#define FEW_ROWS 128     // up to so many rows are one item
#define ROW_BLOCK 64     // rows of an item otherwise
#define SPLITS 8         // pieces of a deep product
#define SPLIT_DEPTH 1024 // what is deep
#define SPLIT_SIZE 65536 // and most results it may have
#define KEEP(pointer) __asm__("" : "+r"(pointer))
#define CHUNK 1024       // columns of a vector times a matrix at a time

typedef f64 f64x2_any __attribute__((vector_size(16), aligned(8)));
INLINE f64x2 splat2(f64 x) { return (f64x2){x, x}; }
INLINE f64x2 load2(const f64 *p) { return *(const f64x2_any *)p; }
INLINE void store2(f64 *p, f64x2 x) { *(f64x2_any *)p = x; }
INLINE f64 sum2(f64x2 x) { return x[0] + x[1]; }

// Four by four, so that columns become rows.
INLINE void turn_f32(const f32 *from, i32 step, f32 *to, u32 width) {
  f32x4 a = load4(from), b = load4(from + step), c = load4(from + 2 * step), d = load4(from + 3 * step);
  f32x4 e = __builtin_shufflevector(a, b, 0, 4, 1, 5), f = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  f32x4 g = __builtin_shufflevector(a, b, 2, 6, 3, 7), h = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store4(to, __builtin_shufflevector(e, f, 0, 1, 4, 5));
  store4(to + width, __builtin_shufflevector(e, f, 2, 3, 6, 7));
  store4(to + 2 * width, __builtin_shufflevector(g, h, 0, 1, 4, 5));
  store4(to + 3 * width, __builtin_shufflevector(g, h, 2, 3, 6, 7));
}
INLINE void turn_f64(const f64 *from, i32 step, f64 *to, u32 width) {
  for (u32 i = 0; i < 4; i++)
    for (u32 j = 0; j < 4; j++) to[j * width + i] = from[(i32)i * step + (i32)j];
}

#define REAL f32
#define VECTOR f32x4
#define LANES 4
#define WIDTH 8
#define NAME(name) name##_f32
#define GEMM Gemm
#define LOAD load4
#define STORE store4
#define SPLAT splat4
#define MADD madd4
#define SUM sum4
#include "gemm.c"
#undef REAL
#undef VECTOR
#undef LANES
#undef WIDTH
#undef NAME
#undef GEMM
#undef LOAD
#undef STORE
#undef SPLAT
#undef MADD
#undef SUM
#define REAL f64
#define VECTOR f64x2
#define LANES 2
#define WIDTH 4
#define NAME(name) name##_f64
#define GEMM Gemm64
#define LOAD load2
#define STORE store2
#define SPLAT splat2
#define MADD madd2
#define SUM sum2
#include "gemm.c"
#else

typedef struct NAME(Job) {
  GEMM g;
  const REAL *packed;              // all of B in panels, or NULL
  u32 piece;                       // depth of one matrix of the stack; the last may have less
  u32 whole;                       // depth of all of them, when they are pieces of one product
  u32 block;                       // depth of a block
  u32 row_step, row_blocks;        // rows of an item, and how many such blocks there are
  u32 column_step, column_blocks;
  u32 items, parts;
} NAME(Job);

// ---------------------------------------------------------------------------------------------------------------------
// Packing

// `depth` rows of up to WIDTH columns, one after the other, filled up with zeros.
static void NAME(pack_b)(const REAL *b, i32 row, i32 column, u32 depth, u32 width, REAL *to) {
  if (column == 1 && width == WIDTH) {
    NO_UNROLL for (u32 k = 0; k < depth; k++, b += row, to += WIDTH) {
      VECTOR x = LOAD(b), y = LOAD(b + LANES);
      STORE(to, x);
      STORE(to + LANES, y);
    }
    return;
  }
  u32 k = 0;
  if (row == 1 && width == WIDTH)
    NO_UNROLL for (; k + 4 <= depth; k += 4)
      for (u32 j = 0; j < WIDTH; j += 4) NAME(turn)(b + (i32)j * column + (i32)k, column, to + k * WIDTH + j, WIDTH);
  for (; k < depth; k++) {
    const REAL *from = b + (i32)k * row;
    for (u32 j = 0; j < WIDTH; j++) to[k * WIDTH + j] = j < width ? from[(i32)j * column] : 0;
  }
}

// Rows in panels of TILE: for each panel, `depth` columns of TILE elements.
static void NAME(pack_a)(const REAL *a, i32 row, i32 column, u32 rows, u32 depth, REAL *to) {
  for (u32 i = 0; i < rows; i += TILE, a += TILE * row, to += TILE * depth) {
    u32 height = MIN(rows - i, TILE), k = 0;
    if (column == 1 && height == TILE)
      NO_UNROLL for (; k + 4 <= depth; k += 4) NAME(turn)(a + k, row, to + k * TILE, TILE);
    if (row == 1 && height == TILE)
      NO_UNROLL for (; k < depth; k++) {
        const REAL *from = a + (i32)k * column;
        for (u32 r = 0; r < TILE; r += LANES) STORE(to + k * TILE + r, LOAD(from + r));
      }
    for (; k < depth; k++) {
      const REAL *from = a + (i32)k * column;
      for (u32 r = 0; r < TILE; r++) to[k * TILE + r] = r < height ? from[(i32)r * row] : 0;
    }
  }
}

static void NAME(pack_part)(void *arg, u32 part, u32 thread) {
  const NAME(Job) *job = arg;
  const GEMM *g = &job->g;
  u32 panels = (g->columns + WIDTH - 1) / WIDTH;
  Range range = part_range(panels, job->parts, part, 1);
  for (u32 k = 0; k < g->depth; k += job->block) {
    u32 depth = MIN(job->block, g->depth - k);
    for (u32 panel = range.begin; panel < range.end; panel++) {
      REAL *to = (REAL *)job->packed + k * panels * WIDTH + panel * depth * WIDTH;
      const REAL *from = g->b + (i32)k * g->b_row + (i32)(panel * WIDTH) * g->b_column;
      NAME(pack_b)(from, g->b_row, g->b_column, depth, MIN(WIDTH, g->columns - panel * WIDTH), to);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Tiles

// c (+)= a b for 4 rows, whose elements lie `column` apart, and WIDTH columns.
#define STEP(r, x)                                                                                                     \
  do {                                                                                                                 \
    VECTOR s = SPLAT(x);                                                                                               \
    c##r##0 = MADD(s, b0, c##r##0);                                                                                    \
    c##r##1 = MADD(s, b1, c##r##1);                                                                                    \
  } while (0)
#define FINISH(r)                                                                                                      \
  do {                                                                                                                 \
    REAL *to = c + r * c_row;                                                                                          \
    STORE(to, more ? LOAD(to) + c##r##0 : c##r##0);                                                                    \
    STORE(to + LANES, more ? LOAD(to + LANES) + c##r##1 : c##r##1);                                                    \
  } while (0)
#define ZEROS VECTOR c00 = {0}, c01 = {0}, c10 = {0}, c11 = {0}, c20 = {0}, c21 = {0}, c30 = {0}, c31 = {0}

// Rows of A next to each other. KEEP stops the compiler from making a pointer of its own for every load, which would
// cost an addition each; loops are not unrolled, since engines spill vectors then.
INLINE void NAME(tile_near)(u32 depth, const REAL *a, i32 column, const REAL *b, i32 row, REAL *c, i32 c_row, u32 more) {
  ZEROS;
  const REAL *end = a + (i32)depth * column;
  NO_UNROLL for (; a != end; a += column, b += row) {
    KEEP(a);
    KEEP(b);
    VECTOR b0 = LOAD(b), b1 = LOAD(b + LANES);
    STEP(0, a[0]);
    STEP(1, a[1]);
    STEP(2, a[2]);
    STEP(3, a[3]);
  }
  FINISH(0);
  FINISH(1);
  FINISH(2);
  FINISH(3);
}
// A packed; B packed or in dense rows.
static NOINLINE void NAME(tile_packed)(u32 depth, const REAL *a, const REAL *b, REAL *c, i32 c_row, u32 more) {
  NAME(tile_near)(depth, a, TILE, b, WIDTH, c, c_row, more);
}
static NOINLINE void NAME(tile_direct)(u32 depth, const REAL *a, const REAL *b, i32 row, REAL *c, i32 c_row, u32 more) {
  NAME(tile_near)(depth, a, TILE, b, row, c, c_row, more);
}
// Rows of A that are dense themselves.
static NOINLINE void NAME(tile_rows)(u32 depth, const REAL *a, i32 a_row, const REAL *b, i32 row, REAL *c, i32 c_row,
                                     u32 more) {
  ZEROS;
  const REAL *end = a + depth;
  NO_UNROLL for (; a != end; a++, b += row) {
    KEEP(a);
    KEEP(b);
    VECTOR b0 = LOAD(b), b1 = LOAD(b + LANES);
    const REAL *x = a;
    STEP(0, x[0]);
    x += a_row;
    STEP(1, x[0]);
    x += a_row;
    STEP(2, x[0]);
    x += a_row;
    STEP(3, x[0]);
  }
  FINISH(0);
  FINISH(1);
  FINISH(2);
  FINISH(3);
}

static void NAME(item)(const NAME(Job) *job, u32 at, u32 thread) {
  const GEMM *g = &job->g;
  u32 column_block = at % job->column_blocks;
  at /= job->column_blocks;
  u32 row0 = at % job->row_blocks * job->row_step, batch = at / job->row_blocks;
  u32 column0 = column_block * job->column_step;
  if (row0 >= g->rows || column0 >= g->columns) return;
  u32 rows = MIN(job->row_step, g->rows - row0), columns = MIN(job->column_step, g->columns - column0);
  u32 panels = (g->columns + WIDTH - 1) / WIDTH;
  u32 deep = MIN(job->piece, job->whole - (job->whole > g->depth ? batch * job->piece : 0));
  const REAL *a = g->a + (g->a_offset ? g->a_offset[batch] : 0) + (i32)row0 * g->a_row;
  const REAL *b = g->b + (g->b_offset ? g->b_offset[batch] : 0) + (i32)column0 * g->b_column;
  REAL *c = g->c + (g->c_offset ? g->c_offset[batch] : 0) + (i32)row0 * g->c_row + (i32)column0 * g->c_column;
  REAL panel[DEEPEST * WIDTH], tile[TILE * WIDTH];
  // With few rows, packing a panel costs more than it brings.
  u32 direct_b = g->b_column == 1 && rows <= 2 * TILE;
  // Whole tiles of rows are read where they lie when few columns pass over them.
  u32 whole_rows = g->a_column == 1 && columns <= 8 * WIDTH ? rows & ~(TILE - 1u) : 0;
  REAL *packed_a = thread_scratch(thread);
  for (u32 k = 0; k < deep; k += job->block) {
    u32 depth = MIN(job->block, deep - k);
    const REAL *ak = a + (i32)k * g->a_column;
    if (whole_rows < rows)
      NAME(pack_a)(ak + (i32)whole_rows * g->a_row, g->a_row, g->a_column, rows - whole_rows, depth, packed_a);
    for (u32 j = 0; j < columns; j += WIDTH) {
      u32 width = MIN(WIDTH, columns - j);
      const REAL *bk = b + (i32)k * g->b_row + (i32)j * g->b_column;
      i32 b_row = WIDTH;
      if (job->packed != NULL) {
        bk = job->packed + k * panels * WIDTH + (column0 + j) * depth;
      } else if (direct_b && width == WIDTH) {
        b_row = g->b_row;
      } else {
        NAME(pack_b)(bk, g->b_row, g->b_column, depth, width, panel);
        bk = panel;
      }
      for (u32 i = 0; i < rows; i += TILE) {
        u32 height = MIN(TILE, rows - i), more = k > 0;
        REAL *ci = c + (i32)i * g->c_row + (i32)j * g->c_column, *to = ci;
        u32 aside = height < TILE || width < WIDTH || g->c_column != 1;
        i32 to_row = aside ? WIDTH : g->c_row;
        if (aside) to = tile;
        u32 add = more && !aside;
        if (i < whole_rows)
          NAME(tile_rows)(depth, ak + (i32)i * g->a_row, g->a_row, bk, b_row, to, to_row, add);
        else if (b_row == WIDTH)
          NAME(tile_packed)(depth, packed_a + (i - whole_rows) * depth, bk, to, to_row, add);
        else
          NAME(tile_direct)(depth, packed_a + (i - whole_rows) * depth, bk, b_row, to, to_row, add);
        if (!aside) continue;
        for (u32 r = 0; r < height; r++)
          for (u32 s = 0; s < width; s++) {
            REAL *at_c = ci + (i32)r * g->c_row + (i32)s * g->c_column;
            *at_c = (more ? *at_c : 0) + tile[r * WIDTH + s];
          }
      }
    }
  }
}

static void NAME(items_part)(void *arg, u32 part, u32 thread) {
  const NAME(Job) *job = arg;
  Range range = part_range(job->items, job->parts, part, 1);
  for (u32 at = range.begin; at < range.end; at++) NAME(item)(job, at, thread);
}

// ---------------------------------------------------------------------------------------------------------------------
// A vector times a matrix: as fast as the matrix can be read.

static REAL NAME(dot)(const REAL *a, const REAL *b, u32 count) {
  VECTOR s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
  const REAL *end = a + (count & ~(4u * LANES - 1));
  NO_UNROLL for (; a != end; a += 4 * LANES, b += 4 * LANES) {
    KEEP(a);
    KEEP(b);
    s0 = MADD(LOAD(a), LOAD(b), s0);
    s1 = MADD(LOAD(a + LANES), LOAD(b + LANES), s1);
    s2 = MADD(LOAD(a + 2 * LANES), LOAD(b + 2 * LANES), s2);
    s3 = MADD(LOAD(a + 3 * LANES), LOAD(b + 3 * LANES), s3);
  }
  count &= 4 * LANES - 1;
  REAL sum = SUM((s0 + s1) + (s2 + s3));
  NO_UNROLL for (u32 k = 0; k < count; k++) sum += a[k] * b[k];
  return sum;
}

// The same for four columns of b at once, which memory delivers faster than one.
static void NAME(dots)(const REAL *a, const REAL *b, i32 column, u32 count, REAL *c, i32 c_column) {
  VECTOR s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, t0 = {0}, t1 = {0}, t2 = {0}, t3 = {0};
  const REAL *end = a + (count & ~(2u * LANES - 1)), *from = b;
  NO_UNROLL for (; a != end; a += 2 * LANES, from += 2 * LANES) {
    KEEP(a);
    KEEP(from);
    VECTOR x = LOAD(a), y = LOAD(a + LANES);
    const REAL *p = from;
    s0 = MADD(x, LOAD(p), s0), t0 = MADD(y, LOAD(p + LANES), t0);
    p += column;
    s1 = MADD(x, LOAD(p), s1), t1 = MADD(y, LOAD(p + LANES), t1);
    p += column;
    s2 = MADD(x, LOAD(p), s2), t2 = MADD(y, LOAD(p + LANES), t2);
    p += column;
    s3 = MADD(x, LOAD(p), s3), t3 = MADD(y, LOAD(p + LANES), t3);
  }
  REAL sums[4] = {SUM(s0 + t0), SUM(s1 + t1), SUM(s2 + t2), SUM(s3 + t3)};
  count &= 2 * LANES - 1;
  for (i32 j = 0; j < 4; j++, from += column) {
    for (u32 k = 0; k < count; k++) sums[j] += a[k] * from[k];
    c[j * c_column] = sums[j];
  }
}

// Few rows, columns of b dense.
static void NAME(dots_part)(void *arg, u32 part, u32 thread) {
  const NAME(Job) *job = arg;
  const GEMM *g = &job->g;
  Range range = part_range(g->batch * g->columns, job->parts, part, 4);
  for (u32 at = range.begin, step; at < range.end; at += step) {
    u32 batch = at / g->columns;
    // Columns are counted in fours from the first one of each matrix, whatever the part.
    step = g->columns % 4 == 0 || (g->batch == 1 && at + 4 <= g->columns) ? 4 : 1;
    i32 column = (i32)(at % g->columns);
    u32 deep = MIN(job->piece, job->whole - (job->whole > g->depth ? batch * job->piece : 0));
    const REAL *a = g->a + (g->a_offset ? g->a_offset[batch] : 0);
    const REAL *b = g->b + (g->b_offset ? g->b_offset[batch] : 0) + column * g->b_column;
    REAL *c = g->c + (g->c_offset ? g->c_offset[batch] : 0) + column * g->c_column;
    for (u32 i = 0; i < g->rows; i++, a += g->a_row, c += g->c_row) {
      if (step == 4) NAME(dots)(a, b, g->b_column, deep, c, g->c_column);
      else *c = NAME(dot)(a, b, deep);
    }
  }
}

// One row, rows of b dense: eight of them at a time are added up.
static void NAME(sum_rows)(const REAL *a, i32 step, const REAL *b, i32 row, u32 depth, u32 columns, REAL *c) {
  fill_bytes(c, 0, columns * sizeof(REAL));
  u32 k = 0;
  for (; k + 8 <= depth; k += 8, a += 8 * step, b += 8 * row) {
    VECTOR x0 = SPLAT(a[0]), x1 = SPLAT(a[step]), x2 = SPLAT(a[2 * step]), x3 = SPLAT(a[3 * step]);
    VECTOR x4 = SPLAT(a[4 * step]), x5 = SPLAT(a[5 * step]), x6 = SPLAT(a[6 * step]), x7 = SPLAT(a[7 * step]);
    u32 j = 0;
    NO_UNROLL for (; j + LANES <= columns; j += LANES) {
      const REAL *from = b + j;
      VECTOR s = MADD(x0, LOAD(from), LOAD(c + j)), t = x1 * LOAD(from + row);
      s = MADD(x2, LOAD(from + 2 * row), s), t = MADD(x3, LOAD(from + 3 * row), t);
      s = MADD(x4, LOAD(from + 4 * row), s), t = MADD(x5, LOAD(from + 5 * row), t);
      s = MADD(x6, LOAD(from + 6 * row), s), t = MADD(x7, LOAD(from + 7 * row), t);
      STORE(c + j, s + t);
    }
    for (; j < columns; j++) {
      REAL s = c[j];
      for (i32 i = 0; i < 8; i++) s += a[i * step] * b[i * row + (i32)j];
      c[j] = s;
    }
  }
  for (; k < depth; k++, a += step, b += row) {
    REAL x = a[0];
    VECTORIZE for (u32 j = 0; j < columns; j++) c[j] += x * b[j];
  }
}

static void NAME(rows_part)(void *arg, u32 part, u32 thread) {
  const NAME(Job) *job = arg;
  const GEMM *g = &job->g;
  Range range = part_range(job->items, job->parts, part, 1);
  for (u32 at = range.begin; at < range.end; at++) {
    u32 batch = at / job->column_blocks, column0 = at % job->column_blocks * job->column_step;
    u32 columns = MIN(job->column_step, g->columns - column0);
    u32 deep = MIN(job->piece, job->whole - (job->whole > g->depth ? batch * job->piece : 0));
    const REAL *a = g->a + (g->a_offset ? g->a_offset[batch] : 0);
    const REAL *b = g->b + (g->b_offset ? g->b_offset[batch] : 0) + column0;
    REAL *c = g->c + (g->c_offset ? g->c_offset[batch] : 0) + (i32)column0 * g->c_column;
    REAL *to = g->c_column == 1 ? c : thread_scratch(thread);
    NAME(sum_rows)(a, g->a_column, b, g->b_row, deep, columns, to);
    if (to != c)
      for (u32 j = 0; j < columns; j++) c[(i32)j * g->c_column] = to[j];
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Plans

typedef struct NAME(Sum) {
  const REAL *pieces;
  GEMM g;
  u32 parts;
} NAME(Sum);

// Adds the results of the pieces of a deep product.
static void NAME(sum_part)(void *arg, u32 part, u32 thread) {
  const NAME(Sum) *job = arg;
  const GEMM *g = &job->g;
  u32 size = g->rows * g->columns;
  Range range = part_range(size, job->parts, part, 4);
  u32 row = range.begin / g->columns, column = range.begin % g->columns;
  for (u32 i = range.begin; i < range.end; i++) {
    const REAL *p = job->pieces + i;
    REAL low = (p[0] + p[size]) + (p[2 * size] + p[3 * size]);
    REAL high = (p[4 * size] + p[5 * size]) + (p[6 * size] + p[7 * size]);
    g->c[(i32)row * g->c_row + (i32)column * g->c_column] = low + high;
    if (++column == g->columns) {
      column = 0;
      row++;
    }
  }
}

static void NAME(plan)(const GEMM *gemm, u32 piece, u32 whole) {
  NAME(Job) job = {.g = *gemm, .piece = piece, .whole = whole};
  const GEMM *g = &job.g;
  f64 work = (f64)g->batch * g->rows * g->columns * g->depth;
  f64 nanoseconds = work * (sizeof(REAL) == 4 ? 0.04 : 0.08);
  if (g->rows <= 4 && g->b_row == 1 && g->a_column == 1 && g->depth >= 4 * LANES) {
    job.parts = parts_of(g->batch * g->columns, (u32)(40000 / (g->depth * g->rows) + 1));
    parallel(NAME(dots_part), &job, job.parts, nanoseconds * 3);
    return;
  }
  if (g->rows == 1 && g->b_column == 1) {
    // Long enough runs of memory, and a few parts at least.
    u32 step = (g->columns / 8 + 63) & ~63u;
    job.column_step = MAX(64, MIN(CHUNK, step));
    job.column_blocks = (g->columns + job.column_step - 1) / job.column_step;
    job.items = g->batch * job.column_blocks;
    job.parts = parts_of(job.items, (u32)(40000 / (g->depth * job.column_step) + 1));
    parallel(NAME(rows_part), &job, job.parts, nanoseconds * 3);
    return;
  }
  u32 blocks = (piece + DEEPEST - 1) / DEEPEST;
  job.block = ((piece + blocks - 1) / blocks + 7) & ~7u;
  if (g->rows <= FEW_ROWS) {
    job.row_step = g->rows;
  } else {
    u32 count = (g->rows + ROW_BLOCK - 1) / ROW_BLOCK;
    job.row_step = ((g->rows + count - 1) / count + TILE - 1) & ~(TILE - 1u);
  }
  job.row_blocks = (g->rows + job.row_step - 1) / job.row_step;
  // Columns are cut too where there are few items, into pieces of some 20 µs.
  u32 panels = (g->columns + WIDTH - 1) / WIDTH;
  u32 items = g->batch * job.row_blocks;
  u32 most = (u32)MIN(64.0, nanoseconds / 20000 / items);
  u32 cuts = MIN(panels, MAX(1, MIN(most, (15 + items) / items)));
  job.column_step = (panels + cuts - 1) / cuts * WIDTH;
  job.column_blocks = (g->columns + job.column_step - 1) / job.column_step;
  job.items = items * job.column_blocks;
  if (g->batch == 1 && job.row_blocks > 3) {
    job.packed = scratch(panels * WIDTH * g->depth * sizeof(REAL));
    job.parts = parts_of(panels, 16384 / (g->depth * WIDTH) + 1);
    parallel(NAME(pack_part), &job, job.parts, (f64)g->columns * g->depth * 0.4);
  }
  job.parts = parts_of(job.items, (u32)(20000 / (nanoseconds / job.items + 1)) + 1);
  parallel(NAME(items_part), &job, job.parts, nanoseconds);
}

// A deep product with few results: a stack of pieces, whose results are added.
static void NAME(split)(const GEMM *gemm) {
  u32 piece = ((gemm->depth + SPLITS - 1) / SPLITS + 7) & ~7u;
  u32 size = gemm->rows * gemm->columns;
  GEMM g = *gemm;
  i32 a_offset[SPLITS], b_offset[SPLITS], c_offset[SPLITS];
  for (u32 i = 0; i < SPLITS; i++) {
    a_offset[i] = (g.a_offset ? g.a_offset[0] : 0) + (i32)(i * piece) * g.a_column;
    b_offset[i] = (g.b_offset ? g.b_offset[0] : 0) + (i32)(i * piece) * g.b_row;
    c_offset[i] = (i32)(i * size);
  }
  g.batch = SPLITS;
  g.depth = piece;
  g.a_offset = a_offset, g.b_offset = b_offset, g.c_offset = c_offset;
  g.c = scratch(SPLITS * size * sizeof(REAL));
  g.c_row = (i32)g.columns;
  g.c_column = 1;
  NAME(plan)(&g, piece, gemm->depth);
  NAME(Sum) sum = {.pieces = g.c, .g = *gemm};
  if (gemm->c_offset != NULL) sum.g.c += gemm->c_offset[0];
  sum.parts = parts_of(size, 8192);
  parallel(NAME(sum_part), &sum, sum.parts, size * 3.0);
}

void NAME(gemm)(const GEMM *gemm) {
  GEMM g = *gemm;
  // The transposed product where its tiles fit better: few columns, or columns of c that are dense.
  if ((g.columns <= 4 && g.rows > g.columns) || (g.c_column != 1 && g.c_row == 1 && g.rows > 4)) {
    g.rows = gemm->columns, g.columns = gemm->rows;
    g.a = gemm->b, g.b = gemm->a;
    g.a_offset = gemm->b_offset, g.b_offset = gemm->a_offset;
    g.a_row = gemm->b_column, g.a_column = gemm->b_row;
    g.b_row = gemm->a_column, g.b_column = gemm->a_row;
    g.c_row = gemm->c_column, g.c_column = gemm->c_row;
  }
  if (g.depth == 0) {
    for (u32 batch = 0; batch < g.batch; batch++)
      for (u32 i = 0; i < g.rows * g.columns; i++)
        g.c[(g.c_offset ? g.c_offset[batch] : 0) + (i32)(i / g.columns) * g.c_row + (i32)(i % g.columns) * g.c_column] = 0;
    return;
  }
  if (g.batch == 1 && g.depth >= SPLIT_DEPTH && (f64)g.rows * g.columns <= SPLIT_SIZE)
    NAME(split)(&g);
  else
    NAME(plan)(&g, g.depth, g.depth);
}

#undef STEP
#undef FINISH
#undef ZEROS
#endif
