// Scratch memory. TypeScript gives one arena and one block a thread; what the arena cannot hold comes as extra blocks
// that it takes back after the call or at a release, and the arena is larger the next time.
#include "nf.h"

static u8 *arena;
static u32 arena_bytes, arena_used, extra;
static u64 in_use, most;
static u8 *blocks;

// One more extra block; throws an OutOfMemoryError through this code where there is none.
__attribute__((import_module("env"), import_name("scratch_block"))) u8 *scratch_block(f64 bytes);
// Takes extra blocks back, all but the first `kept`.
__attribute__((import_module("env"), import_name("scratch_return"))) void scratch_return(u32 kept);

__attribute__((export_name("scratch_init"))) void scratch_init(u8 *memory, u32 bytes, u8 *thread_blocks) {
  arena = memory;
  arena_bytes = bytes;
  if (thread_blocks != NULL) blocks = thread_blocks;
}

// The most bytes that were out at once since the last reset; everything handed out is free again.
__attribute__((export_name("scratch_reset"))) f64 scratch_reset(void) {
  f64 bytes = (f64)most;
  arena_used = extra = 0;
  in_use = most = 0;
  return bytes;
}

void *scratch(u64 bytes) {
  u64 size = (bytes + 63) & ~63ull;
  in_use += size;
  most = MAX(most, in_use);
  if (size > arena_bytes - arena_used) {
    u8 *block = scratch_block((f64)size);
    extra++;
    return block;
  }
  u8 *block = arena + arena_used;
  arena_used += (u32)size;
  return block;
}

ScratchMark scratch_mark(void) { return (ScratchMark){in_use, arena_used, extra}; }

void scratch_release(ScratchMark mark) {
  if (extra > mark.extra) scratch_return(mark.extra);
  in_use = mark.in_use;
  arena_used = mark.arena_used;
  extra = mark.extra;
}

void *thread_scratch(u32 thread) { return blocks + thread * THREAD_SCRATCH; }
