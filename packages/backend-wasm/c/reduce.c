// reduce: a program at every point, its results combined over some axes.
//
// Two ways through the space. "Runs": kept dimensions outside, reduced ones inside, each group one run of points. "Side
// by side": where the innermost dimension is kept, a block of it accumulates in parallel, so that memory is read in order.
// A space with few groups is cut along the reduced dimensions too; partial results are combined in order at the end.
#include "reduce_totals.h"

// Longest row of accumulators that stay side by side.
#define SIDE 512
// Reduced points a part that is cut along the reduced dimensions has at least.
#define CHUNK 16384
// Groups a part stores at least.
#define FINISH 2048

typedef struct ReduceJob {
  const Call *call;
  Space space;
  u32 outputs, side_by_side;
  u32 kept, reduced;   // points of the kept and of the reduced dimensions
  u32 inner;           // side by side: size of the innermost, kept dimension
  u32 chunks, units, parts;
  u32 *kind, *dtype;   // by output
  Total *partial;      // by output, unit (and place within it)
  u32 totals;          // per output
  u8 is_reduced[MAX_RANK];
} ReduceJob;

static u32 simplified(u32 kind, u32 dtype) {
  // For bool, adding and the maximum are "any", multiplying and the minimum "all".
  if (dtype == C_BOOL) return kind == SUM || kind == MAXIMUM || kind == ANY ? ANY : ALL;
  return kind;
}

typedef struct Blocks {
  Registers registers;
  u8 *own[MAX_SLOTS];
  u32 thread;
} Blocks;

static void begin_blocks(Blocks *blocks, const ReduceJob *job, u32 points, u32 thread) {
  prepare_registers(&blocks->registers, job->call->program, job->call->params, points, thread);
  copy_bytes(blocks->own, blocks->registers.slot, job->call->program->slots * sizeof(u8 *));
  blocks->thread = thread;
}

// Computes the program for a range of points; results are in the slots of its outputs.
static void compute(Blocks *blocks, const ReduceJob *job, u32 start, u32 count) {
  const Program *program = job->call->program;
  u8 **slot = blocks->registers.slot;
  for (u32 i = 0; i < program->inputs; i++) slot[i] = (u8 *)fetch(&job->space, i, start, count, blocks->own[i]);
  for (u32 i = 0; i < program->coordinates; i++)
    fetch_coordinate(&job->space, job->space.dimensions[i], start, count, (i32 *)blocks->own[program->inputs + i]);
  run_program(program, slot, count, blocks->thread);
}

static void run_part(void *arg, u32 part, u32 thread) {
  const ReduceJob *job = arg;
  const Program *program = job->call->program;
  Range units = part_range(job->units, job->parts, part, 1);
  if (units.begin == units.end) return;
  Blocks blocks;
  u32 chunk = (job->reduced + job->chunks - 1) / job->chunks;
  begin_blocks(&blocks, job, (units.end - units.begin) * chunk, thread);
  for (u32 k = 0; k < job->outputs; k++)
    for (u32 unit = units.begin; unit < units.end; unit++)
      job->partial[k * job->totals + unit] = start_total(job->kind[k], job->dtype[k]);
  // Units follow one another in the space: blocks may span several.
  u32 unit = units.begin, group = unit / job->chunks, piece = unit % job->chunks;
#define UNIT_BEGIN(group, piece) ((group) * job->reduced + MIN((piece) * chunk, job->reduced))
  u32 at = UNIT_BEGIN(group, piece);
  u32 last = units.end - 1;
  u32 end = UNIT_BEGIN(last / job->chunks, last % job->chunks + 1);
  u32 unit_end = UNIT_BEGIN(group, piece + 1);
  while (at < end) {
    u32 count = block_length(&job->space, at, end, blocks.registers.block);
    compute(&blocks, job, at, count);
    for (u32 done = 0; done < count;) {
      while (unit_end <= at + done) {
        unit++;
        group = unit / job->chunks;
        piece = unit % job->chunks;
        unit_end = UNIT_BEGIN(group, piece + 1);
      }
      u32 run = MIN(unit_end - at - done, count - done);
      for (u32 k = 0; k < job->outputs; k++) {
        u32 dtype = job->dtype[k];
        const u8 *values = blocks.registers.slot[program->result[k]] + done * (dtype == C_F64 ? 8 : 4);
        take_run(job->kind[k], dtype, values, run, job->partial + k * job->totals + unit);
      }
      done += run;
    }
    at += count;
  }
}

