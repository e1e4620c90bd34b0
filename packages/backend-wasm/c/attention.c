// attention: softmax(scale q kᵀ + mask) v and its gradients. Forward takes tiles of queries over all their keys, so that
// only a tile's scores are ever stored; where few queries share their keys (decoding), one query at a time.
#include "attention.h"

// Up to so many queries of one head of k and v are handled one at a time.
#define FEW 2

typedef struct Forward {
  Attention a;
  f32 *out, *logs;
  f32 *space; // of each thread
  u32 space_floats, few;
} Forward;

// Four products of rows of k with q.
INLINE f32x4 dot_four(const f32 *q, const f32 *k, i32 position, u32 dim) {
  const f32 *k1 = k + position, *k2 = k1 + position, *k3 = k2 + position;
  f32x4 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
  u32 d = 0;
  NO_UNROLL for (; d + 4 <= dim; d += 4) {
    f32x4 x = load4(q + d);
    s0 = madd4(x, load4(k + d), s0);
    s1 = madd4(x, load4(k1 + d), s1);
    s2 = madd4(x, load4(k2 + d), s2);
    s3 = madd4(x, load4(k3 + d), s3);
  }
  f32x4 a = __builtin_shufflevector(s0, s1, 0, 4, 1, 5) + __builtin_shufflevector(s0, s1, 2, 6, 3, 7);
  f32x4 b = __builtin_shufflevector(s2, s3, 0, 4, 1, 5) + __builtin_shufflevector(s2, s3, 2, 6, 3, 7);
  f32x4 sums = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  for (; d < dim; d++) sums += q[d] * (f32x4){k[d], k1[d], k2[d], k3[d]};
  return sums;
}

// scores[j] = q · k[j]
static void scores_of_one(const f32 *q, const f32 *k, i32 position, u32 keys, u32 dim, f32 *scores) {
  u32 j = 0;
  for (; j + 4 <= keys; j += 4) store4(scores + j, dot_four(q, k + (i32)j * position, position, dim));
  for (; j < keys; j++) scores[j] = dot_four(q, k + (i32)j * position, 0, dim)[0];
}

// Columns of to = Σ_j weights[j] rows[j]: `vectors` times 4, at most 8 vectors.
INLINE void mix_one(u32 vectors, const f32 *weights, u32 keys, const f32 *rows, i32 position, f32 *to) {
  for (u32 from = 0; from < keys; from += KEY_RUN) {
    u32 end = MIN(keys, from + KEY_RUN);
    f32x4 sums[8] = {{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}};
    const f32 *row = rows + (i32)from * position;
    NO_UNROLL for (u32 j = from; j < end; j++, row += position) {
      f32x4 weight = splat4(weights[j]);
#pragma clang loop unroll(full)
      for (u32 i = 0; i < vectors; i++) sums[i] = madd4(weight, load4(row + 4 * i), sums[i]);
    }
#pragma clang loop unroll(full)
    for (u32 i = 0; i < vectors; i++) store4(to + 4 * i, from == 0 ? sums[i] : load4(to + 4 * i) + sums[i]);
  }
}

static void mix_of_one(const f32 *weights, u32 keys, const f32 *rows, i32 position, u32 padded, f32 *to) {
  u32 c = 0;
  for (; c + 32 <= padded; c += 32) mix_one(8, weights, keys, rows + c, position, to + c);
  for (; c + 16 <= padded; c += 16) mix_one(4, weights, keys, rows + c, position, to + c);
  for (; c < padded; c += 4) mix_one(1, weights, keys, rows + c, position, to + c);
}

static void forward_part(void *arg, u32 part, u32 thread) {
  const Forward *job = arg;
  const Attention *a = &job->a;
  u32 unit, dim = a->dim;
  Range tiles = tiles_of(a, part, &unit);
  f32 *panels = job->space + thread * job->space_floats;
  f32 *scores = panels + (job->few ? 0 : a->stride * dim);
  f32 *packed = scores + TILE * a->stride;
  f32 *mixed = packed + TILE * a->padded;
  u32 sample = unit / a->kv_heads, kv_head = unit % a->kv_heads;
  const f32 *k = first_row(&a->k, sample, kv_head), *v = first_row(&a->v, sample, kv_head);
  if (!job->few) {
    // A part's later tiles are those that see the most keys.
    u32 most = 0;
    for (u32 t = tiles.begin; t < tiles.end; t++) most = MAX(most, tile_of(a, unit, t).limit);
    pack_panels(k, a->k.position, most, dim, panels);
  }
  for (u32 t = tiles.begin; t < tiles.end; t++) {
    Tile tile = tile_of(a, unit, t);
    f32 greatest[TILE];
    f64 total[TILE];
    if (job->few) {
      for (u32 r = 0; r < tile.count; r++) {
        const f32 *q = query_row(&a->q, &tile, r);
        for (u32 d = 0; d < dim; d++) packed[d] = q[d] * a->scale;
        scores_of_one(packed, k, a->k.position, tile.visible[r], dim, scores + r * a->stride);
      }
    } else {
      pack_tile(a, &a->q, &tile, a->scale, packed);
      tile_products(a, &tile, packed, panels, scores);
    }
    tile_weights(a, &tile, scores, greatest, total);
    if (job->few) {
      for (u32 r = 0; r < tile.count; r++)
        mix_of_one(scores + r * a->stride, tile.visible[r], v, a->v.position, a->padded, mixed + r * a->padded);
    } else {
      tile_mix(a, &tile, scores, v, a->v.position, mixed);
    }
    for (u32 r = 0; r < tile.count; r++) {
      u32 row = (tile.sample * a->heads + tile.head[r]) * a->queries + tile.position[r];
      f32 *out = job->out + row * dim;
      job->logs[row] = total[r] == 0 ? -__builtin_inff() : greatest[r] + log1((f32)total[r]);
      if (total[r] == 0) {
        fill_bytes(out, 0, dim * 4);
        continue;
      }
      f32 inverse = (f32)(1.0 / total[r]);
      const f32 *from = mixed + r * a->padded;
#define TERM(i) load4(from + (i)) * inverse
      ROW_STORE(out, dim, TERM)
#undef TERM
    }
  }
}

// attr: backward, causal, whether there is a mask; params: scale.
static u32 forward(const Call *call) {
  const View *in = call->in;
  Forward job = {.a = attention_of(call, in, in + 1, in + 2, call->attr[2] ? in + 3 : NULL)};
  Attention *a = &job.a;
  job.few = a->group * a->queries <= FEW;
  u32 units = a->batch * a->kv_heads;
  // Every part packs the keys, which is worth it for eight tiles.
  a->splits = units >= 32 ? 1 : parts_of(a->tiles, 8);
  job.space_floats = (job.few ? 0 : a->stride * a->dim) + TILE * (a->stride + 2 * a->padded);
  job.space = scratch_floats((u64)thread_count() * job.space_floats);
  job.out = target_f32(call->out);
  job.logs = target_f32(call->out + 1);
  f64 pairs = (f64)in->size / a->dim * a->keys * (a->causal && a->queries > 1 ? 0.6 : 1);
  parallel(forward_part, &job, units * a->splits, pairs * (a->dim * 0.08 + 2));
  finish_f32(call->out, job.out);
  finish_f32(call->out + 1, job.logs);
  return 0;
}

u32 attention_grad(const Call *call);

KERNEL(attention) { return call->attr[0] ? attention_grad(call) : forward(call); }
