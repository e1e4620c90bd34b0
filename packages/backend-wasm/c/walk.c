// Spaces: the common shape of several views with as few dimensions as they allow, and access to the points of a range.
#include "program.h"
#include "simd.h"

INLINE i32 *strides_of(const Space *space, u32 view) { return space->strides + view * MAX_RANK; }

static u32 is_linear(const Space *space, u32 view) {
  const i32 *strides = strides_of(space, view);
  i32 step = 1;
  for (i32 axis = (i32)space->rank - 1; axis >= 0; axis--) {
    if (strides[axis] != step) return 0;
    step *= space->shape[axis];
  }
  return 1;
}

void make_space(Space *space, const Call *call, u32 rank, const i32 *shape, const u8 *reduced) {
  const Program *program = call->program;
  u32 inputs = call->inputs, views = inputs + call->outputs, coordinates = program ? program->coordinates : 0;
  space->views = views;
  space->strides = scratch(views * MAX_RANK * 4);
  space->data = scratch(views * 4);
  space->dtype = scratch(views * 4);
  space->linear = scratch(views * 4);
  space->dimensions = scratch((coordinates + 1) * 4);
  for (u32 i = 0; i < coordinates; i++) space->dimensions[i] = -1;
  u32 flat = coordinates == 0 && reduced == NULL;
  for (u32 v = 0; v < views; v++) {
    const View *view = v < inputs ? call->in + v : call->out + (v - inputs);
    space->data[v] = view->data;
    space->dtype[v] = view->dtype;
    flat = flat && view->contiguous;
  }
  u32 size = 1;
  for (u32 axis = 0; axis < rank; axis++) size *= (u32)shape[axis];
  space->size = size;
  if (flat) {
    space->rank = 1;
    space->shape[0] = (i32)size;
    for (u32 v = 0; v < views; v++) {
      strides_of(space, v)[0] = 1;
      space->linear[v] = 1;
    }
    return;
  }
  // Built from the innermost dimension outwards, in the upper end of the arrays, then moved down.
  u32 at = MAX_RANK;
  u32 inner_is_protected = 0;
  for (i32 axis = (i32)rank - 1; axis >= 0; axis--) {
    i32 size_here = shape[axis];
    if (size_here == 1) continue;
    i32 protected = -1;
    for (u32 i = 0; i < coordinates; i++)
      if (program->axes[i] == axis - (i32)rank) protected = (i32)i;
    u32 merges = at < MAX_RANK && protected < 0 && !inner_is_protected;
    for (u32 v = 0; v < views; v++) {
      const View *view = v < inputs ? call->in + v : call->out + (v - inputs);
      i32 stride = reduced != NULL && v >= inputs && reduced[axis] ? 0 : view->strides[axis];
      if (merges && stride != strides_of(space, v)[at] * space->shape[at]) merges = 0;
    }
    if (merges) {
      space->shape[at] *= size_here;
      continue;
    }
    at--;
    if (protected >= 0) space->dimensions[protected] = (i32)at;
    inner_is_protected = protected >= 0;
    space->shape[at] = size_here;
    for (u32 v = 0; v < views; v++) {
      const View *view = v < inputs ? call->in + v : call->out + (v - inputs);
      strides_of(space, v)[at] = reduced != NULL && v >= inputs && reduced[axis] ? 0 : view->strides[axis];
    }
  }
  if (at == MAX_RANK) {
    at--;
    space->shape[at] = 1;
    for (u32 v = 0; v < views; v++) strides_of(space, v)[at] = 1;
  }
  space->rank = MAX_RANK - at;
  for (u32 axis = 0; axis < space->rank; axis++) {
    space->shape[axis] = space->shape[axis + at];
    for (u32 v = 0; v < views; v++) strides_of(space, v)[axis] = strides_of(space, v)[axis + at];
  }
  for (u32 i = 0; i < coordinates; i++)
    if (space->dimensions[i] >= 0) space->dimensions[i] -= (i32)at;
  for (u32 v = 0; v < views; v++) space->linear[v] = is_linear(space, v);
}