static void side_part(void *arg, u32 part, u32 thread) {
  const ReduceJob *job = arg;
  const Program *program = job->call->program;
  Range units = part_range(job->units, job->parts, part, 1);
  if (units.begin == units.end) return;
  u32 inner = job->inner, strips = (inner + SIDE - 1) / SIDE;
  Blocks blocks;
  begin_blocks(&blocks, job, job->reduced * inner, thread);
  _Alignas(16) f64 sums[SIDE];
  for (u32 unit = units.begin; unit < units.end; unit++) {
    u32 piece = unit % job->chunks, strip = unit / job->chunks % strips, outer = unit / job->chunks / strips;
    u32 first = strip * SIDE, width = MIN(inner - first, SIDE);
    Range rows = part_range(job->reduced, job->chunks, piece, 1);
    u32 place = outer * inner + first;
    u32 plain = job->outputs == 1 && job->kind[0] == SUM && job->dtype[0] == C_F32;
    if (plain)
      for (u32 i = 0; i < width; i++) sums[i] = 0;
    for (u32 k = 0; k < job->outputs && !plain; k++) {
      Total start = start_total(job->kind[k], job->dtype[k]);
      Total *totals = job->partial + k * job->totals + piece * job->kept + place;
      for (u32 i = 0; i < width; i++) totals[i] = start;
    }
    // Narrow rows go several to a block.
    u32 several = width == inner ? MAX(1, blocks.registers.block / width) : 1;
    for (u32 row = rows.begin; row < rows.end; row += several) {
      u32 count = MIN(several, rows.end - row);
      u32 start = (outer * job->reduced + row) * inner + first;
      for (u32 done = 0; done < count * width;) {
        // The block may be shorter than a row where registers are many.
        u32 points = MIN(count * width - done, blocks.registers.block);
        compute(&blocks, job, start + done, points);
        for (u32 i = 0; i < points;) {
          u32 column = (done + i) % width, run = MIN(width - column, points - i);
          for (u32 k = 0; k < job->outputs; k++) {
            u32 dtype = job->dtype[k];
            const u8 *values = blocks.registers.slot[program->result[k]] + i * (dtype == C_F64 ? 8 : 4);
            if (plain) add_row_f32((const f32 *)values, run, sums + column);
            else
              take_row(job->kind[k], dtype, values, run,
                       job->partial + k * job->totals + piece * job->kept + place + column);
          }
          i += run;
        }
        done += points;
      }
    }
    if (plain)
      for (u32 i = 0; i < width; i++) job->partial[piece * job->kept + place + i] = (Total){.value = sums[i]};
  }
}

// Stores one group's value.
static void store_total(const ReduceJob *job, u32 output, const Total *total, u8 *to) {
  u32 dtype = job->dtype[output], view = job->space.dtype[job->call->inputs + output];
  u32 logical = job->kind[output] == ANY || job->kind[output] == ALL;
  if (logical && dtype != C_F32 && dtype != C_F64) {
    store_i32(view, to, 1, &total->whole, 1);
    return;
  }
  if (dtype == C_I32 || dtype == C_U32) {
    store_i32(view, to, 1, &total->whole, 1);
    return;
  }
  f64 value = logical ? total->whole : total->value;
  if (job->kind[output] == SUM && dtype == C_F64) {
    // Infinities make the error NaN; the plain sum is right then.
    f64 exact = total->value + total->error;
    if (exact == exact) value = exact;
  }
  if (dtype == C_F64) {
    store_f64(view, to, 1, &value, 1);
  } else {
    f32 rounded = (f32)value;
    store_f32(view, to, 1, &rounded, 1);
  }
}

// Combines the chunks of a range of groups, in order, and stores the results.
static void finish_part(void *arg, u32 part, u32 thread) {
  const ReduceJob *job = arg;
  const Space *space = &job->space;
  u32 inputs = job->call->inputs;
  Range groups = part_range(job->kept, parts_of(job->kept, FINISH), part, 1);
  for (u32 k = 0; k < job->outputs; k++) {
    const i32 *strides = space->strides + (inputs + k) * MAX_RANK;
    u32 bytes = dtype_bytes(space->dtype[inputs + k]);
    i32 index[MAX_RANK] = {0};
    i32 offset = 0;
    u32 rest = groups.begin;
    for (i32 axis = (i32)space->rank - 1; axis >= 0; axis--) {
      if (job->is_reduced[axis]) continue;
      index[axis] = (i32)(rest % (u32)space->shape[axis]);
      rest /= (u32)space->shape[axis];
      offset += index[axis] * strides[axis];
    }
    for (u32 group = groups.begin; group < groups.end; group++) {
      Total *first = job->partial + k * job->totals + (job->side_by_side ? group : group * job->chunks);
      u32 step = job->side_by_side ? job->kept : 1;
      for (u32 piece = 1; piece < job->chunks; piece++)
        merge_totals(job->kind[k], job->dtype[k], first, first + piece * step);
      store_total(job, k, first, space->data[inputs + k] + offset * (i32)bytes);
      for (i32 axis = (i32)space->rank - 1; axis >= 0; axis--) {
        if (job->is_reduced[axis]) continue;
        offset += strides[axis];
        if (++index[axis] < space->shape[axis]) break;
        index[axis] = 0;
        offset -= strides[axis] * space->shape[axis];
      }
    }
  }
}

