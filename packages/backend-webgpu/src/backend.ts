import {
  type Backend,
  type BackendBuffer,
  BackendError,
  type Call,
  type Capabilities,
  checkAllocation,
  contiguousView,
  type Kernel,
  makeView,
  OutOfMemoryError,
  program,
  type Support,
} from "@nf/core";
import { GpuBuffer, paddedSize } from "./buffer.ts";
import { capabilities } from "./capabilities.ts";
import type { Gpu } from "./device/gpu.ts";
import { countApart, runApart } from "./kernels/apart.ts";
import { type AnyKernel, makeKernels } from "./kernels/table.ts";

/** The backend over a device. */
export class WebgpuBackend implements Backend {
  readonly name = "webgpu";
  readonly capabilities: Capabilities;
  /** The device at work; for tests and profiles. */
  readonly gpu: Gpu;
  private readonly kernels: Readonly<Partial<Record<Kernel, AnyKernel>>>;
  private readonly maxBytes: number;
  private liveBytes = 0;
  private disposed = false;

  constructor(gpu: Gpu, maxBytes: number) {
    this.gpu = gpu;
    this.maxBytes = maxBytes;
    this.kernels = makeKernels({ gpu });
    this.capabilities = capabilities(gpu.device.limits, maxBytes, this.kernels);
  }

  /** The adapter's vendor, architecture and description, as far as the implementation tells, and what it can do. */
  get description(): string {
    const { description, adapterClass, device } = this.gpu;
    const size = Math.floor(this.capabilities.maxBufferBytes / 2 ** 20);
    const { maxComputeInvocationsPerWorkgroup, maxStorageBuffersPerShaderStage } = device.limits;
    const features = [...device.features].filter((name) => name !== "core-features-and-limits").sort();
    return `${description}: ${adapterClass}; buffers up to ${size} MiB, ${maxStorageBuffersPerShaderStage} in a shader, work groups of up to ${maxComputeInvocationsPerWorkgroup}; ${features.join(", ") || "no features beyond WebGPU's own"}`;
  }

  allocate(byteLength: number): BackendBuffer {
    this.checkOpen("allocate");
    const bytes = paddedSize(byteLength);
    const { maxBufferBytes } = this.capabilities;
    checkAllocation("webgpu", byteLength, maxBufferBytes, this.liveBytes, bytes, this.maxBytes);
    const buffer = this.gpu.allocate(
      byteLength,
      this,
      () =>
        new OutOfMemoryError(
          `webgpu: the GPU has no room for a buffer of ${byteLength} bytes. Make the batch smaller or free tensors.`,
          byteLength,
        ),
    );
    this.liveBytes += bytes;
    return buffer;
  }

  free(buffer: BackendBuffer): void {
    const own = this.own(buffer, "free");
    own.alive = false;
    this.liveBytes -= paddedSize(own.byteLength);
    this.gpu.free(own);
  }

  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    const own = this.own(buffer, "write");
    checkRange("write", own, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    if (own.dead) throw own.fault;
    const end = byteOffset + bytes.byteLength;
    if (byteOffset === 0 && end === own.byteLength) own.fault = undefined;
    if (byteOffset % 4 === 0 && (bytes.byteLength % 4 === 0 || end === own.byteLength))
      this.gpu.write(own, byteOffset, wholeWords(bytes));
    else this.writeUnaligned(own, byteOffset, bytes);
  }

  async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    const own = this.own(buffer, "read");
    checkRange("read", own, byteOffset, byteLength);
    return this.gpu.read(own, byteOffset, byteLength);
  }

  execute(call: Call): void {
    const { buffers, kernel } = call;
    for (let i = 0; i < buffers.length; i++) {
      const own = this.own(buffers[i], kernel);
      if (own.dead) throw own.fault;
    }
    const entry = this.kernels[kernel];
    if (entry === undefined) {
      throw new BackendError(
        `webgpu: there is no kernel "${kernel}" here; ask supports(call) first.`,
        "NF_UNSUPPORTED",
      );
    }
    runApart(this.gpu, call, entry, this.kernels.map as AnyKernel);
    carryFault(call);
  }

  supports(call: Call): Support {
    const entry = this.kernels[call.kernel];
    if (entry === undefined) return { reason: `the webgpu backend has no fused "${call.kernel}"` };
    for (const { dtype } of call.outputs) {
      if (!entry.dtypes.includes(dtype)) return { reason: `${call.kernel} does not compute ${dtype}` };
    }
    const most = this.gpu.device.limits.maxStorageBuffersPerShaderStage;
    const binds = countApart(call) + (entry.binds?.(call) ?? call.buffers.length + 1);
    if (binds > most) return { reason: `${call.kernel} binds ${binds} buffers here, the adapter ${most}` };
    return entry.supports?.(call) ?? "yes";
  }

  async synchronize(): Promise<void> {
    this.checkOpen("synchronize");
    await this.gpu.synchronize();
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    this.gpu.dispose();
  }

  /** WebGPU writes whole words: others go through a buffer of their own and a kernel. */
  private writeUnaligned(buffer: GpuBuffer, byteOffset: number, bytes: Uint8Array): void {
    const between = this.allocate(bytes.byteLength);
    this.write(between, 0, bytes);
    const shape = [bytes.byteLength];
    this.execute({
      kernel: "map",
      program: COPY,
      buffers: [between, buffer],
      inputs: [contiguousView(between, "u8", shape)],
      outputs: [makeView(buffer, "u8", shape, [1], byteOffset)],
      params: [],
    });
    this.free(between);
  }

  private checkOpen(what: string): void {
    if (this.disposed) throw new BackendError(`webgpu: ${what} after dispose(). Create a new backend.`);
  }

  /** The buffer, if it is this backend's and still alive. */
  private own(buffer: BackendBuffer, what: string): GpuBuffer {
    this.checkOpen(what);
    if (!(buffer instanceof GpuBuffer) || buffer.owner !== this)
      throw new BackendError(`webgpu: ${what} was given a buffer that another backend made.`);
    if (!buffer.alive) throw new BackendError(`webgpu: ${what} was given a buffer that was already freed.`);
    return buffer;
  }
}

const COPY = program("copy", ["u32"], [], ([x]) => x);

function wholeWords(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}

/** What is computed from what is not to be trusted is not to be trusted either. */
function carryFault({ kernel, inputs, outputs }: Call): void {
  let fault: Error | undefined;
  for (const { buffer } of inputs) fault ??= (buffer as GpuBuffer).fault;
  for (const { buffer, offset } of outputs) {
    const own = buffer as GpuBuffer;
    if (fault !== undefined) own.fault = fault;
    // Core's pool hands buffers on: what begins one anew has nothing to do with what became of the last tensor in it.
    else if (offset === 0 && kernel !== "scatter") own.fault = undefined;
  }
}

function checkRange(what: string, buffer: GpuBuffer, byteOffset: number, byteLength: number): void {
  if (byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > buffer.byteLength) {
    throw new BackendError(
      `webgpu: ${what} of bytes ${byteOffset} to ${byteOffset + byteLength} leaves the buffer of ${buffer.byteLength} bytes.`,
    );
  }
}
