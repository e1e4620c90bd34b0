// Gradients of attention. With weights p and s = scale p (g·v - Σ p g·v): dq = Σ s k, dk = Σ s q, dv = Σ p g. Tiles of
// queries over all their keys again: the weights are computed anew with their own greatest score and sum, since the
// stored log-sum-exp is rounded, which matters for large scores.
#include "attention.h"

typedef struct Backward {
  Attention a;
  Heads g;
  f32 *dq, *dk, *dv;
  f32 *sums; // by part: gradients of k, then v, [keys][padded] each; NULL where they can be added up in place
  f32 *space; // of each thread
  u32 space_floats;
} Backward;

// Rows of a tile one after the other, each padded; zeros for those that attend to nothing.
static void copy_rows(const Attention *a, const Heads *heads, const Tile *tile, const f64 *total, f32 *to) {
  for (u32 r = 0; r < tile->count; r++, to += a->padded) {
    fill_bytes(to, 0, a->padded * 4);
    if (total[r] != 0) copy_bytes(to, query_row(heads, tile, r), a->dim * 4);
  }
}

// to[j] += Σ_r weights[r][j] rows[r] for all keys j below the tile's limit.
static void spread(const Attention *a, const Tile *tile, const f32 *weights, const f32 *rows, f32 *to) {
  u32 padded = a->padded;
  for (u32 j = 0; j < tile->limit; j += 4) {
    u32 count = MIN(4, tile->limit - j);
    f32 *at = to + j * padded;
    for (u32 c = 0; c < padded; c += 8) {
      u32 wide = c + 8 <= padded;
      f32x4 sums[8];
      if (wide) product4(1, tile->count, weights + j, 1, a->stride, rows + c, (i32)padded, sums);
      else product4(0, tile->count, weights + j, 1, a->stride, rows + c, (i32)padded, sums);
      for (u32 i = 0; i < count; i++) {
        f32 *p = at + i * padded + c;
        store4(p, load4(p) + sums[2 * i]);
        if (wide) store4(p + 4, load4(p + 4) + sums[2 * i + 1]);
      }
    }
  }
}

static void backward_part(void *arg, u32 part, u32 thread) {
  const Backward *job = arg;
  const Attention *a = &job->a;
  u32 unit, dim = a->dim, stride = a->stride, padded = a->padded;
  Range tiles = tiles_of(a, part, &unit);
  f32 *k_panels = job->space + thread * job->space_floats;
  f32 *v_panels = k_panels + stride * dim;
  f32 *weights = v_panels + stride * dim;
  f32 *slopes = weights + TILE * stride;
  f32 *packed = slopes + TILE * stride;
  f32 *q_rows = packed + TILE * padded;
  f32 *g_rows = q_rows + TILE * padded;
  f32 *mixed = g_rows + TILE * padded;
  u32 size = a->keys * padded;
  f32 *dk = job->sums != NULL ? job->sums + part * 2 * size : job->dk + unit * size;
  f32 *dv = job->sums != NULL ? dk + size : job->dv + unit * size;
  fill_bytes(dk, 0, size * 4);
  fill_bytes(dv, 0, size * 4);
  u32 sample = unit / a->kv_heads, kv_head = unit % a->kv_heads;
  const f32 *k = first_row(&a->k, sample, kv_head), *v = first_row(&a->v, sample, kv_head);
  u32 most = 0;
  for (u32 t = tiles.begin; t < tiles.end; t++) most = MAX(most, tile_of(a, unit, t).limit);
  pack_panels(k, a->k.position, most, dim, k_panels);
  pack_panels(v, a->v.position, most, dim, v_panels);
  for (u32 t = tiles.begin; t < tiles.end; t++) {
    Tile tile = tile_of(a, unit, t);
    f32 greatest[TILE];
    f64 total[TILE];
    pack_tile(a, &a->q, &tile, a->scale, packed);
    tile_products(a, &tile, packed, k_panels, weights);
    tile_weights(a, &tile, weights, greatest, total);
    pack_tile(a, &job->g, &tile, 1, packed);
    tile_products(a, &tile, packed, v_panels, slopes);
    u32 end = (tile.limit + PANEL - 1) & ~(u32)(PANEL - 1);
    for (u32 r = 0; r < ((tile.count + 3) & ~3u); r++) {
      f32 *p = weights + r * stride, *s = slopes + r * stride;
      u32 n = r < tile.count && total[r] != 0 ? tile.visible[r] : 0;
      if (n > 0) {
        f32 inverse = (f32)(1.0 / total[r]);
#define TERM(i) load4(p + (i)) * load4(s + (i))
        ROW_SUM(sum, n, TERM)
#undef TERM
        f32 mean = (f32)(sum / total[r]), scale = a->scale;
#define TERM(i) load4(p + (i)) * inverse
        ROW_STORE(p, n, TERM)
#undef TERM
#define TERM(i) load4(p + (i)) * (load4(s + (i)) - mean) * scale
        ROW_STORE(s, n, TERM)
#undef TERM
      }
      fill_bytes(s + n, 0, (end - n) * 4);
    }
    copy_rows(a, &a->q, &tile, total, q_rows);
    copy_rows(a, &job->g, &tile, total, g_rows);
    spread(a, &tile, weights, g_rows, dv);
    spread(a, &tile, slopes, q_rows, dk);
    tile_mix(a, &tile, slopes, k, a->k.position, mixed);
    for (u32 r = 0; r < tile.count; r++) {
      u32 row = (tile.sample * a->heads + tile.head[r]) * a->queries + tile.position[r];
      if (total[r] == 0) fill_bytes(job->dq + row * dim, 0, dim * 4);
      else copy_bytes(job->dq + row * dim, mixed + r * padded, dim * 4);
    }
  }
}

