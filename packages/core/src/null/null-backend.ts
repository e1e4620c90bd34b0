import { checkAllocation } from "../backend/allocation.ts";
import type { Backend, Capabilities, Support } from "../backend/backend.ts";
import type { Call, Kernel } from "../backend/call.ts";
import type { BackendBuffer } from "../backend/view.ts";
import { DTYPE_NAMES, DTYPES, type DType, isFloat } from "../dtype.ts";
import { BackendError } from "../errors.ts";
import { checkOptions } from "../ops/options.ts";
import { flopsOf } from "./flops.ts";

/** Calls and floating-point operations of one kernel. */
export interface KernelWork {
  readonly calls: number;
  readonly flops: number;
}

/** What a {@link NullBackend} was asked to do. */
export interface NullWork extends KernelWork {
  /** By kernel, those that were called. */
  readonly kernels: Readonly<Partial<Record<Kernel, KernelWork>>>;
}

const FLOATS: readonly DType[] = DTYPE_NAMES.filter(isFloat);
const NUMBERS: readonly DType[] = DTYPE_NAMES.filter((dtype) => dtype !== "bool");

const HALVES: readonly DType[] = FLOATS.filter((dtype) => DTYPES[dtype].bytes === 2);

// Every kernel and every capability, so that a new one cannot be left out.
const EVERYTHING: Required<Capabilities> & { readonly dtypes: Readonly<Record<Kernel, readonly DType[]>> } = {
  dtypes: {
    map: DTYPE_NAMES,
    reduce: DTYPE_NAMES,
    argReduce: DTYPE_NAMES,
    matmul: NUMBERS,
    gather: DTYPE_NAMES,
    scatter: DTYPE_NAMES,
    scan: NUMBERS,
    sort: DTYPE_NAMES,
    conv: FLOATS,
    pool: FLOATS,
    softmax: FLOATS,
    norm: FLOATS,
    attention: FLOATS,
    rope: FLOATS,
    crossEntropy: FLOATS,
    embeddingGrad: FLOATS,
    quantizedMatmul: FLOATS,
    mapMany: DTYPE_NAMES,
  },
  matmulWeights: HALVES,
  readSync: true,
  threads: 1,
  maxBufferBytes: Infinity,
  maxBuffersPerCall: Infinity,
};

/** A backend of shapes alone; see {@link nullBackend}. */
export class NullBackend implements Backend {
  readonly name = "null";
  readonly capabilities: Capabilities;
  private kernels: Partial<Record<Kernel, KernelWork>> = {};
  private disposed = false;

  /** @internal Use {@link nullBackend}. */
  constructor(capabilities: Capabilities) {
    this.capabilities = capabilities;
  }

  /** What was asked for since the start or the last {@link NullBackend.reset}. */
  work(): NullWork {
    const all = Object.values(this.kernels);
    return {
      calls: all.reduce((sum, { calls }) => sum + calls, 0),
      flops: all.reduce((sum, { flops }) => sum + flops, 0),
      kernels: { ...this.kernels },
    };
  }

  /** Starts counting anew. */
  reset(): void {
    this.kernels = {};
  }

  allocate(byteLength: number): BackendBuffer {
    this.checkOpen("allocate");
    checkAllocation(this.name, byteLength, this.capabilities.maxBufferBytes);
    return { byteLength };
  }

  free(): void {}

  write(): void {
    this.checkOpen("write");
  }

  async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    return this.readSync(buffer, byteOffset, byteLength);
  }

  readSync(_buffer: BackendBuffer, _byteOffset: number, byteLength: number): Uint8Array {
    this.checkOpen("read");
    return new Uint8Array(byteLength);
  }

  execute(call: Call): void {
    this.checkOpen(call.kernel);
    const { calls, flops } = this.kernels[call.kernel] ?? { calls: 0, flops: 0 };
    this.kernels[call.kernel] = { calls: calls + 1, flops: flops + flopsOf(call) };
  }

  supports(call: Call): Support {
    return this.capabilities.dtypes[call.kernel] === undefined
      ? { reason: `the null backend was made without "${call.kernel}"` }
      : "yes";
  }

  async synchronize(): Promise<void> {
    this.checkOpen("synchronize");
  }

  async dispose(): Promise<void> {
    this.disposed = true;
  }

  private checkOpen(what: string): void {
    if (this.disposed) throw new BackendError(`null: ${what} after dispose(). Create a new backend.`);
  }
}

/**
 * A backend that computes nothing and holds nothing: calls are counted, buffers have a size and no bytes, reads give
 * zeros. It serves tests of scheduling, counting floating-point operations, and planning memory (with `memory()`) of
 * models too large to run here. Kernels that check values (indices, integer division) find no fault.
 *
 * @param capabilities what it pretends to do; default every kernel on every dtype, without limits.
 */
export function nullBackend(capabilities: Partial<Capabilities> = {}): NullBackend {
  checkOptions("nullBackend", capabilities, Object.keys(EVERYTHING));
  return new NullBackend({ ...EVERYTHING, ...capabilities });
}
