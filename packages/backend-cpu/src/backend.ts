import {
  type Backend,
  type BackendBuffer,
  BackendError,
  type Call,
  type Capabilities,
  checkAllocation,
  type Kernel,
  OutOfMemoryError,
  type Support,
} from "@nf/core";
import { CpuBuffer, paddedBytes } from "./buffer.ts";
import { capabilities, MAX_BUFFER_BYTES } from "./capabilities.ts";
import { canGenerateCode } from "./codegen/compile.ts";
import { makeContext } from "./context.ts";
import { supportsMatmul } from "./kernels/matmul.ts";
import { makeKernels } from "./kernels/table.ts";
import { supportsWindows } from "./kernels/window.ts";
import { type CpuOptions, checkOptions } from "./options.ts";

/**
 * Makes a backend of plain JavaScript: no set-up, every dtype, runs wherever JavaScript does.
 *
 * @throws OptionError for an option that does not exist, or `codegen: true` where code may not be generated
 */
export async function createBackend(options: CpuOptions = {}): Promise<Backend> {
  checkOptions(options);
  const possible = canGenerateCode();
  const wanted = options.codegen ?? "auto";
  if (wanted === true && !possible) {
    throw new BackendError(
      'cpu: codegen is true, but generating code is forbidden here (Content-Security-Policy). Leave it at "auto".',
      "NF_UNSUPPORTED",
    );
  }
  return new CpuBackend(wanted === "auto" ? possible : wanted, options.maxBytes ?? Infinity);
}

class CpuBackend implements Backend {
  readonly name = "cpu";
  readonly capabilities: Capabilities;
  private readonly kernels: Partial<Record<Kernel, (call: Call) => void>>;
  private readonly live = new Set<CpuBuffer>();
  private readonly maxBytes: number;
  private liveBytes = 0;
  private disposed = false;

  constructor(codegen: boolean, maxBytes: number) {
    this.maxBytes = maxBytes;
    this.capabilities = capabilities(Math.min(MAX_BUFFER_BYTES, maxBytes));
    // The key of a kernel is its call's discriminant, so each function meets calls of its own kind alone.
    this.kernels = makeKernels(makeContext(codegen)) as Partial<Record<Kernel, (call: Call) => void>>;
  }

  allocate(byteLength: number): BackendBuffer {
    this.checkOpen("allocate");
    const bytes = paddedBytes(byteLength);
    checkAllocation("cpu", byteLength, MAX_BUFFER_BYTES, this.liveBytes, bytes, this.maxBytes);
    const buffer = this.create(byteLength);
    this.live.add(buffer);
    this.liveBytes += bytes;
    return buffer;
  }

  private create(byteLength: number): CpuBuffer {
    try {
      return new CpuBuffer(byteLength, this);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new OutOfMemoryError(
        `cpu: the JavaScript engine could not provide ${byteLength} bytes while ${this.liveBytes} are in use. Make the batch smaller or free tensors.`,
        byteLength,
      );
    }
  }

  free(buffer: BackendBuffer): void {
    const own = this.own(buffer, "free");
    this.live.delete(own);
    this.liveBytes -= paddedBytes(own.byteLength);
    own.release();
  }

  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    const own = this.own(buffer, "write");
    checkRange("write", own, byteOffset, bytes.byteLength);
    own.bytes().set(bytes, byteOffset);
  }

  async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    return this.readSync(buffer, byteOffset, byteLength);
  }

  readSync(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    const own = this.own(buffer, "read");
    checkRange("read", own, byteOffset, byteLength);
    return own.bytes().slice(byteOffset, byteOffset + byteLength);
  }

  execute(call: Call): void {
    const { buffers, kernel } = call;
    for (let i = 0; i < buffers.length; i++) this.own(buffers[i] as BackendBuffer, kernel);
    const run = this.kernels[kernel];
    if (run === undefined) {
      this.checkOpen(kernel);
      throw new BackendError(
        `cpu: there is no kernel "${kernel}" here; ask supports(call) first.`,
        "NF_UNSUPPORTED",
      );
    }
    run(call);
  }

  supports(call: Call): Support {
    if (this.kernels[call.kernel] === undefined)
      return { reason: `the cpu backend has no fused "${call.kernel}"` };
    const dtypes = this.capabilities.dtypes[call.kernel] ?? [];
    for (const view of call.outputs) {
      if (!dtypes.includes(view.dtype)) return { reason: `${call.kernel} does not compute ${view.dtype}` };
    }
    if (call.kernel === "matmul") return supportsMatmul(call);
    return call.kernel === "conv" || call.kernel === "pool" ? supportsWindows(call) : "yes";
  }

  async synchronize(): Promise<void> {
    this.checkOpen("synchronize");
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    for (const buffer of this.live) buffer.release();
    this.live.clear();
    this.liveBytes = 0;
  }

  private checkOpen(what: string): void {
    if (this.disposed) throw new BackendError(`cpu: ${what} after dispose(). Create a new backend.`);
  }

  /** The buffer, if it is this backend's and still alive. */
  private own(buffer: BackendBuffer, what: string): CpuBuffer {
    if (!(buffer instanceof CpuBuffer) || buffer.owner !== this) {
      throw new BackendError(`cpu: ${what} was given a buffer that another backend made.`);
    }
    if (!buffer.alive) {
      this.checkOpen(what);
      throw new BackendError(`cpu: ${what} was given a buffer that was already freed.`);
    }
    return buffer;
  }
}

function checkRange(what: string, buffer: CpuBuffer, byteOffset: number, byteLength: number): void {
  if (byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > buffer.byteLength) {
    throw new BackendError(
      `cpu: ${what} of bytes ${byteOffset} to ${byteOffset + byteLength} leaves the buffer of ${buffer.byteLength} bytes.`,
    );
  }
}
