import { type BackendBuffer, BackendError, type DType, type Elements, type View } from "@nf/core";

/** A block of JavaScript memory, with the typed arrays that look at it made once. */
export class CpuBuffer implements BackendBuffer {
  readonly byteLength: number;
  /** Who allocated it; other backends' buffers are refused. */
  readonly owner: object;
  private memory: ArrayBuffer | undefined;
  private f32: Float32Array | undefined;
  private f64: Float64Array | undefined;
  private u16: Uint16Array | undefined;
  private i32: Int32Array | undefined;
  private u32: Uint32Array | undefined;
  private u8: Uint8Array | undefined;
  private i8: Int8Array | undefined;

  constructor(byteLength: number, owner: object) {
    this.byteLength = byteLength;
    this.owner = owner;
    this.memory = new ArrayBuffer(paddedBytes(byteLength));
  }

  /** Whether it was not freed yet. */
  get alive(): boolean {
    return this.memory !== undefined;
  }

  /** The whole buffer as elements of a dtype; `f16` and `bf16` as their bits. */
  elements(dtype: DType): Elements {
    switch (dtype) {
      case "f32":
        this.f32 ??= new Float32Array(this.memoryOrThrow());
        return this.f32;
      case "f64":
        this.f64 ??= new Float64Array(this.memoryOrThrow());
        return this.f64;
      case "f16":
      case "bf16":
        this.u16 ??= new Uint16Array(this.memoryOrThrow());
        return this.u16;
      case "i32":
        this.i32 ??= new Int32Array(this.memoryOrThrow());
        return this.i32;
      case "u32":
        this.u32 ??= new Uint32Array(this.memoryOrThrow());
        return this.u32;
      case "i8":
        this.i8 ??= new Int8Array(this.memoryOrThrow());
        return this.i8;
      default:
        return this.bytes();
    }
  }

  /** The whole buffer as bytes. */
  bytes(): Uint8Array {
    this.u8 ??= new Uint8Array(this.memoryOrThrow());
    return this.u8;
  }

  /** Lets go of the memory. */
  release(): void {
    this.memory = undefined;
    this.f32 = undefined;
    this.f64 = undefined;
    this.u16 = undefined;
    this.i32 = undefined;
    this.u32 = undefined;
    this.u8 = undefined;
    this.i8 = undefined;
  }

  private memoryOrThrow(): ArrayBuffer {
    if (this.memory === undefined) {
      throw new BackendError("cpu: this buffer was freed and must not be used any more.");
    }
    return this.memory;
  }
}

/** Bytes that a buffer really takes: whole 8-byte words, so that every dtype's array fits over it. */
export function paddedBytes(byteLength: number): number {
  return Math.ceil(byteLength / 8) * 8;
}

/** The elements of a buffer that the backend has checked to be its own. */
export function elementsIn(buffer: BackendBuffer, dtype: DType): Elements {
  return (buffer as CpuBuffer).elements(dtype);
}

/** The elements behind a view. The backend has checked that its buffers are its own. */
export function elementsOf(view: View): Elements {
  return (view.buffer as CpuBuffer).elements(view.dtype);
}
