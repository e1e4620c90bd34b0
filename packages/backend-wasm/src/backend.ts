import {
  type Backend,
  type BackendBuffer,
  BackendError,
  type Call,
  type Capabilities,
  checkAllocation,
  type Kernel,
  type Support,
} from "@nf/core";
import { rounded } from "./allocator.ts";
import { WasmBuffer } from "./buffer.ts";
import { capabilities, MAX_BUFFER_BYTES } from "./capabilities.ts";
import { Engine } from "./engine.ts";
import { type AnyKernel, makeKernels } from "./kernels/table.ts";
import { checkOptions, type WasmOptions } from "./options.ts";
import { globalNamed } from "./platform.ts";
import { Programs } from "./programs/programs.ts";

/**
 * Makes a backend of WebAssembly with SIMD and, where memory can be shared, threads: Node and browsers, nothing to
 * install or compile.
 *
 * @throws OptionError for an option that does not exist or is out of its domain; BackendError where the engine lacks
 * WebAssembly SIMD or the module cannot be loaded
 */
export async function createBackend(options: WasmOptions = {}): Promise<Backend> {
  checkOptions(options);
  const engine = await Engine.create({
    threads: options.threads,
    relaxed: options.relaxed ?? "auto",
  });
  if (engine.singleThreaded !== undefined) {
    const console = globalNamed("console") as { warn(line: string): void };
    console.warn(`wasm: one thread, because ${engine.singleThreaded}.`);
  }
  return new WasmBackend(engine, options.maxBytes ?? Infinity);
}

/** The backend over an engine. */
export class WasmBackend implements Backend {
  readonly name = "wasm";
  readonly capabilities: Capabilities;
  private readonly engine: Engine;
  private readonly kernels: Readonly<Partial<Record<Kernel, AnyKernel>>>;
  private readonly maxBytes: number;
  private liveBytes = 0;
  private disposed = false;

  constructor(engine: Engine, maxBytes: number) {
    this.engine = engine;
    this.maxBytes = maxBytes;
    this.kernels = makeKernels({ engine, programs: new Programs(engine) });
    this.capabilities = capabilities(Math.min(MAX_BUFFER_BYTES, maxBytes), engine.threads, this.kernels);
  }

  allocate(byteLength: number): BackendBuffer {
    this.checkOpen("allocate");
    const bytes = rounded(byteLength);
    checkAllocation("wasm", byteLength, MAX_BUFFER_BYTES, this.liveBytes, bytes, this.maxBytes);
    const address = this.engine.reserve(byteLength);
    this.liveBytes += bytes;
    return new WasmBuffer(byteLength, address, this);
  }

  free(buffer: BackendBuffer): void {
    const own = this.own(buffer, "free");
    own.alive = false;
    this.liveBytes -= rounded(own.byteLength);
    this.engine.heap.give(own.address);
  }

  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    const own = this.own(buffer, "write");
    checkRange("write", own, byteOffset, bytes.byteLength);
    this.engine.u8.set(bytes, own.address + byteOffset);
  }

  async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    return this.readSync(buffer, byteOffset, byteLength);
  }

  readSync(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    const own = this.own(buffer, "read");
    checkRange("read", own, byteOffset, byteLength);
    const start = own.address + byteOffset;
    return this.engine.u8.slice(start, start + byteLength);
  }

  execute(call: Call): void {
    const { buffers, kernel } = call;
    for (let i = 0; i < buffers.length; i++) this.own(buffers[i] as BackendBuffer, kernel);
    const entry = this.kernels[kernel];
    if (entry === undefined) {
      this.checkOpen(kernel);
      throw new BackendError(
        `wasm: there is no kernel "${kernel}" here; ask supports(call) first.`,
        "NF_UNSUPPORTED",
      );
    }
    entry.run(call);
  }

  supports(call: Call): Support {
    const entry = this.kernels[call.kernel];
    if (entry === undefined) return { reason: `the wasm backend has no fused "${call.kernel}"` };
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
    this.disposed = true;
    this.engine.dispose();
  }

  private checkOpen(what: string): void {
    if (this.disposed) throw new BackendError(`wasm: ${what} after dispose(). Create a new backend.`);
  }

  /** The buffer, if it is this backend's and still alive. */
  private own(buffer: BackendBuffer, what: string): WasmBuffer {
    if (!(buffer instanceof WasmBuffer) || buffer.owner !== this) {
      throw new BackendError(`wasm: ${what} was given a buffer that another backend made.`);
    }
    if (!buffer.alive || this.disposed) {
      this.checkOpen(what);
      throw new BackendError(`wasm: ${what} was given a buffer that was already freed.`);
    }
    return buffer;
  }
}

function checkRange(what: string, buffer: WasmBuffer, byteOffset: number, byteLength: number): void {
  if (byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > buffer.byteLength) {
    throw new BackendError(
      `wasm: ${what} of bytes ${byteOffset} to ${byteOffset + byteLength} leaves the buffer of ${buffer.byteLength} bytes.`,
    );
  }
}
