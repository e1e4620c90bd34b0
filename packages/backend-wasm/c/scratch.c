// Scratch memory. TypeScript gives one arena and one block a thread; what the arena cannot hold comes as extra blocks
// that it takes back after the call, and the arena is larger the next time.
#include "nf.h"

static u8 *arena;
static u32 arena_bytes, arena_used, asked;
static u8 *blocks;

// A block until the end of the call; throws an OutOfMemoryError through this code where there is none.
__attribute__((import_module("env"), import_name("scratch_block"))) u8 *scratch_block(u32 bytes);

__attribute__((export_name("scratch_init"))) void scratch_init(u8 *memory, u32 bytes, u8 *thread_blocks) {
  arena = memory;
  arena_bytes = bytes;
  if (thread_blocks != NULL) blocks = thread_blocks;
}

// Bytes that were asked for since the last reset; everything handed out is free again.
__attribute__((export_name("scratch_reset"))) u32 scratch_reset(void) {
  u32 bytes = asked;
  arena_used = 0;
  asked = 0;
  return bytes;
}

void *scratch(u32 bytes) {
  u32 size = (bytes + 63) & ~63u;
  if (size < bytes) size = 0xffffffc0u; // so large that it wrapped around: more than there can be
  asked = asked + size < asked ? 0xffffffffu : asked + size;
  if (size > arena_bytes - arena_used) return scratch_block(size);
  u8 *block = arena + arena_used;
  arena_used += size;
  return block;
}

void *thread_scratch(u32 thread) { return blocks + thread * THREAD_SCRATCH; }
