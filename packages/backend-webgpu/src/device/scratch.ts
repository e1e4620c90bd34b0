import { OutOfMemoryError } from "@nf/core";
import { type GpuBuffer, paddedSize } from "../buffer.ts";
import type { Gpu } from "./gpu.ts";

/** Bytes that lie ready at most. */
const MOST_IDLE_BYTES = 1 << 26;
const LEAST_BYTES = 4_096;

/**
 * Buffers for what passes between the dispatches of one kernel. Commands run in the order in which they are given, so a
 * buffer is given back as soon as the last dispatch that uses it is written, and found again by the next kernel.
 */
export class Scratch {
  private readonly gpu: Gpu;
  private readonly idle = new Map<number, GpuBuffer[]>();
  private idleBytes = 0;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /**
   * A buffer of at least so many bytes, with anything in it; {@link Scratch.give} it back.
   *
   * @throws OutOfMemoryError where it is more than one binding of the adapter takes
   */
  take(byteLength: number): GpuBuffer {
    const most = this.gpu.device.limits.maxStorageBufferBindingSize;
    if (byteLength > most) {
      throw new OutOfMemoryError(
        `webgpu: a kernel needs ${byteLength} bytes to work in, and the adapter binds at most ${most} at once. Use smaller tensors.`,
        byteLength,
      );
    }
    const size = Math.min(Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(byteLength))), most);
    const free = this.idle.get(size);
    for (let buffer = free?.pop(); buffer !== undefined; buffer = free?.pop()) {
      this.idleBytes -= size;
      // What went wrong with an earlier kernel is no concern of the next.
      if (buffer.fault === undefined) return buffer;
      this.gpu.free(buffer);
    }
    return this.gpu.allocate(
      size,
      this,
      () =>
        new OutOfMemoryError(
          `webgpu: the GPU has no room for ${size} bytes that a kernel works in. Make the batch smaller or free tensors.`,
          size,
        ),
    );
  }

  /** Takes buffers back. */
  give(...buffers: readonly GpuBuffer[]): void {
    for (const buffer of buffers) {
      const size = buffer.byteLength;
      if (this.idleBytes + paddedSize(size) > MOST_IDLE_BYTES) {
        this.gpu.free(buffer);
        continue;
      }
      this.idleBytes += size;
      const free = this.idle.get(size);
      if (free === undefined) this.idle.set(size, [buffer]);
      else free.push(buffer);
    }
  }
}
