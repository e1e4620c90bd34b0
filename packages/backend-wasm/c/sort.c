// sort: stable in both directions, NaN last in both. Elements become integers of the same order, which are merged.
#include "nf.h"

typedef struct Item {
  u64 key;
  u32 index;
} Item;

enum { AS_F32, AS_F64, AS_I32, AS_U32 };

typedef struct Job {
  const void *from;
  void *to;
  i32 *positions;
  Item *items; // two lines a thread
  u32 length, inner, lines, type, descending, parts;
} Job;

#define LAST 0xffffffffffffffffull

static u64 key_of(const Job *job, u32 at) {
  u64 key;
  switch (job->type) {
  case AS_F32:
  case AS_F64: {
    union {
      f64 f;
      u64 u;
    } x = {.f = job->type == AS_F32 ? (f64)((const f32 *)job->from)[at] : ((const f64 *)job->from)[at]};
    if (x.f != x.f) return LAST;
    if (x.f == 0) x.u = 0; // zeros are equal
    key = x.u >> 63 ? ~x.u : x.u | 1ull << 63;
    break;
  }
  case AS_I32: key = (u64)((i64)((const i32 *)job->from)[at] + 0x80000000ll); break;
  default: key = ((const u32 *)job->from)[at];
  }
  return job->descending ? ~key - 1 : key;
}

static Item *merge_sort(Item *items, Item *other, u32 n) {
  for (u32 begin = 0; begin < n; begin += 16) {
    u32 end = MIN(begin + 16, n);
    for (u32 i = begin + 1; i < end; i++) {
      Item item = items[i];
      u32 k = i;
      for (; k > begin && items[k - 1].key > item.key; k--) items[k] = items[k - 1];
      items[k] = item;
    }
  }
  for (u32 width = 16; width < n; width *= 2) {
    for (u32 begin = 0; begin < n; begin += 2 * width) {
      u32 middle = MIN(begin + width, n), end = MIN(begin + 2 * width, n);
      u32 a = begin, b = middle;
      for (u32 to = begin; to < end; to++)
        other[to] = a < middle && (b >= end || items[a].key <= items[b].key) ? items[a++] : items[b++];
    }
    Item *swap = items;
    items = other;
    other = swap;
  }
  return items;
}

static void sort_part(void *arg, u32 part, u32 thread) {
  const Job *job = arg;
  u32 n = job->length, inner = job->inner;
  Range lines = part_range(job->lines, job->parts, part, 1);
  Item *first = job->items + 2 * n * thread;
  for (u32 line = lines.begin; line < lines.end; line++) {
    u32 start = line / inner * n * inner + line % inner;
    for (u32 k = 0; k < n; k++) first[k] = (Item){key_of(job, start + k * inner), k};
    const Item *sorted = merge_sort(first, first + n, n);
    for (u32 k = 0; k < n; k++) {
      u32 from = start + sorted[k].index * inner, to = start + k * inner;
      job->positions[to] = (i32)sorted[k].index;
      if (job->type == AS_F64) ((f64 *)job->to)[to] = ((const f64 *)job->from)[from];
      else ((u32 *)job->to)[to] = ((const u32 *)job->from)[from];
    }
  }
}

// attr: axis, descending
KERNEL(sort) {
  const View *input = call->in, *values = call->out, *positions = call->out + 1;
  u32 axis = (u32)call->attr[0], dtype = input->dtype;
  Job job = {.inner = 1, .length = (u32)input->shape[axis], .descending = (u32)call->attr[1]};
  for (u32 i = axis + 1; i < input->rank; i++) job.inner *= (u32)input->shape[i];
  job.lines = input->size / job.length;
  u32 floats = dtype == F32 || dtype == F16 || dtype == BF16;
  job.type = dtype == F64 ? AS_F64 : floats ? AS_F32 : dtype == U32 ? AS_U32 : AS_I32;
  job.from = dtype == F64 ? (const void *)dense_f64(input) : floats ? (const void *)dense_f32(input) : dense_i32(input);
  // Lines are written while they are read: never over the input itself.
  u32 in_place = input->data == values->data;
  if (dtype == F64) job.to = in_place ? scratch((u64)input->size * 8) : target_f64(values);
  else if (floats) job.to = in_place ? scratch((u64)input->size * 4) : target_f32(values);
  else job.to = in_place ? scratch((u64)input->size * 4) : target_i32(values);
  job.positions = target_i32(positions);
  job.parts = parts_of(job.lines, 1 + 2048 / job.length);
  job.items = scratch((u64)thread_count() * 2 * job.length * sizeof(Item));
  parallel(sort_part, &job, job.parts, input->size * 50.0);
  if (dtype == F64) finish_f64(values, job.to);
  else if (floats) finish_f32(values, job.to);
  else finish_i32(values, job.to);
  finish_i32(positions, job.positions);
  return 0;
}