void reorder_space(Space *space, const u32 *order, u32 coordinates) {
  i32 old[MAX_RANK];
  u32 rank = space->rank;
  copy_bytes(old, space->shape, sizeof old);
  for (u32 i = 0; i < rank; i++) space->shape[i] = old[order[i]];
  for (u32 v = 0; v < space->views; v++) {
    copy_bytes(old, strides_of(space, v), sizeof old);
    for (u32 i = 0; i < rank; i++) strides_of(space, v)[i] = old[order[i]];
    space->linear[v] = is_linear(space, v);
  }
  for (u32 c = 0; c < coordinates; c++)
    for (u32 i = 0; i < rank; i++)
      if (space->dimensions[c] == (i32)order[i]) {
        space->dimensions[c] = (i32)i;
        break;
      }
}

// A row (all but the innermost dimension) as an index, and where it lies in a view.
typedef struct Row {
  i32 index[MAX_RANK];
  i32 offset;
} Row;

static void find_row(const Space *space, const i32 *strides, u32 row, Row *found) {
  i32 offset = 0;
  for (i32 axis = (i32)space->rank - 2; axis >= 0; axis--) {
    u32 size = (u32)space->shape[axis];
    i32 index = (i32)(row % size);
    row /= size;
    found->index[axis] = index;
    offset += index * strides[axis];
  }
  found->offset = offset;
}

INLINE void next_row(const Space *space, const i32 *strides, Row *row) {
  for (i32 axis = (i32)space->rank - 2; axis >= 0; axis--) {
    row->offset += strides[axis];
    if (++row->index[axis] < space->shape[axis]) return;
    row->index[axis] = 0;
    row->offset -= strides[axis] * space->shape[axis];
  }
}

// A run of elements into a register; integers become 32 bits, bool a mask.
static void load_run(u32 dtype, const u8 *from, i32 step, u8 *to, u32 count) {
  if (step == 0 && count > 1) {
    load_run(dtype, from, 1, to, 1);
    if (dtype == F64) {
      f64 value = *(f64 *)to;
      for (u32 i = 1; i < count; i++) ((f64 *)to)[i] = value;
    } else {
      u32 value = *(u32 *)to;
      for (u32 i = 1; i < count; i++) ((u32 *)to)[i] = value;
    }
    return;
  }
  switch (dtype) {
  case F32:
  case F16:
  case BF16: load_f32(dtype, from, step, (f32 *)to, count); return;
  case F64: load_f64(dtype, from, step, (f64 *)to, count); return;
  default: load_i32(dtype, from, step, (i32 *)to, count);
  }
  if (dtype == BOOL)
    for (u32 i = 0; i < count; i++) ((i32 *)to)[i] = -((i32 *)to)[i];
}

static void store_run(u32 dtype, u8 *to, i32 step, const u8 *from, u32 count) {
  switch (dtype) {
  case F32:
  case F16:
  case BF16: store_f32(dtype, to, step, (const f32 *)from, count); return;
  case F64: store_f64(dtype, to, step, (const f64 *)from, count); return;
  default: store_i32(dtype, to, step, (const i32 *)from, count);
  }
}

INLINE u32 register_bytes(u32 dtype) { return dtype == F64 ? 8 : 4; }
INLINE u32 is_native(u32 dtype) { return dtype == F32 || dtype == F64 || dtype == I32 || dtype == U32; }

// The element at `start`, if the points from there follow one another in memory.
static u8 *in_place(const Space *space, u32 view, u32 start, u32 count) {
  u32 dtype = space->dtype[view];
  if (!is_native(dtype)) return NULL;
  u32 bytes = dtype_bytes(dtype);
  if (space->linear[view]) return space->data[view] + start * bytes;
  u32 inner = (u32)space->shape[space->rank - 1];
  const i32 *strides = strides_of(space, view);
  u32 position = start % inner;
  if (strides[space->rank - 1] != 1 || position + count > inner) return NULL;
  Row row;
  find_row(space, strides, start / inner, &row);
  return space->data[view] + (row.offset + (i32)position) * (i32)bytes;
}

