import type { DType } from "../dtype.ts";
import type { Call, Kernel, RequiredKernel } from "./call.ts";
import type { BackendBuffer } from "./view.ts";

/** What a backend can do. Core reads it; nothing is probed by trying. */
export interface Capabilities {
  /** Dtypes of each kernel's views. f32, i32, u32 and bool are required for the required kernels where they make sense. */
  readonly dtypes: Readonly<Record<RequiredKernel, readonly DType[]>> &
    Readonly<Partial<Record<Kernel, readonly DType[]>>>;
  /**
   * 16-bit floats that the second operand of a `matmul` may have where the first and the result are f32: weights are then
   * widened inside the kernel. Default none: core widens them before.
   */
  readonly matmulWeights?: readonly DType[];
  /** Whether `readSync` exists and works here. */
  readonly readSync: boolean;
  /** Threads that kernels use. */
  readonly threads: number;
  /** Most bytes of one buffer. */
  readonly maxBufferBytes: number;
  /**
   * Most distinct buffers that one call of a required kernel may bind; Infinity where it does not matter. For fused kernels
   * {@link Backend.supports} says.
   */
  readonly maxBuffersPerCall: number;
}

/** Answer to "can you run this call?": yes, yes once every input is a dense copy, or no and why. */
export type Support = "yes" | "after-copy" | { readonly reason: string };

/**
 * All that a backend is: it owns opaque buffers and runs kernels on strided views of them. Everything else (shapes,
 * gradients, memory, broadcasting) is core's.
 *
 * Work is dispatched in order; `execute` may return before the work is done, `read` waits for it.
 */
export interface Backend {
  /** Short name, for messages and reports: `cpu`, `wasm`, … */
  readonly name: string;
  readonly capabilities: Capabilities;
  /** What it found to run on, where it tells: a GPU's vendor, limits and features. For reports. */
  readonly description?: string | undefined;

  /**
   * A new buffer of at least `byteLength` bytes, content unspecified.
   * @throws OutOfMemoryError naming the size and the limit.
   */
  allocate(byteLength: number): BackendBuffer;
  /** Gives a buffer back. Ordered with calls: earlier calls may still use it. */
  free(buffer: BackendBuffer): void;
  /** Copies bytes from the host into a buffer. */
  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void;
  /** Copies bytes to the host, after all earlier calls. The result is the caller's own. */
  read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array>;
  /** The same at once, where `capabilities.readSync` says so. */
  readSync?(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array;

  /** Runs a kernel. Core sends only calls that `supports` answered "yes" for, and required kernels on declared dtypes. */
  execute(call: Call): void;
  /** Whether a fused (or epilogue) call can run here. Must be cheap and must not look at buffer contents. */
  supports(call: Call): Support;

  /** Resolves when all work dispatched so far is done; rejects with what went wrong in it. */
  synchronize(): Promise<void>;
  /** Ends the backend; everything it holds is gone. A second call does nothing. */
  dispose(): Promise<void>;
}
