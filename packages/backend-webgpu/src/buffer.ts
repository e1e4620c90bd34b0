import type { BackendBuffer } from "@nf/core";

let count = 0;

/** A GPU buffer. Its size in memory is rounded up to whole vectors of four words. */
export class GpuBuffer implements BackendBuffer {
  readonly byteLength: number;
  readonly gpu: GPUBuffer;
  readonly owner: object;
  /** Distinct in this process: bind groups are kept under it. */
  readonly id: number = count++;
  alive = true;
  /** Number of the last submission that uses it. */
  lastUse = -1;
  /** Why its content is not to be trusted: what failed before it was to be written. */
  fault: Error | undefined;
  /** Whether the GPU had no room for it: nothing can be done with it. */
  dead = false;

  constructor(byteLength: number, gpu: GPUBuffer, owner: object) {
    this.byteLength = byteLength;
    this.gpu = gpu;
    this.owner = owner;
  }
}

/** Bytes that a buffer of a size takes. */
export function paddedSize(byteLength: number): number {
  return Math.max(16, Math.ceil(byteLength / 16) * 16);
}
