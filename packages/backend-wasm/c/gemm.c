// Products of matrices of floats: register tiles of 4 rows and 8 (f64: 4) columns over panels of B.
//
// A product is cut into items: blocks of rows times blocks of columns of every matrix of the stack. Within an item the
// depth goes in blocks, and A and B are packed to lie in panels as tiles read them: a block of A in the second-level
// cache, a few panels of B in the first, over which the tiles of four rows at a time pass side by side, so that C is
// written along its rows. What many items share is packed once, before them: B for many blocks of rows, A for one that
// is cut across. Deep products with few results are cut along the depth, as a stack whose results are added. Everything
// follows from shapes and strides alone.
//
// What depends on the type of the numbers is in headers, included once for each: gemm_tiles.h, gemm_vector.h and
// gemm_plan.h.
#include "gemm.h"
#include "simd.h"

#define DEEPEST 320      // most elements of a block of the depth
#define TILE 4           // rows of a tile
#define GROUP (2 * DEEPEST * WIDTH) // most elements of the panels of B that rows pass over at a time
#define FEW_ROWS 128     // up to so many rows are one item
#define ROW_BLOCK 64     // rows of an item otherwise
#define SPLITS 8         // pieces of a deep product
#define SPLIT_DEPTH 1024 // what is deep
#define SPLIT_SIZE 65536 // and most results it may have
#define KEEP(pointer) __asm__("" : "+r"(pointer))
#define CHUNK 1024       // columns of a vector times a matrix at a time

typedef f64 f64x2_any __attribute__((vector_size(16), aligned(8)));
INLINE f64x2 splat2(f64 x) { return (f64x2){x, x}; }
INLINE f64x2 load2(const f64 *p) { return *(const f64x2_any *)p; }
INLINE void store2(f64 *p, f64x2 x) { *(f64x2_any *)p = x; }
INLINE f64 sum2(f64x2 x) { return x[0] + x[1]; }

INLINE u32 padded(u32 n, u32 step) { return (n + step - 1) / step * step; }

// Four by four, so that columns become rows.
INLINE void turn_f32(const f32 *from, i32 step, f32 *to, u32 width) {
  f32x4 a = load4(from), b = load4(from + step), c = load4(from + 2 * step), d = load4(from + 3 * step);
  f32x4 e = __builtin_shufflevector(a, b, 0, 4, 1, 5), f = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  f32x4 g = __builtin_shufflevector(a, b, 2, 6, 3, 7), h = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store4(to, __builtin_shufflevector(e, f, 0, 1, 4, 5));
  store4(to + width, __builtin_shufflevector(e, f, 2, 3, 6, 7));
  store4(to + 2 * width, __builtin_shufflevector(g, h, 0, 1, 4, 5));
  store4(to + 3 * width, __builtin_shufflevector(g, h, 2, 3, 6, 7));
}
INLINE void turn_f64(const f64 *from, i32 step, f64 *to, u32 width) {
  for (u32 i = 0; i < 4; i++)
    for (u32 j = 0; j < 4; j++) to[j * width + i] = from[(i32)i * step + (i32)j];
}

#define REAL f32
#define VECTOR f32x4
#define LANES 4
#define WIDTH 8
#define NAME(name) name##_f32
#define GEMM Gemm
#define LOAD load4
#define STORE store4
#define SPLAT splat4
#define MADD madd4
#define SUM sum4
#include "gemm_tiles.h"
#include "gemm_vector.h"
#include "gemm_plan.h"
#undef REAL
#undef VECTOR
#undef LANES
#undef WIDTH
#undef NAME
#undef GEMM
#undef LOAD
#undef STORE
#undef SPLAT
#undef MADD
#undef SUM
#define REAL f64
#define VECTOR f64x2
#define LANES 2
#define WIDTH 4
#define NAME(name) name##_f64
#define GEMM Gemm64
#define LOAD load2
#define STORE store2
#define SPLAT splat2
#define MADD madd2
#define SUM sum2
#include "gemm_tiles.h"
#include "gemm_vector.h"
#include "gemm_plan.h"
