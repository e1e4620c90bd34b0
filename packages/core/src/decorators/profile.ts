import type { Backend } from "../backend/backend.ts";
import type { Call, Kernel } from "../backend/call.ts";
import type { BackendBuffer } from "../backend/view.ts";
import { flopsOf } from "../null/flops.ts";
import { checkOptions } from "../ops/options.ts";
import { BackendDecorator, callName } from "./decorator.ts";
import { distinctBytes } from "./overlap.ts";
import { type ProfileCount, ProfileReport, type ProfileRow, type ProfileTiming } from "./profile-report.ts";

/** Options of {@link profile}. */
export interface ProfileOptions {
  /**
   * Wait for each call before the next one starts, so that time belongs to the call that took it also where `execute`
   * returns before the work is done. Calls then run one by one from a queue, which is slower than they would run
   * otherwise; errors in them come out of the next read or `synchronize`, and `readSync` is not available. Default
   * false: what is measured is the time inside `execute`.
   */
  readonly synchronize?: boolean;
}

type Row = { -readonly [K in keyof ProfileRow]: ProfileRow[K] };
type Count = { -readonly [K in keyof ProfileCount]: ProfileCount[K] };

/** A backend that measures another one; see {@link profile}. */
export class ProfiledBackend extends BackendDecorator {
  private readonly timing: ProfileTiming;
  private rows = new Map<string, Row>();
  private allocations = emptyCount();
  private frees = emptyCount();
  private writes = emptyCount();
  private reads = emptyCount();
  private pending = 0;
  private queue: Promise<void> = Promise.resolve();
  private failure: { readonly error: unknown } | undefined;

  /** @internal Use {@link profile}. */
  constructor(wrapped: Backend, options: ProfileOptions) {
    const { capabilities } = wrapped;
    super(
      "profile",
      wrapped,
      options.synchronize === true ? { ...capabilities, readSync: false } : capabilities,
    );
    this.timing = options.synchronize === true ? "completion" : "dispatch";
  }

  /** What was measured since the start or the last {@link ProfiledBackend.reset}. */
  report(): ProfileReport {
    return new ProfileReport({
      backend: this.wrapped.name,
      timing: this.timing,
      pending: this.pending,
      programs: [...this.rows.values()],
      allocations: this.allocations,
      frees: this.frees,
      hostWrites: this.writes,
      hostReads: this.reads,
    });
  }

  /** Starts anew. Calls still in the queue count for the new measurement. */
  reset(): void {
    this.rows = new Map();
    this.allocations = emptyCount();
    this.frees = emptyCount();
    this.writes = emptyCount();
    this.reads = emptyCount();
  }

  override execute(call: Call): void {
    if (this.timing === "completion") {
      this.enqueue(async () => {
        const start = now();
        this.wrapped.execute(call);
        await this.wrapped.synchronize();
        this.note(call, now() - start);
      });
      return;
    }
    const start = now();
    this.wrapped.execute(call);
    this.note(call, now() - start);
  }

  override allocate(byteLength: number): BackendBuffer {
    const start = now();
    const buffer = this.wrapped.allocate(byteLength);
    add(this.allocations, byteLength, now() - start);
    return buffer;
  }

  override free(buffer: BackendBuffer): void {
    this.inOrder(this.frees, buffer.byteLength, () => this.wrapped.free(buffer));
  }

  override write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    // The caller may change its bytes once this returns.
    const data = this.timing === "completion" ? bytes.slice() : bytes;
    this.inOrder(this.writes, bytes.byteLength, () => this.wrapped.write(buffer, byteOffset, data));
  }

  override async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    // At once, or in the queue: a call that comes after must not change what is read.
    if (this.timing === "dispatch") return this.timedRead(buffer, byteOffset, byteLength);
    const bytes = new Promise<Uint8Array>((resolve, reject) => {
      this.enqueue(() => this.timedRead(buffer, byteOffset, byteLength).then(resolve, reject));
    });
    // Where an earlier call failed, that is what is reported.
    bytes.catch(() => undefined);
    await this.drain();
    return bytes;
  }

  private async timedRead(
    buffer: BackendBuffer,
    byteOffset: number,
    byteLength: number,
  ): Promise<Uint8Array> {
    const start = now();
    const bytes = await this.wrapped.read(buffer, byteOffset, byteLength);
    add(this.reads, byteLength, now() - start);
    return bytes;
  }

  protected override readNow(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    const start = now();
    const bytes = super.readNow(buffer, byteOffset, byteLength);
    add(this.reads, byteLength, now() - start);
    return bytes;
  }

  override async synchronize(): Promise<void> {
    await this.drain();
    await this.wrapped.synchronize();
  }

  override async dispose(): Promise<void> {
    await this.queue;
    await this.wrapped.dispose();
  }

  private inOrder(count: Count, bytes: number, task: () => void): void {
    const timed = (): void => {
      const start = now();
      task();
      add(count, bytes, now() - start);
    };
    if (this.timing === "completion") this.enqueue(async () => timed());
    else timed();
  }

  /** Appends a task. After one failed, the rest still runs, and the first error is what the next wait reports. */
  private enqueue(task: () => Promise<void>): void {
    this.pending++;
    this.queue = this.queue
      .then(task)
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => {
        this.pending--;
      });
  }

  private async drain(): Promise<void> {
    await this.queue;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure.error;
  }

  private note(call: Call, milliseconds: number): void {
    const name = callName(call);
    const key = `${call.kernel} ${name}`;
    let row = this.rows.get(key);
    if (row === undefined) {
      row = emptyRow(call.kernel, name);
      this.rows.set(key, row);
    }
    row.calls++;
    row.milliseconds += milliseconds;
    row.flops += flopsOf(call);
    for (const view of call.inputs) row.bytesRead += distinctBytes(view);
    for (const view of call.outputs) row.bytesWritten += distinctBytes(view);
    // It adds to what the output holds at the places it writes.
    if (call.kernel === "scatter")
      for (const view of call.inputs.slice(0, 1)) row.bytesRead += distinctBytes(view);
  }
}

/**
 * Measures a backend: calls, time, bytes and floating-point operations by kernel, and by program for those that run
 * one; allocations and traffic with the host. `use` the result in the place of the backend.
 *
 * Time is that spent in `execute`. Where a backend works asynchronously that is the cost of dispatch alone; with
 * `{ synchronize: true }` each call is awaited instead.
 *
 * @example
 * ```ts no-run
 * import { currentBackend, profile, use } from "@nf/core";
 *
 * const profiled = profile(currentBackend());
 * await use(profiled);
 * // … a few training steps …
 * console.log(profiled.report().toString());
 * ```
 */
export function profile(backend: Backend, options: ProfileOptions = {}): ProfiledBackend {
  checkOptions("profile", options, ["synchronize"]);
  return new ProfiledBackend(backend, options);
}

function emptyCount(): Count {
  return { calls: 0, bytes: 0, milliseconds: 0 };
}

function emptyRow(kernel: Kernel, name: string): Row {
  return { kernel, name, calls: 0, milliseconds: 0, bytesRead: 0, bytesWritten: 0, flops: 0 };
}

function add(count: Count, bytes: number, milliseconds: number): void {
  count.calls++;
  count.bytes += bytes;
  count.milliseconds += milliseconds;
}

function now(): number {
  const host: { performance?: { now(): number } } = globalThis;
  return host.performance?.now() ?? Date.now();
}
