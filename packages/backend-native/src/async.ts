import {
  type BackendBuffer,
  BackendError,
  type NanoFluxError,
  OutOfMemoryError,
  type Program,
} from "@nf/core";
import { checkRange, NativeBackend } from "./backend.ts";
import type { Binding } from "./binding.ts";
import { checkFailed, Engine, failed, type Look, outOfScratch, reasonOf } from "./engine.ts";
import { KERNEL } from "./kernels/numbers.ts";
import type { MatmulPrecision } from "./options.ts";

/** Where nothing is under way, so few bytes are copied at once: handing the copy over costs more. */
const AT_ONCE = 64 * 1024;

const NAMES = new Map<number, string>(Object.entries(KERNEL).map(([name, number]) => [number, name]));

/** What a failure says, as `text_of` in crates/binding/src/task.rs writes it. */
const LATE = /^late (check|memory|other|read|closed) (\d+) (\d+) (\d+) ?(.*)$/s;

/** What is known of the engine that a failure belongs to. */
interface Known {
  readonly liveBytes: number;
  program(number: number): Program | undefined;
}

/**
 * The error for a call that failed after `execute` had returned, or for a read that could not be answered. What is no such
 * failure is an error of the module's own.
 */
export function failureOf(error: unknown, known: Known): NanoFluxError {
  const [, kind, kernel, program, number, text] = LATE.exec(reasonOf(error)) ?? [];
  const name = NAMES.get(Number(kernel)) ?? `kernel ${kernel}`;
  const value = Number(number);
  switch (kind) {
    case "check":
      return checkFailed(name, program === "0" ? undefined : known.program(Number(program) - 1), value);
    case "memory":
      return outOfScratch(name, value, known.liveBytes);
    case "other":
      return failed(name, text as string, error);
    case "read":
      return new OutOfMemoryError(
        `native: a read of ${value} bytes found no memory to put them in while buffers take ${known.liveBytes}. Read ` +
          "less at once or free tensors.",
        value,
        known.liveBytes,
      );
    case "closed":
      return new BackendError("native: dispose() was called before the work was done. Create a new backend.");
    default:
      return failed("read", reasonOf(error), error);
  }
}

/** An engine whose calls run on a thread of their own. */
export class AsyncEngine extends Engine {
  constructor(binding: Binding, threads: number, maxBytes: number, matmulPrecision: MatmulPrecision) {
    super(binding, threads, maxBytes, matmulPrecision);
    try {
      binding.defer(this.id);
    } catch (error) {
      this.close();
      throw new BackendError(
        `native: ${reasonOf(error)}. Dispose of backends that are no longer used, or leave out async.`,
        "NF_BACKEND",
        { cause: error },
      );
    }
  }

  /** Whether calls are under way. */
  get busy(): boolean {
    return this.binding.busy(this.id);
  }

  /** Waits for all calls before; throws what went wrong in those that made these bytes. */
  override read(handle: number, offset: number, length: number): Uint8Array {
    try {
      return super.read(handle, offset, length);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Refuses bytes that are not made yet, or were not made. */
  override look(handle: number, offset: number, length: number): Look {
    if (this.busy) {
      throw new BackendError(
        "native: pin of a tensor while work is under way. Await backend.synchronize() first, or read a copy with data().",
      );
    }
    try {
      return super.look(handle, offset, length);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** The same, without holding up this thread. */
  async readLater(handle: number, offset: number, bytes: number): Promise<Uint8Array> {
    try {
      return await this.binding.readLater(this.id, handle, offset, bytes);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Resolves when all calls before are done; rejects with what no read told of. */
  async finish(): Promise<void> {
    try {
      await this.binding.finish(this.id);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Ends what waits; resolves when the call under way is done and all memory given back. */
  async closeLater(): Promise<void> {
    this.closed = true;
    await this.binding.closeLater(this.id);
  }

  private failure(error: unknown): NanoFluxError {
    return failureOf(error, {
      liveBytes: this.closed ? 0 : this.liveBytes,
      program: (number) => this.programs.at(number),
    });
  }
}

/**
 * The backend over an {@link AsyncEngine}. `execute` returns at once. What goes wrong comes out of each read of what was
 * computed from it, and out of `synchronize` where nothing that was read depended on it.
 */
export class AsyncBackend extends NativeBackend<AsyncEngine> {
  private end: Promise<void> | undefined;

  override async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    const own = this.own(buffer, "read");
    checkRange("read", own, byteOffset, byteLength);
    if (byteLength === 0 || (byteLength <= AT_ONCE && !this.engine.busy))
      return this.readSync(buffer, byteOffset, byteLength);
    return this.engine.readLater(own.handle, byteOffset, byteLength);
  }

  override async synchronize(): Promise<void> {
    this.checkOpen("synchronize");
    await this.engine.finish();
  }

  override dispose(): Promise<void> {
    this.disposed = true;
    this.end ??= this.engine.closeLater();
    return this.end;
  }
}
