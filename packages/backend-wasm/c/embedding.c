// embeddingGrad: row t of the table's gradient is the sum of the rows of g whose index is t.
#include "rows.h"

// Rows added up in floats before the sum goes on in doubles.
#define LIST_RUN 16
#define STRIP 16

typedef struct Job {
  Rows g;
  const u32 *start; // by table row: where its list begins in `order`; one more at the end
  const u32 *order; // rows of g, sorted by index, in their own order for each
  f32 *table;
  u32 rows, width, parts;
} Job;

// Columns i to i + count - 1 (count at most STRIP) of the sum of a list of rows.
INLINE void add_strip(const Job *job, const u32 *list, u32 length, u32 i, u32 count, f32 *to) {
  f64 sums[STRIP] = {0};
  for (u32 from = 0; from < length; from += LIST_RUN) {
    u32 end = MIN(length, from + LIST_RUN);
    if (count == STRIP) {
      f32x4 a = {0}, b = {0}, c = {0}, d = {0};
      NO_UNROLL for (u32 k = from; k < end; k++) {
        const f32 *g = row_at(&job->g, list[k]) + i;
        a += load4(g);
        b += load4(g + 4);
        c += load4(g + 8);
        d += load4(g + 12);
      }
      for (u32 j = 0; j < 4; j++) {
        sums[j] += a[j];
        sums[j + 4] += b[j];
        sums[j + 8] += c[j];
        sums[j + 12] += d[j];
      }
    } else {
      for (u32 j = 0; j < count; j++) {
        for (u32 k = from; k < end; k++) sums[j] += row_at(&job->g, list[k])[i + j];
      }
    }
  }
  for (u32 j = 0; j < count; j++) to[j] = (f32)sums[j];
}

static void embedding_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 width = job->width;
  Range rows = part_range(job->rows, job->parts, part, 1);
  for (u32 row = rows.begin; row < rows.end; row++) {
    const u32 *list = job->order + job->start[row];
    u32 length = job->start[row + 1] - job->start[row];
    f32 *to = job->table + row * width;
    if (length == 0) {
      fill_bytes(to, 0, width * 4);
    } else if (length == 1) {
      copy_bytes(to, row_at(&job->g, list[0]), width * 4);
    } else {
      for (u32 i = 0; i < width; i += STRIP) add_strip(job, list, length, i, MIN(STRIP, width - i), to + i);
    }
  }
}

KERNEL(embedding_grad) {
  const View *g = call->in, *table = call->out;
  Job job = {.g = rows_of(g), .rows = (u32)table->shape[0], .width = (u32)table->shape[1], .table = target_f32(table)};
  const i32 *index = dense_i32(call->in + 1);
  u32 count = call->in[1].size;
  u32 *start = scratch(((u64)job.rows + 2) * 4), *order = scratch((u64)count * 4);
  // Counting sort: start[t + 2] counts, then start[t + 1] is where the next row with index t goes.
  fill_bytes(start, 0, (job.rows + 2) * 4);
  for (u32 i = 0; i < count; i++) start[index[i] + 2]++;
  for (u32 t = 2; t < job.rows + 2; t++) start[t] += start[t - 1];
  for (u32 i = 0; i < count; i++) order[start[index[i] + 1]++] = i;
  job.start = start;
  job.order = order;
  job.parts = parts_of(job.rows, MAX(8192 / job.width, 1));
  parallel(embedding_part, &job, job.parts, (f64)table->size * 0.2 + (f64)g->size * 0.4);
  finish_f32(table, job.table);
  return 0;
}
