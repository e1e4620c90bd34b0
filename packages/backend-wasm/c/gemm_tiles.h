// Matrix products in register tiles: packing, tiles, items. Included by gemm.c, once for each type.

typedef struct NAME(Job) {
  GEMM g;
  const REAL *packed_a, *packed_b; // all of A or of B in panels, or NULL
  u32 piece;                       // depth of one matrix of the stack; the last may have less
  u32 whole;                       // depth of all of them, when they are pieces of one product
  u32 block;                       // depth of a block
  u32 row_blocks, column_blocks;   // into how many blocks rows and columns are cut
  u32 column_step;                 // columns of a block, for vectors
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

// All of A or of B: blocks of the depth one after the other, panels within each.
static void NAME(pack_part)(void *arg, u32 part, u32 thread) {
  const NAME(Job) *job = arg;
  const GEMM *g = &job->g;
  u32 of_a = job->packed_a != NULL, width = of_a ? TILE : WIDTH, lines = of_a ? g->rows : g->columns;
  REAL *packed = (REAL *)(of_a ? job->packed_a : job->packed_b);
  Range range = part_range(lines, job->parts, part, width);
  for (u32 k = 0; k < g->depth; k += job->block) {
    u32 depth = MIN(job->block, g->depth - k);
    REAL *to = packed + k * padded(lines, width) + range.begin * depth;
    if (of_a) {
      const REAL *from = g->a + (i32)range.begin * g->a_row + (i32)k * g->a_column;
      NAME(pack_a)(from, g->a_row, g->a_column, range.end - range.begin, depth, to);
      continue;
    }
    const REAL *from = g->b + (i32)k * g->b_row;
    for (u32 j = range.begin; j < range.end; j += WIDTH, to += depth * WIDTH)
      NAME(pack_b)(from + (i32)j * g->b_column, g->b_row, g->b_column, depth, MIN(WIDTH, g->columns - j), to);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Tiles

// c (+)= a b for 4 rows and WIDTH columns.
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

// One step of the depth: B's row times four elements of A. KEEP stops the compiler from making a pointer of its own for
// every load, which would cost an addition each.
#define DEPTH_STEP(from)                                                                                               \
  do {                                                                                                                 \
    KEEP(a);                                                                                                           \
    KEEP(b);                                                                                                           \
    VECTOR b0 = LOAD(from), b1 = LOAD((from) + LANES);                                                                 \
    STEP(0, a[0]);                                                                                                     \
    STEP(1, a[1]);                                                                                                     \
    STEP(2, a[2]);                                                                                                     \
    STEP(3, a[3]);                                                                                                     \
  } while (0)

// `count` tiles side by side: A in a panel, B in panels or in rows. Two steps a turn, as each turn costs the engine's own
// check; a way out lies between them, or the engine would mix the steps and run out of registers.
INLINE void NAME(tile_row)(u32 count, u32 depth, const REAL *panel, const REAL *bs, i32 row, i32 b_step, REAL *c,
                           i32 c_row, u32 more) {
  const REAL *end = panel + depth * TILE;
  NO_UNROLL for (; count > 0; count--, bs += b_step, c += WIDTH) {
    ZEROS;
    const REAL *a = panel, *b = bs;
    NO_UNROLL do {
      DEPTH_STEP(b);
      a += TILE;
      if (a == end) break;
      DEPTH_STEP(b + row);
      a += TILE;
      b += 2 * row;
    } while (a != end);
    FINISH(0);
    FINISH(1);
    FINISH(2);
    FINISH(3);
  }
}
static NOINLINE void NAME(tiles_packed)(u32 count, u32 depth, const REAL *a, const REAL *b, i32 b_step, REAL *c,
                                        i32 c_row, u32 more) {
  NAME(tile_row)(count, depth, a, b, WIDTH, b_step, c, c_row, more);
}
static NOINLINE void NAME(tiles_direct)(u32 count, u32 depth, const REAL *a, const REAL *b, i32 row, REAL *c, i32 c_row,
                                        u32 more) {
  NAME(tile_row)(count, depth, a, b, row, WIDTH, c, c_row, more);
}

static void NAME(item)(const NAME(Job) *job, u32 at, u32 thread) {
  const GEMM *g = &job->g;
  Range across = part_range(g->columns, job->column_blocks, at % job->column_blocks, WIDTH);
  at /= job->column_blocks;
  Range down = part_range(g->rows, job->row_blocks, at % job->row_blocks, TILE);
  u32 batch = at / job->row_blocks;
  u32 row0 = down.begin, rows = down.end - row0, column0 = across.begin, columns = across.end - column0;
  u32 deep = MIN(job->piece, job->whole - (job->whole > g->depth ? batch * job->piece : 0));
  const REAL *a = g->a + (g->a_offset ? g->a_offset[batch] : 0) + (i32)row0 * g->a_row;
  const REAL *b = g->b + (g->b_offset ? g->b_offset[batch] : 0) + (i32)column0 * g->b_column;
  REAL *c = g->c + (g->c_offset ? g->c_offset[batch] : 0) + (i32)row0 * g->c_row + (i32)column0 * g->c_column;
  REAL panels[GROUP], tile[TILE * WIDTH];
  // With few rows, packing a panel costs more than it brings.
  u32 direct = g->b_column == 1 && rows <= 2 * TILE && job->packed_b == NULL;
  for (u32 k = 0; k < deep; k += job->block) {
    u32 depth = MIN(job->block, deep - k), more = k > 0;
    const REAL *packed_a = thread_scratch(thread);
    if (job->packed_a != NULL)
      packed_a = job->packed_a + k * padded(g->rows, TILE) + row0 * depth;
    else
      NAME(pack_a)(a + (i32)k * g->a_column, g->a_row, g->a_column, rows, depth, (REAL *)packed_a);
    u32 group = MAX(1, GROUP / (depth * WIDTH)) * WIDTH;
    for (u32 j0 = 0; j0 < columns; j0 += group) {
      u32 wide = MIN(group, columns - j0), whole = wide / WIDTH;
      const REAL *bk = b + (i32)k * g->b_row + (i32)j0 * g->b_column, *packed_b = panels;
      if (job->packed_b != NULL)
        packed_b = job->packed_b + k * padded(g->columns, WIDTH) + (column0 + j0) * depth;
      else
        for (u32 j = direct ? whole * WIDTH : 0; j < wide; j += WIDTH)
          NAME(pack_b)(bk + (i32)j * g->b_column, g->b_row, g->b_column, depth, MIN(WIDTH, wide - j), panels + j * depth);
      for (u32 i = 0; i < rows; i += TILE) {
        u32 height = MIN(TILE, rows - i), j = 0;
        const REAL *ai = packed_a + i * depth;
        REAL *ci = c + (i32)i * g->c_row + (i32)j0 * g->c_column;
        if (height == TILE && g->c_column == 1) {
          j = whole * WIDTH;
          if (direct) NAME(tiles_direct)(whole, depth, ai, bk, g->b_row, ci, g->c_row, more);
          else NAME(tiles_packed)(whole, depth, ai, packed_b, (i32)(depth * WIDTH), ci, g->c_row, more);
        }
        // What does not fill a tile goes by way of one.
        for (; j < wide; j += WIDTH) {
          if (direct && j < whole * WIDTH) NAME(tiles_direct)(1, depth, ai, bk + j, g->b_row, tile, WIDTH, 0);
          else NAME(tiles_packed)(1, depth, ai, packed_b + j * depth, 0, tile, WIDTH, 0);
          for (u32 r = 0; r < height; r++)
            for (u32 s = 0; s < MIN(WIDTH, wide - j); s++) {
              REAL *to = ci + (i32)r * g->c_row + (i32)(j + s) * g->c_column;
              *to = (more ? *to : 0) + tile[r * WIDTH + s];
            }
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
#undef DEPTH_STEP
