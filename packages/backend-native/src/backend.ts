import {
  type Backend,
  type BackendBuffer,
  BackendError,
  type Call,
  type Capabilities,
  OutOfMemoryError,
  type Support,
} from "@nf/core";
import { NativeBuffer } from "./buffer.ts";
import { capabilities, MAX_BUFFER_BYTES } from "./capabilities.ts";
import type { Engine, Look } from "./engine.ts";
import { kernels } from "./kernels/table.ts";

/** The backend over an engine. */
export class NativeBackend<E extends Engine = Engine> implements Backend {
  readonly name = "native";
  readonly capabilities: Capabilities;
  protected readonly engine: E;
  private readonly maxBytes: number;
  protected disposed = false;
  /** Where `readSync` puts memory itself instead of copies of it. */
  private found: Look[] | undefined;

  constructor(engine: E, maxBytes: number) {
    this.engine = engine;
    this.maxBytes = maxBytes;
    this.capabilities = capabilities(Math.min(MAX_BUFFER_BYTES, maxBytes), engine.threads, kernels);
  }

  allocate(byteLength: number): BackendBuffer {
    this.checkOpen("allocate");
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new BackendError(`native: a buffer's size must be a whole number of bytes, got ${byteLength}.`);
    }
    if (byteLength > MAX_BUFFER_BYTES) {
      throw new OutOfMemoryError(
        `native: a buffer of ${byteLength} bytes was asked for, the limit of one buffer is ${MAX_BUFFER_BYTES}. Split the tensor or make the batch smaller.`,
        byteLength,
        MAX_BUFFER_BYTES,
      );
    }
    const handle = this.engine.allocate(byteLength);
    if (handle < 0) this.refuse(byteLength, handle);
    return new NativeBuffer(byteLength, handle, this);
  }

  free(buffer: BackendBuffer): void {
    const own = this.own(buffer, "free");
    own.alive = false;
    this.engine.free(own.handle);
  }

  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    const own = this.own(buffer, "write");
    checkRange("write", own, byteOffset, bytes.byteLength);
    this.engine.write(own.handle, byteOffset, bytes);
  }

  async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    return this.readSync(buffer, byteOffset, byteLength);
  }

  readSync(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    const own = this.own(buffer, "read");
    checkRange("read", own, byteOffset, byteLength);
    if (this.found === undefined) return this.engine.read(own.handle, byteOffset, byteLength);
    const look = this.engine.look(own.handle, byteOffset, byteLength);
    this.found.push(look);
    return look.bytes;
  }

  /** What `read` reads, and the memory that `readSync` gave it: not a copy. */
  look<T>(read: () => T): { readonly result: T; readonly found: readonly Look[] } {
    const found: Look[] = [];
    this.found = found;
    try {
      return { result: read(), found };
    } catch (error) {
      this.unlook(found);
      throw error;
    } finally {
      this.found = undefined;
    }
  }

  /** Takes such memory away again. */
  unlook(found: readonly Look[]): void {
    for (const look of found) this.engine.unlook(look);
  }

  execute(call: Call): void {
    const { buffers, kernel } = call;
    for (let i = 0; i < buffers.length; i++) this.own(buffers[i] as BackendBuffer, kernel);
    const entry = kernels[kernel];
    if (entry === undefined) {
      this.checkOpen(kernel);
      throw new BackendError(
        `native: there is no kernel "${kernel}" here; ask supports(call) first.`,
        "NF_UNSUPPORTED",
      );
    }
    this.engine.begin();
    entry.run(this.engine, call);
  }

  supports(call: Call): Support {
    const entry = kernels[call.kernel];
    if (entry === undefined) return { reason: `the native backend has no fused "${call.kernel}"` };
    const dtypes = this.capabilities.dtypes[call.kernel] ?? [];
    for (const view of call.outputs) {
      if (!dtypes.includes(view.dtype)) return { reason: `${call.kernel} does not compute ${view.dtype}` };
    }
    return entry.supports?.(call) ?? "yes";
  }

  async synchronize(): Promise<void> {
    this.checkOpen("synchronize");
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    this.engine.close();
  }

  private refuse(byteLength: number, handle: number): never {
    const { liveBytes } = this.engine;
    const limit = handle === -1 ? this.maxBytes : liveBytes;
    const why = handle === -1 ? `maxBytes is ${this.maxBytes}` : "the machine has no more";
    const remedy = handle === -1 ? "free tensors, or raise maxBytes" : "or free tensors";
    throw new OutOfMemoryError(
      `native: ${byteLength} bytes were asked for while ${liveBytes} are in use; ${why}. Make the batch smaller, ${remedy}.`,
      byteLength,
      limit,
    );
  }

  protected checkOpen(what: string): void {
    if (this.disposed) throw new BackendError(`native: ${what} after dispose(). Create a new backend.`);
  }

  /** The buffer, if it is this backend's and still alive. */
  protected own(buffer: BackendBuffer, what: string): NativeBuffer {
    if (!(buffer instanceof NativeBuffer) || buffer.owner !== this) {
      throw new BackendError(`native: ${what} was given a buffer that another backend made.`);
    }
    if (!buffer.alive || this.disposed) {
      this.checkOpen(what);
      throw new BackendError(`native: ${what} was given a buffer that was already freed.`);
    }
    return buffer;
  }
}

/** Refuses bytes that are not all in a buffer. */
export function checkRange(what: string, buffer: NativeBuffer, byteOffset: number, byteLength: number): void {
  const whole = Number.isSafeInteger(byteOffset) && Number.isSafeInteger(byteLength);
  if (!whole || byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > buffer.byteLength) {
    throw new BackendError(
      `native: ${what} of bytes ${byteOffset} to ${byteOffset + byteLength} leaves the buffer of ${buffer.byteLength} bytes.`,
    );
  }
}
