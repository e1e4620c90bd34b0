// What every kernel file includes: types, views, calls, threads, scratch memory. How to add a kernel is in README.md.
//
// The code is freestanding: no libc. Memory is shared by all threads, so globals are too; there is no allocation here.
// TypeScript owns the heap and hands out addresses.
#pragma once
#include <wasm_simd128.h>

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
typedef float f32;
typedef double f64;

#define NULL ((void *)0)
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
// clang must not unroll inner loops of kernels: engines spill registers then.
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#define VECTORIZE _Pragma("clang loop vectorize(assume_safety) interleave(disable)")
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

// Element types, numbered like DTYPE_NAMES of core.
enum { F32, F64, F16, BF16, I32, U32, U8, I8, BOOL, DTYPES };
INLINE u32 dtype_bytes(u32 dtype) { return "\4\10\2\2\4\4\1\1\1"[dtype]; }

// ---------------------------------------------------------------------------------------------------------------------
// Calls. TypeScript writes them (src/engine.ts); layouts must agree.

#define MAX_RANK 16

typedef struct View {
  u32 dtype, rank;
  u8 *data; // address of element (0, 0, …)
  u32 size; // number of elements
  u32 contiguous;
  u32 unused[3];
  i32 shape[MAX_RANK];
  i32 strides[MAX_RANK]; // in elements; may be 0 or negative
} View;

typedef struct Call {
  u32 inputs, outputs; // how many
  const View *in, *out;
  const i32 *attr;   // what the kernel's TypeScript wrote with attr(…), in order
  const f64 *params; // the call's params
  const struct Program *program;
  u32 params_count;
} Call;

