// gather and scatter. Both walk the index's shape; `fixed` is the view that is addressed through the index: along the
// axis it moves by the index instead of by the position.
#include "program.h"
#include "simd.h"

enum { ADD, SET, GREATEST };

typedef struct Job {
  Space space; // views: index, moving, fixed
  u32 row;     // elements that move at once where the index stands still and both others are gapless, or 1
  u32 rows, dtype, bytes, parts, mode, by_column;
  i32 step;    // of the fixed view along the axis, in elements
  i32 size;    // of the fixed view along the axis
  u32 scatters;
} Job;

static void prepare(Job *job, const View *index, const View *moving, const View *fixed, u32 axis) {
  View views[3] = {*index, *moving, *fixed};
  views[2].strides[axis] = 0;
  // Not contiguous, whatever it was: its shape is the index's here.
  views[2].contiguous = 0;
  Call call = {.inputs = 3, .outputs = 0, .in = views};
  make_space(&job->space, &call, index->rank, index->shape, NULL);
  Space *space = &job->space;
  u32 last = space->rank - 1;
  job->row = 1;
  if (space->strides[last] == 0 && space->strides[MAX_RANK + last] == 1 && space->strides[2 * MAX_RANK + last] == 1)
    job->row = (u32)space->shape[last];
  job->rows = space->size / job->row;
  job->step = fixed->strides[axis];
  job->size = fixed->shape[axis];
  job->dtype = moving->dtype;
  job->bytes = dtype_bytes(moving->dtype);
}

#define COMBINE(TYPE, EXPRESSION)                                                                                      \
  {                                                                                                                    \
    TYPE *a = (TYPE *)to;                                                                                              \
    const TYPE *b = (const TYPE *)from;                                                                                \
    for (u32 i = 0; i < n; i++) {                                                                                      \
      TYPE x = a[i], y = b[i];                                                                                         \
      a[i] = (TYPE)(EXPRESSION);                                                                                       \
    }                                                                                                                  \
    return;                                                                                                            \
  }
#define GREATER(x, y) ((x) != (x) ? (x) : (y) != (y) ? (y) : (x) > (y) ? (x) : (y))
#define HALVES(DECODE, ENCODE)                                                                                         \
  {                                                                                                                    \
    u16 *a = (u16 *)to;                                                                                                \
    const u16 *b = (const u16 *)from;                                                                                  \
    for (u32 i = 0; i < n; i++) {                                                                                      \
      f32 x = DECODE(a[i]), y = DECODE(b[i]);                                                                          \
      a[i] = ENCODE(mode == ADD ? x + y : GREATER(x, y));                                                              \
    }                                                                                                                  \
    return;                                                                                                            \
  }

// Puts a run of updates onto a run of the output.
static void combine(u32 mode, u32 dtype, u8 *to, const u8 *from, u32 n) {
  switch (dtype) {
  case F32:
    if (mode == ADD) COMBINE(f32, x + y)
    COMBINE(f32, GREATER(x, y))
  case F64:
    if (mode == ADD) COMBINE(f64, x + y)
    COMBINE(f64, GREATER(x, y))
  case F16: HALVES(half_to_f32, f32_to_half)
  case BF16: HALVES(bfloat_to_f32, f32_to_bfloat)
  case I32:
    if (mode == ADD) COMBINE(i32, x + y)
    COMBINE(i32, MAX(x, y))
  case U32:
    if (mode == ADD) COMBINE(u32, x + y)
    COMBINE(u32, MAX(x, y))
  case I8:
    if (mode == ADD) COMBINE(i8, x + y)
    COMBINE(i8, MAX(x, y))
  case U8:
    if (mode == ADD) COMBINE(u8, x + y)
    COMBINE(u8, MAX(x, y))
  default: COMBINE(u8, (x | y) != 0) // adding is "or" for bool
  }
}

INLINE void move(u8 *to, const u8 *from, u32 bytes) {
  switch (bytes) {
  case 1: *to = *from; return;
  case 2: *(u16 *)to = *(const u16 *)from; return;
  case 4: *(u32 *)to = *(const u32 *)from; return;
  case 8: *(u64 *)to = *(const u64 *)from; return;
  default: copy_bytes(to, from, bytes);
  }
}

static void walk(const Job *job, Range rows, Range columns) {
  const Space *space = &job->space;
  u32 rank = space->rank - (job->row > 1), bytes = job->bytes;
  const i32 *strides[3] = {space->strides, space->strides + MAX_RANK, space->strides + 2 * MAX_RANK};
  i32 index[MAX_RANK] = {0}, offset[3] = {0};
  u32 rest = rows.begin;
  for (i32 axis = (i32)rank - 1; axis >= 0; axis--) {
    index[axis] = (i32)(rest % (u32)space->shape[axis]);
    rest /= (u32)space->shape[axis];
    for (u32 v = 0; v < 3; v++) offset[v] += index[axis] * strides[v][axis];
  }
  u32 count = columns.end - columns.begin;
  for (u32 row = rows.begin; row < rows.end; row++) {
    i32 at = ((const i32 *)space->data[0])[offset[0]];
    if (at < 0 || at >= job->size) {
      set_fault(CHECK_INDEX);
    } else {
      u8 *moving = space->data[1] + (offset[1] + (i32)columns.begin) * (i32)bytes;
      u8 *fixed = space->data[2] + (offset[2] + at * job->step + (i32)columns.begin) * (i32)bytes;
      if (!job->scatters) move(moving, fixed, count * bytes);
      else if (job->mode == SET) move(fixed, moving, count * bytes);
      else combine(job->mode, job->dtype, fixed, moving, count);
    }
    for (i32 axis = (i32)rank - 1; axis >= 0; axis--) {
      for (u32 v = 0; v < 3; v++) offset[v] += strides[v][axis];
      if (++index[axis] < space->shape[axis]) break;
      index[axis] = 0;
      for (u32 v = 0; v < 3; v++) offset[v] -= strides[v][axis] * space->shape[axis];
    }
  }
}

static void walk_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  Range all_rows = {0, job->rows}, all_columns = {0, job->row};
  // Scattered rows may meet in one place: parts share columns, so that each place has one writer and one order.
  if (job->by_column) walk(job, all_rows, part_range(job->row, job->parts, part, 16));
  else walk(job, part_range(job->rows, job->parts, part, 1), all_columns);
}

// attr: axis
KERNEL(gather) {
  Job job = {0};
  prepare(&job, call->in + 1, call->out, call->in, (u32)call->attr[0]);
  job.parts = parts_of(job.rows, 1 + 8192 / job.row);
  parallel(walk_part, &job, job.parts, job.rows * (4.0 + 0.2 * job.row));
  return take_fault();
}

// attr: axis, mode
KERNEL(scatter) {
  Job job = {.scatters = 1, .mode = (u32)call->attr[1]};
  prepare(&job, call->in + 1, call->in, call->out, (u32)call->attr[0]);
  job.by_column = 1;
  job.parts = parts_of(job.row, 64);
  parallel(walk_part, &job, job.parts, job.rows * (4.0 + 0.4 * job.row));
  return take_fault();
}
