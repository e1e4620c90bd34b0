// reduce: a program at every point, its results combined over some axes.
//
// Two ways through the space. "Runs": kept dimensions outside, reduced ones inside, each group one run of points. "Side
// by side": where the innermost dimension is kept, a block of it accumulates in parallel, so that memory is read in order.
// A space with few groups is cut along the reduced dimensions too; partial results are combined in order at the end.
#include "program.h"
#include "simd.h"

enum { SUM, PROD, MAXIMUM, MINIMUM, ANY, ALL };

// Longest row of accumulators that stay side by side.
#define SIDE 512
// Reduced points a part that is cut along the reduced dimensions has at least.
#define CHUNK 16384
// Groups a part stores at least.
#define FINISH 2048

// One group's value so far. f64 sums carry their rounding error along (Neumaier 1974).
typedef union Total {
  struct {
    f64 value, error;
  };
  i32 whole;
} Total;

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

static Total start_of(u32 kind, u32 dtype) {
  Total total = {.value = 0, .error = 0};
  u32 whole = dtype == C_I32 || dtype == C_U32;
  switch (kind) {
  case PROD:
    if (whole) total.whole = 1;
    else total.value = 1;
    break;
  case MAXIMUM:
    if (whole) total.whole = dtype == C_I32 ? (i32)0x80000000 : 0;
    else total.value = -__builtin_inf();
    break;
  case MINIMUM:
    if (whole) total.whole = dtype == C_I32 ? 0x7fffffff : -1;
    else total.value = __builtin_inf();
    break;
  case ALL: total.whole = 1; break;
  case ANY: total.whole = 0; break;
  }
  return total;
}

INLINE f64 greater(f64 a, f64 b) { return a != a ? a : b != b ? b : a > b ? a : b; }
INLINE f64 lesser(f64 a, f64 b) { return a != a ? a : b != b ? b : a < b ? a : b; }

INLINE void add(Total *total, f64 value) {
  f64 a = total->value, sum = a + value;
  total->error += __builtin_fabs(a) >= __builtin_fabs(value) ? a - sum + value : value - sum + a;
  total->value = sum;
}

// Takes one group's total into another; both are of the same kind.
static void merge(u32 kind, u32 dtype, Total *total, const Total *more) {
  u32 floats = dtype == C_F32 || dtype == C_F64;
  switch (kind) {
  case SUM:
    if (!floats) {
      total->whole += more->whole;
    } else {
      add(total, more->value);
      total->error += more->error;
    }
    break;
  case PROD:
    if (floats) total->value *= more->value;
    else total->whole *= more->whole;
    break;
  case MAXIMUM:
    if (floats) total->value = greater(total->value, more->value);
    else if (dtype == C_I32) total->whole = MAX(total->whole, more->whole);
    else total->whole = (i32)MAX((u32)total->whole, (u32)more->whole);
    break;
  case MINIMUM:
    if (floats) total->value = lesser(total->value, more->value);
    else if (dtype == C_I32) total->whole = MIN(total->whole, more->whole);
    else total->whole = (i32)MIN((u32)total->whole, (u32)more->whole);
    break;
  case ANY: total->whole |= more->whole; break;
  default: total->whole &= more->whole;
  }
}

// Sums of f32 add up in doubles: no error to speak of, whatever their number.
static f64 sum_f32(const f32 *x, u32 n) {
  f64x2 a = {0, 0}, b = {0, 0}, c = {0, 0}, d = {0, 0};
  u32 i = 0;
  NO_UNROLL for (; i + 8 <= n; i += 8) {
    f32x4 p = load4(x + i), q = load4(x + i + 4);
    a += low2(p);
    b += high2(p);
    c += low2(q);
    d += high2(q);
  }
  a = (a + b) + (c + d);
  f64 sum = a[0] + a[1];
  for (; i < n; i++) sum += x[i];
  return sum;
}

// The maximum, or the maximum of the negated values; NaN if there is one. Comparing selects are one instruction where
// NaN-keeping ones are many, so NaN is watched for on the side.
static f32 extreme_f32(const f32 *x, u32 n, u32 greatest) {
  i32 sign = greatest ? 0 : (i32)0x80000000;
  i32x4 flip = {sign, sign, sign, sign}, ordered = {-1, -1, -1, -1};
  f32x4 a = splat4(-__builtin_inff()), b = a;
  u32 i = 0;
  NO_UNROLL for (; i + 8 <= n; i += 8) {
    f32x4 p = as_f32(as_i32(load4(x + i)) ^ flip), q = as_f32(as_i32(load4(x + i + 4)) ^ flip);
    ordered &= (p == p) & (q == q);
    a = (f32x4)wasm_f32x4_pmax((v128_t)a, (v128_t)p);
    b = (f32x4)wasm_f32x4_pmax((v128_t)b, (v128_t)q);
  }
  f32 best = hmax4((f32x4)wasm_f32x4_pmax((v128_t)a, (v128_t)b));
  u32 nan = !wasm_i32x4_all_true((v128_t)ordered);
  for (; i < n; i++) {
    f32 value = greatest ? x[i] : -x[i];
    nan |= value != value;
    best = value > best ? value : best;
  }
  return nan ? __builtin_nanf("") : best;
}

