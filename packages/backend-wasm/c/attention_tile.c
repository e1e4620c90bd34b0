// Tiles of queries against all keys, for attention.c and attention_grad.c.
#include "attention.h"

// As they lie where elements of a head are neighbours (heads may have been split off, and the view may be the filled
// part of a cache), else a dense copy.
Heads heads_of(const View *view) {
  const i32 *shape = view->shape, *strides = view->strides;
  if (view->dtype == F32 && (strides[3] == 1 || shape[3] == 1))
    return (Heads){(const f32 *)view->data, strides[0], strides[1], strides[2]};
  return (Heads){dense_f32(view), shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3]};
}

Attention attention_of(const Call *call, const View *q, const View *k, const View *v, const View *mask) {
  Attention a = {.batch = (u32)q->shape[0], .heads = (u32)q->shape[1], .queries = (u32)q->shape[2]};
  a.dim = (u32)q->shape[3];
  a.kv_heads = (u32)k->shape[1];
  a.keys = (u32)k->shape[2];
  a.group = a.heads / a.kv_heads;
  a.padded = (a.dim + 3) & ~3u;
  a.stride = (a.keys + PANEL - 1) & ~(u32)(PANEL - 1);
  a.causal = (u32)call->attr[1];
  a.scale = (f32)call->params[0];
  a.q = heads_of(q);
  a.k = heads_of(k);
  a.v = heads_of(v);
  if (mask != NULL) {
    // Without what it repeats.
    View own = *mask;
    for (u32 axis = 0; axis < 4; axis++) {
      if (own.strides[axis] != 0) continue;
      own.size /= (u32)own.shape[axis];
      own.shape[axis] = 1;
      own.contiguous = 0;
    }
    i32 step = 1;
    for (i32 axis = 3; axis >= 0; axis--) {
      u32 direct = mask->dtype == F32;
      a.mask_strides[axis] = own.shape[axis] == 1 ? 0 : direct ? mask->strides[axis] : step;
      step *= own.shape[axis];
    }
    a.mask = mask->dtype == F32 ? (const f32 *)mask->data : dense_f32(&own);
  }
  // Tiles stay within a head where it has enough queries.
  a.tiles = a.queries >= TILE ? a.group * ((a.queries + TILE - 1) / TILE) : (a.group * a.queries + TILE - 1) / TILE;
  return a;
}

Tile tile_of(const Attention *a, u32 unit, u32 number) {
  Tile tile = {.sample = unit / a->kv_heads, .kv_head = unit % a->kv_heads};
  u32 queries = a->queries, head = 0, position;
  if (queries >= TILE) {
    u32 each = (queries + TILE - 1) / TILE;
    head = number / each;
    position = number % each * TILE;
    tile.count = MIN(TILE, queries - position);
  } else {
    position = number * TILE;
    tile.count = MIN(TILE, a->group * queries - position);
  }
  for (u32 r = 0; r < tile.count; r++, position++) {
    tile.head[r] = tile.kv_head * a->group + head + position / queries;
    tile.position[r] = position % queries;
    i32 visible = (i32)(tile.position[r] + 1 + a->keys) - (i32)queries;
    tile.visible[r] = !a->causal ? a->keys : visible < 0 ? 0 : MIN((u32)visible, a->keys);
    tile.limit = MAX(tile.limit, tile.visible[r]);
  }
  return tile;
}

INLINE void transpose4(f32x4 *x) {
  f32x4 a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5), b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
  f32x4 c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7), d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
  x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

// Four rows (fewer: zeros) as columns to[d * 8 …], times a factor.
INLINE void pack_four(const f32 *const *rows, u32 count, u32 dim, f32 factor, f32 *to) {
  for (u32 d = 0; d < dim; d += 4) {
    f32x4 x[4];
    for (u32 r = 0; r < 4; r++) x[r] = r < count ? load4(rows[r] + d) * factor : splat4(0);
    transpose4(x);
    for (u32 i = 0; i < 4 && d + i < dim; i++) store4(to + (d + i) * 8, x[i]);
  }
}

void pack_panels(const f32 *from, i32 position, u32 count, u32 dim, f32 *panels) {
  for (u32 j = 0; j < count; j += 4) {
    const f32 *rows[4];
    for (u32 r = 0; r < 4; r++) rows[r] = from + (i32)(j + r) * position;
    f32 *to = panels + j / PANEL * PANEL * dim + j % PANEL;
    pack_four(rows, MIN(4, count - j), dim, 1, to);
    if (j + 4 >= count && j % PANEL == 0) pack_four(rows, 0, dim, 1, to + 4);
  }
}

