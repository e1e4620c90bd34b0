import type { Backend, BackendBuffer } from "@nf/core";

/** A block of the engine's memory, by its handle. */
export class NativeBuffer implements BackendBuffer {
  readonly byteLength: number;
  readonly handle: number;
  readonly owner: Backend;
  alive = true;

  constructor(byteLength: number, handle: number, owner: Backend) {
    this.byteLength = byteLength;
    this.handle = handle;
    this.owner = owner;
  }
}
