// map: a program at every point of a space.
#include "program.h"

// Work of a part, at least.
#define PART_NS 6000.0

typedef struct MapJob {
  const Call *call;
  Space space;
  u32 parts;
} MapJob;

// Whether computing an output in place could change what a later instruction reads.
static u32 shares_input(const MapJob *job, u32 output) {
  const Call *call = job->call;
  if (call->program->last_read[output]) return 0;
  for (u32 i = 0; i < call->inputs; i++)
    if (call->in[i].data == call->out[output].data) return 1;
  return 0;
}

static u32 is_output(const Call *call, const u8 *data) {
  for (u32 k = 0; k < call->outputs; k++)
    if (call->out[k].data == data) return 1;
  return 0;
}

static void map_part(void *arg, u32 part, u32 thread) {
  const MapJob *job = arg;
  const Space *space = &job->space;
  const Program *program = job->call->program;
  u32 inputs = program->inputs, outputs = program->outputs;
  Range range = part_range(space->size, job->parts, part, 64);
  Registers registers;
  prepare_registers(&registers, program, job->call->params, range.end - range.begin, thread);
  u8 *own[MAX_SLOTS];
  copy_bytes(own, registers.slot, program->slots * sizeof(u8 *));
  u8 **slot = registers.slot;
  for (u32 start = range.begin; start < range.end;) {
    u32 count = block_length(space, start, range.end, registers.block);
    for (u32 i = 0; i < inputs; i++) slot[i] = (u8 *)fetch(space, i, start, count, own[i]);
    for (u32 i = 0; i < program->coordinates; i++)
      fetch_coordinate(space, space->dimensions[i], start, count, (i32 *)own[inputs + i]);
    for (u32 k = 0; k < outputs; k++) {
      u32 result = program->result[k];
      // Results that are inputs, coordinates or scalars have no instruction that could write them in place.
      if (result < inputs + program->coordinates || result >= program->first_scalar) continue;
      slot[result] = own[result];
      if (shares_input(job, k)) continue;
      u8 *direct = place(space, inputs + k, start, count);
      if (direct != NULL) slot[result] = direct;
    }
    run_program(program, slot, count, thread);
    // A result that is a bare input leaves memory before another output is put there.
    for (u32 k = 0; k < outputs && outputs > 1; k++) {
      u32 result = program->result[k];
      if (result >= inputs || slot[result] == own[result] || !is_output(job->call, job->call->in[result].data)) continue;
      copy_bytes(own[result], slot[result], count * dtype_bytes(space->dtype[result]));
      slot[result] = own[result];
    }
    for (u32 k = 0; k < outputs; k++) {
      u32 result = program->result[k];
      u8 *direct = place(space, inputs + k, start, count);
      if (direct == NULL || slot[result] != direct) put(space, inputs + k, start, count, slot[result]);
    }
    start += count;
  }
}

// Works a call out; returns its guessed nanoseconds.
static f64 prepare(MapJob *job, const Call *call) {
  job->call = call;
  make_space(&job->space, call, call->out->rank, call->out->shape, NULL);
  f64 cost = (f64)call->program->cost + 0.06 * (call->inputs + call->outputs);
  job->parts = parts_of(job->space.size, (u32)MAX(512.0, PART_NS / cost));
  return job->space.size * cost;
}

KERNEL(map) {
  MapJob job;
  f64 work = prepare(&job, call);
  parallel(map_part, &job, job.parts, work);
  return take_fault();
}

typedef struct ManyJob {
  const MapJob *jobs;
  const u32 *first; // part each group begins with
} ManyJob;

static void many_part(void *arg, u32 part, u32 thread) {
  const ManyJob *many = arg;
  u32 group = 0;
  while (part >= many->first[group + 1]) group++;
  map_part((void *)(many->jobs + group), part - many->first[group], thread);
}

// The parts of all groups are shared out together. attr: number of groups
KERNEL(map_many) {
  u32 groups = (u32)call->attr[0];
  u32 inputs = call->inputs / groups, outputs = call->outputs / groups;
  Call *calls = scratch(groups * sizeof(Call));
  MapJob *jobs = scratch(groups * sizeof(MapJob));
  u32 *first = scratch((groups + 1) * 4);
  ManyJob many = {jobs, first};
  f64 work = 0;
  first[0] = 0;
  for (u32 group = 0; group < groups; group++) {
    calls[group] = *call;
    calls[group].in = call->in + group * inputs;
    calls[group].out = call->out + group * outputs;
    calls[group].inputs = inputs;
    calls[group].outputs = outputs;
    work += prepare(jobs + group, calls + group);
    first[group + 1] = first[group] + jobs[group].parts;
  }
  parallel(many_part, &many, first[groups], work);
  return take_fault();
}
