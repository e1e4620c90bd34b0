import type { Backend } from "../backend/backend.ts";
import type { BackendBuffer } from "../backend/view.ts";
import { OutOfMemoryError } from "../errors.ts";

const SMALLEST_BITS = 8;

/**
 * Size class of a byte count: four classes an octave (1.25, 1.5, 1.75 and 2 times a power of two), so that at most a
 * fifth of a block is wasted and a training step finds the blocks of the step before.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 1 << SMALLEST_BITS) return 0;
  const last = bytes - 1;
  const octave = last < 2 ** 31 ? 31 - Math.clz32(last) : Math.floor(Math.log2(last));
  const quarter = Math.floor((last / 2 ** octave - 1) * 4);
  return (octave - SMALLEST_BITS) * 4 + quarter + 1;
}

/** Bytes of a block of a size class. */
export function classBytes(index: number): number {
  if (index === 0) return 1 << SMALLEST_BITS;
  const octave = Math.floor((index - 1) / 4) + SMALLEST_BITS;
  return 2 ** octave * (1 + (((index - 1) % 4) + 1) / 4);
}

/** Keeps blocks that died for the next tensor of their size, because fresh memory is slow everywhere. */
export class Pool {
  private readonly backend: Backend;
  private readonly free: BackendBuffer[][] = [];
  private readonly sizes: number[] = [];
  /** Bytes of blocks at rest. */
  pooledBytes = 0;
  /** Blocks the backend had to allocate. */
  misses = 0;
  /** Blocks in use. */
  liveBuffers = 0;
  /** Bytes in use, by size class. */
  liveBytes = 0;
  /** Most bytes in use since the start or the last {@link resetPeak}. */
  peakBytes = 0;

  constructor(backend: Backend) {
    this.backend = backend;
  }

  /** A block of a class; from the backend if none is at rest. Out of memory, it first gives back all blocks at rest. */
  take(index: number): BackendBuffer {
    const rest = this.free[index];
    let buffer = rest?.pop();
    const bytes = this.sizes[index] ?? this.prepare(index);
    if (buffer === undefined) {
      this.misses++;
      try {
        buffer = this.backend.allocate(bytes);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || this.pooledBytes === 0) throw error;
        this.trim();
        buffer = this.backend.allocate(bytes);
      }
    } else {
      this.pooledBytes -= bytes;
    }
    this.liveBuffers++;
    this.liveBytes += bytes;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    return buffer;
  }

  /** Lays a block to rest. */
  give(buffer: BackendBuffer, index: number): void {
    const bytes = this.sizes[index] as number;
    this.liveBuffers--;
    this.liveBytes -= bytes;
    this.pooledBytes += bytes;
    (this.free[index] as BackendBuffer[]).push(buffer);
  }

  /** Gives all blocks at rest back to the backend. */
  trim(): void {
    for (const list of this.free) {
      if (list === undefined) continue;
      for (const buffer of list) this.backend.free(buffer);
      list.length = 0;
    }
    this.pooledBytes = 0;
  }

  /** Starts the measurement of {@link peakBytes} anew. */
  resetPeak(): void {
    this.peakBytes = this.liveBytes;
  }

  private prepare(index: number): number {
    for (let i = this.sizes.length; i <= index; i++) {
      this.sizes.push(classBytes(i));
      this.free.push([]);
    }
    return this.sizes[index] as number;
  }
}
