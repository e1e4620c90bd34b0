// matmul: stacks of matrices of any dtype. Floats go to gemm.c.
#include "gemm.h"
#include "simd.h"

// A stack seen as matrices: strides of the last two dimensions, and those of the batch dimensions.
typedef struct Stack {
  i32 row, column;
  i32 batch[MAX_RANK];
} Stack;

typedef struct Shape {
  u32 rank; // batch dimensions
  i32 batch[MAX_RANK];
  u32 rows, columns, depth;
} Shape;

static Stack stack_of(const View *view, u32 dense) {
  Stack stack;
  i32 step = 1, strides[MAX_RANK];
  for (i32 axis = (i32)view->rank - 1; axis >= 0; axis--) {
    strides[axis] = dense ? step : view->strides[axis];
    step *= view->shape[axis];
  }
  u32 rank = view->rank;
  stack.row = strides[rank - 2];
  stack.column = strides[rank - 1];
  for (u32 axis = 0; axis + 2 < rank; axis++) stack.batch[axis] = strides[axis];
  return stack;
}

// Whether a stack holds more than one matrix.
static u32 batched(const View *view) {
  for (u32 axis = 0; axis + 2 < view->rank; axis++)
    if (view->shape[axis] != 1 && view->strides[axis] != 0) return 1;
  return 0;
}

// Takes trailing batch dimensions that share b for further rows of a, as in [batch, time, width] x [width, width].
static void fold(Shape *shape, const Stack *a, const Stack *b, const Stack *c) {
  for (; shape->rank > 0; shape->rank--) {
    u32 axis = shape->rank - 1;
    i32 size = shape->batch[axis];
    if (size != 1 && (b->batch[axis] != 0 || a->batch[axis] != (i32)shape->rows * a->row ||
                      c->batch[axis] != (i32)shape->rows * c->row))
      break;
    shape->rows *= (u32)size;
  }
}

static u32 batch_of(const Shape *shape) {
  u32 batch = 1;
  for (u32 axis = 0; axis < shape->rank; axis++) batch *= (u32)shape->batch[axis];
  return batch;
}

// Where each matrix of a stack begins, in elements.
static const i32 *offsets_of(const Shape *shape, const Stack *stack) {
  u32 batch = batch_of(shape);
  i32 *offsets = scratch((u64)batch * 4);
  for (u32 i = 0; i < batch; i++) {
    u32 rest = i;
    i32 offset = 0;
    for (i32 axis = (i32)shape->rank - 1; axis >= 0; axis--) {
      u32 size = (u32)shape->batch[axis];
      offset += (i32)(rest % size) * stack->batch[axis];
      rest /= size;
    }
    offsets[i] = offset;
  }
  return offsets;
}

typedef struct Plain {
  Shape shape;
  Stack a, b, c;
  const i32 *a_offset, *b_offset, *c_offset;
  const u32 *a_data, *b_data;
  u32 *c_data;
  u32 parts;
} Plain;

// Whole numbers, which wrap around: signed or not makes no difference.
static void plain_u32(void *arg, u32 part, u32 thread) {
  const Plain *job = arg;
  const Shape *shape = &job->shape;
  u32 columns = shape->columns, depth = shape->depth;
  Range range = part_range(batch_of(shape) * shape->rows, job->parts, part, 1);
  for (u32 at = range.begin; at < range.end; at++) {
    u32 batch = at / shape->rows;
    i32 row = (i32)(at % shape->rows);
    const u32 *a = job->a_data + job->a_offset[batch] + row * job->a.row;
    const u32 *b = job->b_data + job->b_offset[batch];
    u32 *c = job->c_data + job->c_offset[batch] + row * job->c.row;
    if (job->b.column == 1 && job->c.column == 1) {
      for (u32 j = 0; j < columns; j++) c[j] = 0;
      for (u32 k = 0; k < depth; k++) {
        u32 x = a[(i32)k * job->a.column];
        const u32 *y = b + (i32)k * job->b.row;
        VECTORIZE for (u32 j = 0; j < columns; j++) c[j] += x * y[j];
      }
      continue;
    }
    for (u32 j = 0; j < columns; j++) {
      const u32 *y = b + (i32)j * job->b.column;
      u32 sum = 0;
      for (u32 k = 0; k < depth; k++) sum += a[(i32)k * job->a.column] * y[(i32)k * job->b.row];
      c[(i32)j * job->c.column] = sum;
    }
  }
}

