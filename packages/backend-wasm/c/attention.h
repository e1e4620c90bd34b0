// What the passes of attention share: the problem, tiles of queries, and small products (attention_tile.c has the
// tiles' scores).
#pragma once
#include "rows.h"

// Queries handled together, keys of a panel, keys whose products are added up before they go to memory.
#define TILE 8
#define PANEL 8
#define KEY_RUN 256

// [batch, heads, positions, headDim] with the elements of a head and position side by side; strides in floats.
typedef struct Heads {
  const f32 *data;
  i32 sample, head, position;
} Heads;

// The heads of q that share one head of k and v are handled by the same part: rows of one matrix.
typedef struct Attention {
  u32 batch, heads, kv_heads, group, queries, keys, dim;
  u32 padded; // headDim up to a multiple of 4
  u32 stride; // floats of a row of scores: keys up to a multiple of PANEL
  u32 causal;
  f32 scale;
  Heads q, k, v;
  const f32 *mask; // NULL without
  i32 mask_strides[4];
  u32 tiles; // of one head of k and v
  u32 splits; // parts for one head of k and v
} Attention;

// Queries that are handled together.
typedef struct Tile {
  u32 count; // up to TILE
  u32 limit; // keys that any of them may attend to
  u32 sample, kv_head;
  u32 head[TILE], position[TILE];
  u32 visible[TILE]; // keys that each may attend to as far as causality goes
} Tile;

Heads heads_of(const View *view);
Attention attention_of(const Call *call, const View *q, const View *k, const View *v, const View *mask);
Tile tile_of(const Attention *a, u32 unit, u32 number);

// The tiles of one part; `unit` counts heads of k and v over the batch.
INLINE Range tiles_of(const Attention *a, u32 part, u32 *unit) {
  *unit = part / a->splits;
  return part_range(a->tiles, a->splits, part % a->splits, 1);
}

INLINE const f32 *first_row(const Heads *heads, u32 sample, u32 head) {
  return heads->data + (i32)sample * heads->sample + (i32)head * heads->head;
}
INLINE const f32 *query_row(const Heads *heads, const Tile *tile, u32 r) {
  return first_row(heads, tile->sample, tile->head[r]) + (i32)tile->position[r] * heads->position;
}

// Keys (or values) in panels of PANEL positions, [panel][headDim][PANEL], zeros after the last.
void pack_panels(const f32 *from, i32 position, u32 count, u32 dim, f32 *panels);
// Rows of a tile as [headDim][TILE] times a factor, zeros after the last.
void pack_tile(const Attention *a, const Heads *heads, const Tile *tile, f32 factor, f32 *packed);
// to[r][j] = Σ packed[d][r] panels[j][d] for the tile's rows and keys below its limit.
void tile_products(const Attention *a, const Tile *tile, const f32 *packed, const f32 *panels, f32 *to);
// Turns products into weights e^(score - greatest), zeros where there is nothing to attend to.
void tile_weights(const Attention *a, const Tile *tile, f32 *scores, f32 *greatest, f64 *total);
// to[r] = Σ_j weights[r][j] rows[j], for the tile's rows, keys below its limit and all columns.
void tile_mix(const Attention *a, const Tile *tile, const f32 *weights, const f32 *rows, i32 position, f32 *to);
// Adds the mask to the scores of row r.
void add_mask(const Attention *a, const Tile *tile, u32 r, f32 *scores);

// c[i][j] = Σ_k a[i a_row + k a_step] b[k b_step + j] for 4 rows and 4 or 8 columns, which `c` holds as vectors.
INLINE void product4(u32 wide, u32 depth, const f32 *a, u32 a_row, u32 a_step, const f32 *b, i32 b_step, f32x4 *c) {
  f32x4 c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0}, d0 = {0}, d1 = {0}, d2 = {0}, d3 = {0};
  NO_UNROLL for (u32 k = 0; k < depth; k++) {
    f32x4 left = load4(b), right = wide ? load4(b + 4) : left;
    f32x4 x = splat4(a[0]);
    c0 = madd4(x, left, c0);
    if (wide) d0 = madd4(x, right, d0);
    x = splat4(a[a_row]);
    c1 = madd4(x, left, c1);
    if (wide) d1 = madd4(x, right, d1);
    x = splat4(a[2 * a_row]);
    c2 = madd4(x, left, c2);
    if (wide) d2 = madd4(x, right, d2);
    x = splat4(a[3 * a_row]);
    c3 = madd4(x, left, c3);
    if (wide) d3 = madd4(x, right, d3);
    a += a_step;
    b += b_step;
  }
  c[0] = c0, c[2] = c1, c[4] = c2, c[6] = c3;
  c[1] = d0, c[3] = d1, c[5] = d2, c[7] = d3;
}
