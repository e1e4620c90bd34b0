import type { Backend } from "../backend/backend.ts";
import { installMethods } from "../tensor/methods.ts";
import { currentDevice, deviceOf, setCurrentDevice } from "./device.ts";

/**
 * Makes a backend the one that new tensors live on. Takes a backend or a promise of one, so `await use(createBackend())`
 * is all it needs. Tensors made before stay where they are; any number of backends can be alive at once.
 */
export async function use(backend: Backend | Promise<Backend>): Promise<Backend> {
  const chosen = await backend;
  const device = deviceOf(chosen);
  installMethods();
  setCurrentDevice(device);
  return chosen;
}

/** The backend that new tensors live on. @throws BackendError before any `use(…)`. */
export function currentBackend(): Backend {
  return currentDevice().backend;
}

/** What {@link memory} reports about one backend. Bytes are those of pool blocks, rounded up to their size class. */
export interface MemoryReport {
  /** Name of the backend. */
  readonly backend: string;
  /** Tensor handles that are alive. */
  readonly liveTensors: number;
  /** Blocks in use: by tensors, and by what the tape saved. */
  readonly liveBuffers: number;
  /** Their bytes. */
  readonly liveBytes: number;
  /** Most bytes in use at once. */
  readonly peakBytes: number;
  /** Bytes of blocks at rest in the pool. */
  readonly pooledBytes: number;
  /** Blocks the backend had to allocate so far; constant once a loop is warm. */
  readonly poolMisses: number;
  /** Tensors that the garbage collector found before anything ended them. */
  readonly leaks: number;
}

/** Live memory, peaks and leaks of a backend (default the one in use). */
export function memory(backend?: Backend): MemoryReport {
  const device = backend === undefined ? currentDevice() : deviceOf(backend, "memory");
  const { pool } = device;
  return {
    backend: device.label,
    liveTensors: device.liveTensors,
    liveBuffers: pool.liveBuffers,
    liveBytes: pool.liveBytes,
    peakBytes: pool.peakBytes,
    pooledBytes: pool.pooledBytes,
    poolMisses: pool.misses,
    leaks: device.leaks,
  };
}

/** Starts the measurement of peak bytes anew. The pool keeps sizes long out of use up to as much, so that it may give back more. */
export function resetPeakMemory(backend?: Backend): void {
  (backend === undefined ? currentDevice() : deviceOf(backend, "resetPeakMemory")).pool.resetPeak();
}

/** Gives memory at rest in the pool back to the backend. */
export function releaseMemory(backend?: Backend): void {
  (backend === undefined ? currentDevice() : deviceOf(backend, "releaseMemory")).pool.shrink(0);
}