KERNEL(matmul) {
  const View *av = call->in, *bv = call->in + 1, *cv = call->out;
  u32 rank = cv->rank, dtype = cv->dtype;
  Shape shape = {.rank = rank - 2};
  for (u32 axis = 0; axis + 2 < rank; axis++) shape.batch[axis] = cv->shape[axis];
  shape.rows = (u32)cv->shape[rank - 2];
  shape.columns = (u32)cv->shape[rank - 1];
  shape.depth = (u32)av->shape[rank - 1];
  f64 products = (f64)cv->size * shape.depth;
  if (dtype == F32 || dtype == F16 || dtype == BF16) {
    // One matrix of 16-bit floats for the whole stack is read as it lies.
    u32 halves = (bv->dtype == F16 || bv->dtype == BF16) && !batched(bv);
    u32 a_dense = av->dtype != F32, b_dense = !halves && bv->dtype != F32, c_dense = dtype != F32;
    Stack a = stack_of(av, a_dense), b = stack_of(bv, b_dense), c = stack_of(cv, c_dense);
    const f32 *a_data = a_dense ? dense_f32(av) : (const f32 *)av->data;
    const f32 *b_data = b_dense ? dense_f32(bv) : (const f32 *)bv->data;
    f32 *c_data = c_dense ? target_f32(cv) : (f32 *)cv->data;
    fold(&shape, &a, &b, &c);
    Gemm gemm = {
        .batch = batch_of(&shape), .rows = shape.rows, .columns = shape.columns, .depth = shape.depth,
        .a = a_data, .b = b_data, .c = c_data,
        .a_row = a.row, .a_column = a.column, .b_row = b.row, .b_column = b.column, .c_row = c.row, .c_column = c.column,
    };
    if (gemm.batch > 1) {
      gemm.a_offset = offsets_of(&shape, &a);
      gemm.b_offset = offsets_of(&shape, &b);
      gemm.c_offset = offsets_of(&shape, &c);
    }
    if (halves) gemm_halves(&gemm, (const u16 *)bv->data, bv->dtype);
    else gemm_f32(&gemm);
    if (c_dense) finish_f32(cv, c_data);
    return 0;
  }
  if (dtype == F64) {
    u32 a_dense = av->dtype != F64, b_dense = bv->dtype != F64;
    Stack a = stack_of(av, a_dense), b = stack_of(bv, b_dense), c = stack_of(cv, 0);
    const f64 *a_data = a_dense ? dense_f64(av) : (const f64 *)av->data;
    const f64 *b_data = b_dense ? dense_f64(bv) : (const f64 *)bv->data;
    fold(&shape, &a, &b, &c);
    Gemm64 gemm = {
        .batch = batch_of(&shape), .rows = shape.rows, .columns = shape.columns, .depth = shape.depth,
        .a = a_data, .b = b_data, .c = (f64 *)cv->data,
        .a_row = a.row, .a_column = a.column, .b_row = b.row, .b_column = b.column, .c_row = c.row, .c_column = c.column,
    };
    if (gemm.batch > 1) {
      gemm.a_offset = offsets_of(&shape, &a);
      gemm.b_offset = offsets_of(&shape, &b);
      gemm.c_offset = offsets_of(&shape, &c);
    }
    gemm_f64(&gemm);
    return 0;
  }
  // Views that are not stored as they are computed are copied.
  u32 a_dense = av->dtype != I32 && av->dtype != U32;
  u32 b_dense = bv->dtype != I32 && bv->dtype != U32;
  u32 c_dense = dtype != I32 && dtype != U32;
  Plain job = {.a = stack_of(av, a_dense), .b = stack_of(bv, b_dense), .c = stack_of(cv, c_dense)};
  job.a_data = (const u32 *)(a_dense ? dense_i32(av) : (const i32 *)av->data);
  job.b_data = (const u32 *)(b_dense ? dense_i32(bv) : (const i32 *)bv->data);
  job.c_data = (u32 *)(c_dense ? target_i32(cv) : (i32 *)cv->data);
  fold(&shape, &job.a, &job.b, &job.c);
  job.shape = shape;
  job.a_offset = offsets_of(&shape, &job.a);
  job.b_offset = offsets_of(&shape, &job.b);
  job.c_offset = offsets_of(&shape, &job.c);
  job.parts = parts_of(batch_of(&shape) * shape.rows, (u32)MAX(1.0, 20000.0 / ((f64)shape.columns * shape.depth + 1)));
  parallel(plain_u32, &job, job.parts, products * 0.7);
  if (c_dense) finish_i32(cv, (i32 *)job.c_data);
  return 0;
}
