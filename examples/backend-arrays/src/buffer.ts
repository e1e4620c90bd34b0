import type { BackendBuffer, DType, View } from "@nf/core";
import { CELL_TYPES } from "./cells.ts";

/**
 * A buffer whose content is an array of numbers, one cell an element, and the dtype that these cells have. Core
 * writes bytes without saying what they are, and reuses a buffer for tensors of other dtypes. So bytes are kept as
 * they came until a view tells their dtype, and cells are converted when a view looks at them as another one.
 */
export class CellBuffer implements BackendBuffer {
  readonly byteLength: number;
  /** Who allocated it; other backends' buffers are refused. */
  readonly owner: object;
  alive = true;
  /** What was written, until somebody looks at it; undefined where `cells` hold the content. */
  private unread: ArrayBuffer | undefined;
  private dtype: DType = "u8";
  private cells: number[] = [];

  constructor(byteLength: number, owner: object) {
    this.byteLength = byteLength;
    this.owner = owner;
    // Whole 8-byte words, so that it divides into elements of every dtype.
    this.unread = new ArrayBuffer(Math.ceil(byteLength / 8) * 8);
  }

  /** The cells as elements of a dtype. What was got before for another dtype is a copy from then on. */
  as(dtype: DType): number[] {
    if (this.unread === undefined && this.dtype === dtype) return this.cells;
    this.cells = CELL_TYPES[dtype].fromBytes(this.toBytes());
    this.dtype = dtype;
    this.unread = undefined;
    return this.cells;
  }

  write(byteOffset: number, bytes: Uint8Array): void {
    this.unread = this.toBytes();
    new Uint8Array(this.unread).set(bytes, byteOffset);
  }

  read(byteOffset: number, byteLength: number): Uint8Array {
    return new Uint8Array(this.toBytes()).slice(byteOffset, byteOffset + byteLength);
  }

  /** Lets go of the content. */
  release(): void {
    this.alive = false;
    this.unread = undefined;
    this.cells = [];
  }

  private toBytes(): ArrayBuffer {
    return this.unread ?? CELL_TYPES[this.dtype].toBytes(this.cells);
  }
}

/** The cells behind a view. The backend has checked that its buffers are its own. */
export function cellsOf(view: View): number[] {
  return (view.buffer as CellBuffer).as(view.dtype);
}
