import { BackendError, OutOfMemoryError } from "@nf/core";
import { Allocator } from "./allocator.ts";
import type { WasmMemory } from "./platform.ts";

const PAGE = 65_536;
/** 2^20 bytes. */
export const MIB: number = 2 ** 20;
/** WASM addresses have 32 bits; the last page stays unused, since vector code may read a few bytes too far. */
const MOST_PAGES = 65_536;

/** A memory that threads share, its heap, and views of it that follow when it grows. */
export class SharedHeap {
  /** The memory as bytes, 32-bit words and doubles; renewed when it grows. */
  u8: Uint8Array;
  i32: Int32Array;
  f64: Float64Array;
  readonly heap: Allocator;
  protected memory: WasmMemory | undefined;

  /**
   * @param heapBase the first address that is free
   * @param maximumPages how far the memory can grow
   */
  constructor(memory: WasmMemory, heapBase: number, maximumPages: number) {
    this.memory = memory;
    this.u8 = new Uint8Array(memory.buffer);
    this.i32 = new Int32Array(memory.buffer);
    this.f64 = new Float64Array(memory.buffer);
    this.heap = new Allocator(heapBase, maximumPages * PAGE - PAGE, (end) => this.reach(end));
  }

  /** A block of memory. Free it with {@link Allocator.give} of `heap`. */
  reserve(bytes: number): number {
    const address = this.heap.take(bytes);
    if (address === undefined) this.outOfMemory(bytes);
    return address;
  }

  /** Lets go of the memory: whoever still holds the object does not hold its bytes. */
  protected release(): void {
    this.memory = undefined;
    this.u8 = new Uint8Array(0);
    this.i32 = new Int32Array(0);
    this.f64 = new Float64Array(0);
  }

  /** Makes memory up to an address usable. */
  private reach(end: number): boolean {
    const memory = this.memory as WasmMemory;
    const missing = end - this.u8.byteLength;
    if (missing <= 0) return true;
    // Growing in steps of an eighth keeps the number of new views small.
    const comfortable = Math.max(missing, Math.min(this.u8.byteLength / 8, 64 * MIB));
    for (const bytes of [comfortable, missing]) {
      try {
        memory.grow(Math.ceil(bytes / PAGE));
        this.u8 = new Uint8Array(memory.buffer);
        this.i32 = new Int32Array(memory.buffer);
        this.f64 = new Float64Array(memory.buffer);
        return true;
      } catch {
        // Less may still fit; if not, the caller says so with sizes.
      }
    }
    return false;
  }

  private outOfMemory(bytes: number): never {
    throw new OutOfMemoryError(
      `wasm: ${bytes} bytes were asked for while ${this.heap.usedBytes} are in use, and the memory cannot grow that ` +
        "far (WebAssembly reaches 4 GiB at most). Make the batch smaller or free tensors.",
      bytes,
      MOST_PAGES * PAGE,
    );
  }
}

/** Shared memory that may grow as far as this engine allows: 4 GiB, or what a smaller device reserves. */
export function makeMemory(
  Memory: new (options: { initial: number; maximum: number; shared: boolean }) => WasmMemory,
): {
  memory: WasmMemory;
  maximum: number;
} {
  let problem: unknown;
  for (let maximum = MOST_PAGES; maximum >= MOST_PAGES / 16; maximum /= 2) {
    try {
      return { memory: new Memory({ initial: 512, maximum, shared: true }), maximum };
    } catch (error) {
      problem = error;
    }
  }
  throw new BackendError(
    `wasm: this engine gives no shared WebAssembly memory: ${problem instanceof Error ? problem.message : String(problem)}.`,
    "NF_UNSUPPORTED",
    { cause: problem },
  );
}
