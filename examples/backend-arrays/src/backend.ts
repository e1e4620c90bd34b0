import {
  type Backend,
  type BackendBuffer,
  BackendError,
  type Call,
  type Capabilities,
  checkOptions,
  DTYPE_NAMES,
  OptionError,
  OutOfMemoryError,
  type Support,
} from "@nf/core";
import { CellBuffer } from "./buffer.ts";
import { kernels } from "./kernels/table.ts";

/** Options of this backend. */
export interface ArraysOptions {
  /** Most bytes that all live buffers together may take, in the sizes that core asks for; default no limit. */
  readonly maxBytes?: number;
}

/** A cell takes 8 bytes or more, and a buffer of bytes has as many cells: beyond this, arrays become slow maps. */
const MAX_BUFFER_BYTES = 2 ** 25;

const NUMBERS = DTYPE_NAMES.filter((dtype) => dtype !== "bool");

const CAPABILITIES: Capabilities = {
  dtypes: {
    map: DTYPE_NAMES,
    reduce: DTYPE_NAMES,
    argReduce: DTYPE_NAMES,
    matmul: NUMBERS,
    gather: DTYPE_NAMES,
    scatter: DTYPE_NAMES,
    scan: NUMBERS,
    sort: DTYPE_NAMES,
  },
  readSync: true,
  threads: 1,
  maxBufferBytes: MAX_BUFFER_BYTES,
  maxBuffersPerCall: Infinity,
};

/**
 * Makes a backend whose buffers are ordinary JavaScript arrays.
 *
 * @throws OptionError for an option that does not exist or is out of its domain
 */
export async function createBackend(options: ArraysOptions = {}): Promise<Backend> {
  checkOptions("arrays", options, ["maxBytes"]);
  const { maxBytes = Infinity } = options;
  if (!(typeof maxBytes === "number" && maxBytes > 0)) {
    throw new OptionError(`arrays: maxBytes must be a number above 0, got ${String(maxBytes)}.`);
  }
  return new ArraysBackend(maxBytes);
}

class ArraysBackend implements Backend {
  readonly name = "arrays";
  readonly capabilities: Capabilities = CAPABILITIES;
  private readonly live = new Set<CellBuffer>();
  private readonly maxBytes: number;
  private liveBytes = 0;
  private disposed = false;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  allocate(byteLength: number): BackendBuffer {
    this.checkOpen("allocate");
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new BackendError(`arrays: a buffer's size is a whole number of bytes, got ${byteLength}.`);
    }
    const limit = Math.min(MAX_BUFFER_BYTES, this.maxBytes - this.liveBytes);
    if (byteLength > limit) {
      throw new OutOfMemoryError(
        `arrays: ${byteLength} bytes were asked for and ${limit} are possible, with ${this.liveBytes} in use. Make the batch smaller, or free tensors.`,
        byteLength,
        limit,
      );
    }
    const buffer = new CellBuffer(byteLength, this);
    this.live.add(buffer);
    this.liveBytes += byteLength;
    return buffer;
  }

  free(buffer: BackendBuffer): void {
    const own = this.own(buffer, "free");
    this.live.delete(own);
    this.liveBytes -= own.byteLength;
    own.release();
  }

  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    const own = this.own(buffer, "write");
    checkRange("write", own, byteOffset, bytes.byteLength);
    own.write(byteOffset, bytes);
  }

  readSync(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    const own = this.own(buffer, "read");
    checkRange("read", own, byteOffset, byteLength);
    return own.read(byteOffset, byteLength);
  }

  async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    return this.readSync(buffer, byteOffset, byteLength);
  }

  execute(call: Call): void {
    this.checkOpen(call.kernel);
    for (const buffer of call.buffers) this.own(buffer, call.kernel);
    const support = this.supports(call);
    if (support !== "yes") throw new BackendError(`arrays: ${support.reason}.`, "NF_UNSUPPORTED");
    // Each function meets calls of its own kind alone, because the table's keys are the names of the kernels.
    (kernels as Record<string, (call: Call) => void>)[call.kernel](call);
  }

  supports(call: Call): "yes" | Exclude<Support, string> {
    const dtypes = this.capabilities.dtypes[call.kernel];
    if (dtypes === undefined) return { reason: `there is no kernel "${call.kernel}" here` };
    const { dtype } = call.inputs[0] ?? call.outputs[0];
    if (!dtypes.includes(dtype)) return { reason: `${call.kernel} computes no ${dtype} here` };
    if (call.kernel === "matmul" && call.program !== undefined)
      return { reason: "matmul takes no program after the product here" };
    return "yes";
  }

  /** Every kernel is done when `execute` returns. */
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
    if (this.disposed) throw new BackendError(`arrays: ${what} after dispose(). Create a new backend.`);
  }

  /** The buffer, if it is this backend's and was not freed. */
  private own(buffer: BackendBuffer, what: string): CellBuffer {
    this.checkOpen(what);
    if (!(buffer instanceof CellBuffer) || buffer.owner !== this)
      throw new BackendError(`arrays: ${what} was given a buffer that another backend made.`);
    if (!buffer.alive) throw new BackendError(`arrays: ${what} was given a buffer that was already freed.`);
    return buffer;
  }
}

function checkRange(what: string, buffer: CellBuffer, byteOffset: number, byteLength: number): void {
  const end = byteOffset + byteLength;
  if (!(byteOffset >= 0 && byteLength >= 0 && end <= buffer.byteLength)) {
    throw new BackendError(
      `arrays: ${what} of bytes ${byteOffset} to ${end} leaves the buffer of ${buffer.byteLength} bytes.`,
    );
  }
}