// Takes a run of values into a total.
static void take_run(u32 kind, u32 dtype, const u8 *values, u32 n, Total *total) {
  const f32 *f = (const f32 *)values;
  const f64 *d = (const f64 *)values;
  const i32 *w = (const i32 *)values;
  const u32 *u = (const u32 *)values;
  u32 i = 0;
  switch (kind * 8 + dtype) {
  case SUM * 8 + C_F32: total->value += sum_f32(f, n); return;
  case SUM * 8 + C_F64:
    for (; i < n; i++) add(total, d[i]);
    return;
  case SUM * 8 + C_I32:
  case SUM * 8 + C_U32:
    for (; i < n; i++) total->whole += w[i];
    return;
  case PROD * 8 + C_F32:
    for (; i < n; i++) total->value *= f[i];
    return;
  case PROD * 8 + C_F64:
    for (; i < n; i++) total->value *= d[i];
    return;
  case PROD * 8 + C_I32:
  case PROD * 8 + C_U32:
    for (; i < n; i++) total->whole *= w[i];
    return;
  case MAXIMUM * 8 + C_F32: total->value = greater(total->value, extreme_f32(f, n, 1)); return;
  case MAXIMUM * 8 + C_F64:
    for (; i < n; i++) total->value = greater(total->value, d[i]);
    return;
  case MAXIMUM * 8 + C_I32:
    for (; i < n; i++) total->whole = MAX(total->whole, w[i]);
    return;
  case MAXIMUM * 8 + C_U32:
    for (; i < n; i++) total->whole = (i32)MAX((u32)total->whole, u[i]);
    return;
  case MINIMUM * 8 + C_F32: total->value = lesser(total->value, -extreme_f32(f, n, 0)); return;
  case MINIMUM * 8 + C_F64:
    for (; i < n; i++) total->value = lesser(total->value, d[i]);
    return;
  case MINIMUM * 8 + C_I32:
    for (; i < n; i++) total->whole = MIN(total->whole, w[i]);
    return;
  case MINIMUM * 8 + C_U32:
    for (; i < n; i++) total->whole = (i32)MIN((u32)total->whole, u[i]);
    return;
  default:
    // ANY and ALL of any dtype; -0 counts as zero, NaN does not.
    for (; i < n; i++) {
      u32 truth = dtype == C_F32 ? f[i] != 0 : dtype == C_F64 ? d[i] != 0 : w[i] != 0;
      if (truth != (kind == ALL)) {
        total->whole = (i32)truth;
        return;
      }
    }
  }
}

// Takes a row of values into a row of totals.
static void take_row(u32 kind, u32 dtype, const u8 *values, u32 n, Total *totals) {
  const f32 *f = (const f32 *)values;
  u32 width = dtype == C_F64 ? 8 : 4;
  switch (kind * 8 + dtype) {
  case SUM * 8 + C_F32:
    for (u32 i = 0; i < n; i++) totals[i].value += f[i];
    return;
  case MAXIMUM * 8 + C_F32:
    for (u32 i = 0; i < n; i++) totals[i].value = greater(totals[i].value, f[i]);
    return;
  default:
    for (u32 i = 0; i < n; i++) take_run(kind, dtype, values + i * width, 1, totals + i);
  }
}

// Rows of f32 sums have an accumulator of plain doubles, which vectorises.
static void add_row_f32(const f32 *values, u32 n, f64 *sums) {
  u32 i = 0;
  NO_UNROLL for (; i + 4 <= n; i += 4) {
    f32x4 x = load4(values + i);
    f64x2 *to = (f64x2 *)(sums + i);
    to[0] += low2(x);
    to[1] += high2(x);
  }
  for (; i < n; i++) sums[i] += values[i];
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
      job->partial[k * job->totals + unit] = start_of(job->kind[k], job->dtype[k]);
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
      Total start = start_of(job->kind[k], job->dtype[k]);
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
        merge(job->kind[k], job->dtype[k], first, first + piece * step);
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
  if ((f64)job.outputs * job.totals * sizeof(Total) > 4e9) scratch(0xffffffff);
  job.partial = scratch(job.outputs * job.totals * sizeof(Total));
  parallel(job.side_by_side ? side_part : run_part, &job, job.parts, space->size * cost);
  parallel(finish_part, &job, parts_of(job.kept, FINISH), job.kept * (5.0 + 5.0 * job.chunks) * job.outputs);
  return take_fault();
}