const u8 *fetch(const Space *space, u32 view, u32 start, u32 count, u8 *slot) {
  const u8 *direct = in_place(space, view, start, count);
  if (direct != NULL) return direct;
  u32 dtype = space->dtype[view], bytes = dtype_bytes(dtype), width = register_bytes(dtype);
  const u8 *data = space->data[view];
  if (space->linear[view]) {
    load_run(dtype, data + start * bytes, 1, slot, count);
    return slot;
  }
  const i32 *strides = strides_of(space, view);
  u32 inner = (u32)space->shape[space->rank - 1], position = start % inner;
  i32 step = strides[space->rank - 1];
  Row row;
  find_row(space, strides, start / inner, &row);
  u8 *to = slot;
  while (count > 0) {
    u32 run = MIN(inner - position, count);
    const u8 *from = data + (row.offset + (i32)position * step) * (i32)bytes;
    if (step == 1 && dtype == F32) {
      copy_f32((f32 *)to, (const f32 *)from, run);
    } else if (run == 1 && dtype == F32) {
      *(f32 *)to = *(const f32 *)from;
    } else {
      load_run(dtype, from, step, to, run);
    }
    to += run * width;
    count -= run;
    position = 0;
    next_row(space, strides, &row);
  }
  return slot;
}

void fetch_coordinate(const Space *space, i32 dimension, u32 start, u32 count, i32 *slot) {
  if (dimension < 0) {
    for (u32 i = 0; i < count; i++) slot[i] = 0;
    return;
  }
  u32 inside = 1, size = (u32)space->shape[dimension];
  for (u32 axis = (u32)dimension + 1; axis < space->rank; axis++) inside *= (u32)space->shape[axis];
  u32 value = start / inside % size, left = inside - start % inside;
  for (u32 i = 0; i < count;) {
    u32 run = MIN(left, count - i);
    if (inside == 1) {
      // The coordinate counts up from point to point.
      run = MIN(size - value, count - i);
      for (u32 k = 0; k < run; k++) slot[i + k] = (i32)(value + k);
      value += run;
    } else {
      for (u32 k = 0; k < run; k++) slot[i + k] = (i32)value;
      value++;
    }
    i += run;
    left = inside;
    if (value >= size) value = 0;
  }
}

u8 *place(const Space *space, u32 view, u32 start, u32 count) {
  // Whole groups of four are written: in place only where they all belong to these points.
  return count % 4 != 0 ? NULL : in_place(space, view, start, count);
}

void put(const Space *space, u32 view, u32 start, u32 count, const u8 *slot) {
  u32 dtype = space->dtype[view], bytes = dtype_bytes(dtype), width = register_bytes(dtype);
  u8 *data = space->data[view];
  if (space->linear[view]) {
    store_run(dtype, data + start * bytes, 1, slot, count);
    return;
  }
  const i32 *strides = strides_of(space, view);
  u32 inner = (u32)space->shape[space->rank - 1], position = start % inner;
  i32 step = strides[space->rank - 1];
  Row row;
  find_row(space, strides, start / inner, &row);
  while (count > 0) {
    u32 run = MIN(inner - position, count);
    store_run(dtype, data + (row.offset + (i32)position * step) * (i32)bytes, step, slot, run);
    slot += run * width;
    count -= run;
    position = 0;
    next_row(space, strides, &row);
  }
}

u32 block_length(const Space *space, u32 start, u32 end, u32 block) {
  u32 count = MIN(block, end - start);
  u32 inner = (u32)space->shape[space->rank - 1];
  // Rows shorter than this are gathered, several to a block.
  if (space->rank > 1 && inner >= 128) count = MIN(count, inner - start % inner);
  return count;
}
