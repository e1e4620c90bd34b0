// A vector times a matrix: as fast as the matrix can be read. Included by gemm.c, once for each type.

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
