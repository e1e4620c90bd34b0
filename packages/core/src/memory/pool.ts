import type { Backend } from "../backend/backend.ts";
import type { BackendBuffer } from "../backend/view.ts";
import { OutOfMemoryError } from "../errors.ts";

const SMALLEST_BITS = 8;
/** Bytes at rest that are never too many. */
const KEPT = 2 ** 26;
/** Takes after which a size that was not among them counts as out of use: about two steps of training. */
const LONG = 2 ** 12;

/**
 * Size class of a byte count: four classes an octave (1.25, 1.5, 1.75 and 2 times a power of two), so that at most a
 * fifth of a block is wasted and a training step finds the blocks of the step before.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 1 << SMALLEST_BITS) return 0;
  const last = bytes - 1;
  const octave = last < 2 ** 31 ? 31 - Math.clz32(last) : Math.floor(Math.log2(last));
  // From 4 to 7: which quarter of the octave.
  const quarters = Math.floor(last / 2 ** (octave - 2));
  return (octave - SMALLEST_BITS) * 4 + quarters - 3;
}

/** Bytes of a block of a size class. */
export function classBytes(index: number): number {
  const octave = SMALLEST_BITS + ((index - 1) >> 2);
  return 2 ** (octave - 2) * (5 + ((index - 1) & 3));
}

/** Blocks of one size. */
interface Shelf {
  readonly bytes: number;
  /** At rest. */
  readonly rest: BackendBuffer[];
  /** How many takes the pool had seen when one was last taken. */
  used: number;
}

/**
 * Keeps blocks that died for the next tensor of their size, because fresh memory is slow everywhere. Before it asks for more,
 * it gives up sizes long out of use, as far as more rests than {@link peakBytes}: where shapes never repeat, most of it would
 * rest for ever. What a loop takes in turn stays, however much that is.
 */
export class Pool {
  private readonly backend: Backend;
  private readonly shelves: Shelf[] = [];
  private takes = 0;
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
    const { shelves } = this;
    while (shelves.length <= index) shelves.push({ bytes: classBytes(shelves.length), rest: [], used: 0 });
    const shelf = shelves[index] as Shelf;
    const { bytes, rest } = shelf;
    // It may have turned out at rest that there is no room for it.
    if (rest.at(-1)?.dead) this.shrink(0);
    let buffer = rest.pop();
    shelf.used = ++this.takes;
    if (buffer === undefined) {
      this.misses++;
      this.shrink(Math.max(this.peakBytes, KEPT), this.takes - LONG);
      try {
        buffer = this.backend.allocate(bytes);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || this.pooledBytes === 0) throw error;
        this.shrink(0);
        buffer = this.backend.allocate(bytes);
      }
    } else {
      this.pooledBytes -= bytes;
    }
    this.liveBuffers++;
    this.liveBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
    return buffer;
  }

  /** Lays a block to rest. One that never had room is freed, with all that rests. */
  give(buffer: BackendBuffer, index: number): void {
    const { bytes, rest } = this.shelves[index] as Shelf;
    this.liveBuffers--;
    this.liveBytes -= bytes;
    this.pooledBytes += bytes;
    rest.push(buffer);
    if (buffer.dead) this.shrink(0);
  }

  /**
   * Gives blocks at rest back to the backend until they hold no more than so many bytes.
   *
   * @param before sizes that were taken after so many takes stay
   */
  shrink(most: number, before: number = Infinity): void {
    for (const { bytes, rest, used } of this.shelves) {
      while (used < before && this.pooledBytes > most && rest.length > 0) {
        this.pooledBytes -= bytes;
        this.backend.free(rest.pop() as BackendBuffer);
      }
    }
  }

  /** Starts the measurement of {@link peakBytes} anew, and with it what may rest. */
  resetPeak(): void {
    this.peakBytes = this.liveBytes;
  }
}