// attr: number of axes, axes, kinds by output
KERNEL(reduce) {
  const Program *program = call->program;
  ReduceJob job = {.call = call, .outputs = call->outputs};
  const View *shaped = call->inputs > 0 ? call->in : call->out;
  u8 reduced_axis[MAX_RANK] = {0};
  u32 axes = (u32)call->attr[0];
  for (u32 i = 0; i < axes; i++) reduced_axis[call->attr[1 + i]] = 1;
  make_space(&job.space, call, shaped->rank, shaped->shape, reduced_axis);
  Space *space = &job.space;
  u32 rank = space->rank;
  const i32 *kept_strides = space->strides + call->inputs * MAX_RANK;
  u8 is_reduced[MAX_RANK];
  job.kept = job.reduced = 1;
  for (u32 axis = 0; axis < rank; axis++) {
    is_reduced[axis] = space->shape[axis] > 1 && kept_strides[axis] == 0;
    if (is_reduced[axis]) job.reduced *= (u32)space->shape[axis];
    else job.kept *= (u32)space->shape[axis];
  }
  job.inner = (u32)space->shape[rank - 1];
  job.side_by_side = !is_reduced[rank - 1] && job.reduced > 1 && job.inner >= 4;
  // Kept dimensions outside, reduced ones inside; side by side, the innermost one stays where it is.
  u32 order[MAX_RANK], at = 0, fixed = job.side_by_side ? rank - 1 : rank;
  u8 was_reduced[MAX_RANK];
  for (u32 axis = 0; axis < fixed; axis++)
    if (!is_reduced[axis]) order[at++] = axis;
  for (u32 axis = 0; axis < fixed; axis++)
    if (is_reduced[axis]) order[at++] = axis;
  if (job.side_by_side) order[at] = rank - 1;
  copy_bytes(was_reduced, is_reduced, sizeof was_reduced);
  for (u32 i = 0; i < rank; i++) job.is_reduced[i] = was_reduced[order[i]];
  reorder_space(space, order, program->coordinates);

  job.kind = scratch(job.outputs * 4);
  job.dtype = scratch(job.outputs * 4);
  for (u32 k = 0; k < job.outputs; k++) {
    job.dtype[k] = program->result_dtype[k];
    job.kind[k] = simplified((u32)call->attr[1 + axes + k], job.dtype[k]);
  }
  f64 cost = (f64)program->cost + 0.15 * (call->inputs + call->outputs);
  if (job.side_by_side) {
    u32 strips = (job.inner + SIDE - 1) / SIDE, outer = job.kept / job.inner;
    u32 whole = outer * strips;
    job.chunks = whole >= 16 ? 1 : parts_of(job.reduced, (u32)MAX(1.0, CHUNK / (f64)MIN(job.inner, SIDE)));
    job.units = whole * job.chunks;
    job.totals = job.kept * job.chunks;
    job.parts = parts_of(job.units, (u32)MAX(1.0, CHUNK / ((f64)job.reduced * MIN(job.inner, SIDE) / job.chunks)));
  } else {
    job.chunks = job.kept >= 16 ? 1 : parts_of(job.reduced, CHUNK);
    job.units = job.kept * job.chunks;
    job.totals = job.units;
    job.parts = parts_of(job.units, (u32)MAX(1.0, CHUNK / ((f64)job.reduced / job.chunks)));
  }
  job.partial = scratch((u64)job.outputs * job.totals * sizeof(Total));
  parallel(job.side_by_side ? side_part : run_part, &job, job.parts, space->size * cost);
  parallel(finish_part, &job, parts_of(job.kept, FINISH), job.kept * (5.0 + 5.0 * job.chunks) * job.outputs);
  return take_fault();
}