// A kernel: `KERNEL(name) { … return 0; }`. The result is 0, or FAULT(code) where a check failed: code is a number of
// CHECK_CODES in core.
#define KERNEL(name)                                                                                                   \
  u32 name(const Call *call);                                                                                          \
  __attribute__((export_name(#name))) u32 name(const Call *call)
#define FAULT(code) ((code) + 1)
enum { CHECK_DIVISION = 0, CHECK_INDEX = 1 };

// ---------------------------------------------------------------------------------------------------------------------
// Threads (pool.c).

// One part of a job. `arg` is the caller's, usually on its stack: it lives until the job is done. `thread` is below
// thread_count() and says which thread's scratch memory to use, nothing else: results must not depend on it.
typedef void (*Part)(void *arg, u32 part, u32 thread);

// Runs parts 0 … parts - 1, on all threads where that pays, and returns when all are done. Only for the main thread, so
// never from inside a part.
//
// How work is cut must follow from shapes alone, never from thread_count(), and partial results must be added in a
// fixed order: the same bits come out for any number of threads.
//
// `nanoseconds` is a guess of the whole job's work on one thread: short jobs run alone.
void parallel(Part function, void *arg, u32 parts, f64 nanoseconds);
u32 thread_count(void);

// Records a failed check from inside a part; the kernel then returns take_fault().
void set_fault(u32 code);
u32 take_fault(void);

typedef struct Range {
  u32 begin, end;
} Range;

// Parts for `n` items, at least `grain` items each, at most 64 parts.
INLINE u32 parts_of(u32 n, u32 grain) {
  u32 parts = (n + grain - 1) / grain;
  return parts > 64 ? 64 : parts < 1 ? 1 : parts;
}

// The items of one part: equal shares, cut at multiples of `align`.
INLINE Range part_range(u32 n, u32 parts, u32 part, u32 align) {
  u32 units = n / align + (n % align != 0);
  u32 begin = (u32)((u64)units * part / parts) * align;
  u32 end = (u32)((u64)units * (part + 1) / parts) * align;
  return (Range){MIN(begin, n), MIN(end, n)};
}

// ---------------------------------------------------------------------------------------------------------------------
// Scratch memory (scratch.c), 64-byte aligned, content unspecified.

// Memory until the call ends. Only for the main thread outside of parts. Does not return when memory runs out: the call
// then fails with an OutOfMemoryError. Views have up to 2^31 elements, so sizes are computed in 64 bits.
void *scratch(u64 bytes);

// Gives back what was asked for since the mark: for loops that ask for memory each time.
typedef struct ScratchMark {
  u64 in_use;
  u32 arena_used, extra;
} ScratchMark;
ScratchMark scratch_mark(void);
void scratch_release(ScratchMark mark);

// Memory of one thread until its part ends. The block interpreter uses it too.
#define THREAD_SCRATCH (1u << 20)
void *thread_scratch(u32 thread);

// ---------------------------------------------------------------------------------------------------------------------
// Views (view.c).

// All elements in row-major order as floats: the view's own memory where it is contiguous f32, else a converted copy in
// scratch memory. Any dtype.
const f32 *dense_f32(const View *view);
const f64 *dense_f64(const View *view);
const i32 *dense_i32(const View *view);

// Where to write all elements of an output in row-major order: the view's own memory where it is contiguous f32, else
// scratch memory, which finish_f32 (after the work) converts and stores.
f32 *target_f32(const View *view);
void finish_f32(const View *view, const f32 *values);
f64 *target_f64(const View *view);
void finish_f64(const View *view, const f64 *values);
i32 *target_i32(const View *view);
void finish_i32(const View *view, const i32 *values);

// Conversions of runs of elements, `step` elements apart in the view's memory. Integers and bool are i32 or u32, 0 or 1.
void load_f32(u32 dtype, const u8 *from, i32 step, f32 *to, u32 count);
void load_f64(u32 dtype, const u8 *from, i32 step, f64 *to, u32 count);
void load_i32(u32 dtype, const u8 *from, i32 step, i32 *to, u32 count);
void store_f32(u32 dtype, u8 *to, i32 step, const f32 *from, u32 count);
void store_f64(u32 dtype, u8 *to, i32 step, const f64 *from, u32 count);
void store_i32(u32 dtype, u8 *to, i32 step, const i32 *from, u32 count);

// Copies floats that do not overlap. Short runs pay for a call of the engine's copy.
INLINE void copy_f32(f32 *to, const f32 *from, u32 count) {
  if (count >= 512) {
    __builtin_memcpy(to, from, count * 4);
    return;
  }
  u32 i = 0;
  NO_UNROLL for (; i + 4 <= count; i += 4) wasm_v128_store(to + i, wasm_v128_load(from + i));
  NO_UNROLL for (; i < count; i++) to[i] = from[i];
}

f32 half_to_f32(u16 bits);
u16 f32_to_half(f32 value);
INLINE f32 bfloat_to_f32(u16 bits) {
  union {
    u32 u;
    f32 f;
  } x = {.u = (u32)bits << 16};
  return x.f;
}
u16 f32_to_bfloat(f32 value);
// A run of F16 or BF16 (halves.c).
void load_halves(u32 dtype, const u16 *from, f32 *to, u32 count);

// ---------------------------------------------------------------------------------------------------------------------
// Math that JavaScript does (about 20 ns a call): see MATH in src/math.ts.

enum {
  MATH_EXP, MATH_EXPM1, MATH_LOG, MATH_LOG1P, MATH_LOG2, MATH_SIN, MATH_COS, MATH_TAN, MATH_ASIN, MATH_ACOS, MATH_ATAN,
  MATH_SINH, MATH_COSH, MATH_TANH, MATH_ASINH, MATH_ACOSH, MATH_ATANH, MATH_POW, MATH_ATAN2, MATH_MOD,
};
__attribute__((import_module("env"), import_name("math"))) f64 js_math(u32 function, f64 a, f64 b);

// ---------------------------------------------------------------------------------------------------------------------
// Memory. With -mbulk-memory these become single instructions.

#define copy_bytes(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define fill_bytes(to, value, bytes) __builtin_memset(to, value, bytes)
