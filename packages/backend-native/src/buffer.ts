import type { BackendBuffer } from "@nf/core";
import type { NativeBackend } from "./backend.ts";

/** A block of the engine's memory, by its handle. */
export class NativeBuffer implements BackendBuffer {
  readonly byteLength: number;
  readonly handle: number;
  readonly owner: NativeBackend;
  alive = true;

  constructor(byteLength: number, handle: number, owner: NativeBackend) {
    this.byteLength = byteLength;
    this.handle = handle;
    this.owner = owner;
  }
}
