// How a product is cut into items and parts. Included by gemm.c, once for each type.

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
    job.parts = parts_of(g->batch * g->columns, (u32)(40000 / ((u64)g->depth * g->rows) + 1));
    parallel(NAME(dots_part), &job, job.parts, nanoseconds * 3);
    return;
  }
  if (g->rows == 1 && g->b_column == 1) {
    // Long enough runs of memory, and a few parts at least.
    u32 step = (g->columns / 8 + 63) & ~63u;
    job.column_step = MAX(64, MIN(CHUNK, step));
    job.column_blocks = (g->columns + job.column_step - 1) / job.column_step;
    job.items = g->batch * job.column_blocks;
    job.parts = parts_of(job.items, (u32)(40000 / ((u64)g->depth * job.column_step) + 1));
    parallel(NAME(rows_part), &job, job.parts, nanoseconds * 3);
    return;
  }
  u32 blocks = (piece + DEEPEST - 1) / DEEPEST;
  job.block = ((piece + blocks - 1) / blocks + 7) & ~7u;
  job.row_blocks = g->rows <= FEW_ROWS ? 1 : (g->rows + ROW_BLOCK - 1) / ROW_BLOCK;
  // Columns are cut too where there are few items, into pieces of 12 µs and more: 2, 4, 8 or 16 items, so that as many
  // threads get equal shares.
  u32 panels = padded(g->columns, WIDTH) / WIDTH;
  u32 items = g->batch * job.row_blocks;
  f64 most = MIN(panels, nanoseconds / 12000 / items);
  job.column_blocks = 1;
  while (2 * job.column_blocks <= most && 2 * job.column_blocks * items <= 16) job.column_blocks *= 2;
  job.items = items * job.column_blocks;
  // What many items share is packed once, before them: B, or A where it is one block of rows. An expanded B, as of a
  // stride 0, is small: its panels would be far larger than itself.
  if (g->batch == 1 && job.row_blocks > 3 && g->b_row != 0 && g->b_column != 0) {
    job.packed_b = scratch((u64)padded(g->columns, WIDTH) * g->depth * sizeof(REAL));
    job.parts = parts_of(g->columns, 16384 / g->depth + WIDTH);
    parallel(NAME(pack_part), &job, job.parts, (f64)g->columns * g->depth * 0.4);
  } else if (g->batch == 1 && job.row_blocks == 1 && job.column_blocks > 1) {
    job.packed_a = scratch((u64)padded(g->rows, TILE) * g->depth * sizeof(REAL));
    job.parts = parts_of(g->rows, 8192 / g->depth + TILE);
    parallel(NAME(pack_part), &job, job.parts, (f64)g->rows * g->depth * 0.2);
  }
  job.parts = parts_of(job.items, (u32)(10000 / (nanoseconds / job.items + 1)) + 1);
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
  g.c = scratch((u64)SPLITS * size * sizeof(REAL));
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
