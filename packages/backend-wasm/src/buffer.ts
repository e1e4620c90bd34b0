import type { BackendBuffer } from "@nf/core";

/** A block of the backend's memory. */
export class WasmBuffer implements BackendBuffer {
  readonly byteLength: number;
  /** Its first byte in the memory. */
  readonly address: number;
  /** Who allocated it; other backends' buffers are refused. */
  readonly owner: object;
  /** Whether it was not freed yet. */
  alive = true;

  constructor(byteLength: number, address: number, owner: object) {
    this.byteLength = byteLength;
    this.address = address;
    this.owner = owner;
  }
}
