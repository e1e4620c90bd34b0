// Matrix products in register tiles: packing, tiles, items. Included by gemm.c, once for each type.

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

#undef STEP
#undef FINISH
#undef ZEROS