void pack_tile(const Attention *a, const Heads *heads, const Tile *tile, f32 factor, f32 *packed) {
  for (u32 from = 0; from < TILE; from += 4) {
    const f32 *rows[4];
    u32 count = tile->count > from ? MIN(4, tile->count - from) : 0;
    for (u32 r = 0; r < count; r++) rows[r] = query_row(heads, tile, from + r);
    pack_four(rows, count, a->dim, factor, packed + from);
  }
}

void tile_products(const Attention *a, const Tile *tile, const f32 *packed, const f32 *panels, f32 *to) {
  u32 stride = a->stride, dim = a->dim;
  for (u32 j = 0; j < tile->limit; j += PANEL) {
    const f32 *panel = panels + j * dim;
    for (u32 r = 0; r < tile->count; r += 4) {
      f32x4 c[8];
      product4(1, dim, packed + r, 1, TILE, panel, PANEL, c);
      for (u32 i = 0; i < 4; i++) {
        store4(to + (r + i) * stride + j, c[2 * i]);
        store4(to + (r + i) * stride + j + 4, c[2 * i + 1]);
      }
    }
  }
}

void add_mask(const Attention *a, const Tile *tile, u32 r, f32 *scores) {
  const i32 *strides = a->mask_strides;
  const f32 *mask = a->mask + (i32)tile->sample * strides[0] + (i32)tile->head[r] * strides[1];
  mask += (i32)tile->position[r] * strides[2];
  u32 n = tile->visible[r], j = 0;
  if (strides[3] == 1)
    for (; j + 4 <= n; j += 4) store4(scores + j, load4(scores + j) + load4(mask + j));
  for (; j < n; j++) scores[j] += mask[(i32)j * strides[3]];
}

static u32 any_nan(const f32 *x, u32 n) {
  for (u32 i = 0; i < n; i++)
    if (x[i] != x[i]) return 1;
  return 0;
}

void tile_weights(const Attention *a, const Tile *tile, f32 *scores, f32 *greatest, f64 *total) {
  u32 end = (tile->limit + PANEL - 1) & ~(u32)(PANEL - 1);
  for (u32 r = 0; r < tile->count; r++) {
    f32 *row = scores + r * a->stride;
    u32 n = tile->visible[r];
    if (a->mask != NULL) add_mask(a, tile, r, row);
    greatest[r] = row_max(row, n);
    if (greatest[r] == -__builtin_inff() && !any_nan(row, n)) n = 0;
    total[r] = row_exp(row, row, n, greatest[r]);
    fill_bytes(row + n, 0, (end - n) * 4);
  }
  for (u32 r = tile->count; r < ((tile->count + 3) & ~3u); r++) fill_bytes(scores + r * a->stride, 0, end * 4);
}

// Columns c to c + 7, or to c + 3, of four rows.
INLINE void mix_columns(u32 wide, const f32 *weights, u32 stride, u32 keys, const f32 *rows, i32 position, f32 *to,
                        u32 to_stride) {
  for (u32 from = 0; from < keys; from += KEY_RUN) {
    f32x4 c[8];
    product4(wide, MIN(KEY_RUN, keys - from), weights + from, stride, 1, rows + (i32)from * position, position, c);
    for (u32 i = 0; i < 4; i++) {
      f32 *at = to + i * to_stride;
      store4(at, from == 0 ? c[2 * i] : load4(at) + c[2 * i]);
      if (wide) store4(at + 4, from == 0 ? c[2 * i + 1] : load4(at + 4) + c[2 * i + 1]);
    }
  }
}

void tile_mix(const Attention *a, const Tile *tile, const f32 *weights, const f32 *rows, i32 position, f32 *to) {
  u32 padded = a->padded;
  for (u32 r = 0; r < tile->count; r += 4) {
    const f32 *from = weights + r * a->stride;
    f32 *at = to + r * padded;
    u32 c = 0;
    for (; c + 8 <= padded; c += 8) mix_columns(1, from, a->stride, tile->limit, rows + c, position, at + c, padded);
    if (c < padded) mix_columns(0, from, a->stride, tile->limit, rows + c, position, at + c, padded);
  }
}