// Adds up the splits of one head of k and v.
static void gather_part(void *arg, u32 part, u32 thread) {
  const Backward *job = arg;
  const Attention *a = &job->a;
  u32 dim = a->dim, padded = a->padded, size = 2 * a->keys * padded;
  f32 *sums = job->sums + part * a->splits * size;
  for (u32 split = 1; split < a->splits; split++) {
    const f32 *more = sums + split * size;
    for (u32 i = 0; i < size; i += 4) store4(sums + i, load4(sums + i) + load4(more + i));
  }
  f32 *dk = job->dk + part * a->keys * dim, *dv = job->dv + part * a->keys * dim;
  for (u32 j = 0; j < a->keys; j++) {
    copy_bytes(dk + j * dim, sums + j * padded, dim * 4);
    copy_bytes(dv + j * dim, sums + (a->keys + j) * padded, dim * 4);
  }
}

// attr: backward, causal, whether there is a mask; params: scale. The forward's results are not needed.
u32 attention_grad(const Call *call) {
  const View *in = call->in, *out = call->out;
  Backward job = {.a = attention_of(call, in + 1, in + 2, in + 3, call->attr[2] ? in + 4 : NULL)};
  job.g = heads_of(in);
  Attention *a = &job.a;
  u32 units = a->batch * a->kv_heads;
  // Every split has gradients of k and v of its own.
  a->splits = units >= 16 ? 1 : MIN(parts_of(a->tiles, 8), 16);
  job.space_floats = 2 * a->stride * a->dim + TILE * (2 * a->stride + 4 * a->padded);
  job.space = scratch_floats((u64)thread_count() * job.space_floats);
  if (a->splits > 1 || a->padded != a->dim)
    job.sums = scratch_floats((u64)units * a->splits * 2 * a->keys * a->padded);
  job.dq = target_f32(out);
  job.dk = target_f32(out + 1);
  job.dv = target_f32(out + 2);
  f64 pairs = (f64)out->size / a->dim * a->keys * (a->causal && a->queries > 1 ? 0.6 : 1);
  parallel(backward_part, &job, units * a->splits, pairs * (a->dim * 0.2 + 3));
  if (job.sums != NULL) parallel(gather_part, &job, units, (f64)(out + 1)->size * (a->splits + 1) * 0.5);
  finish_f32(out, job.dq);
  finish_f32(out + 1, job.dk);
  finish_f32(out + 2, job.dv);
  return 0;
}
