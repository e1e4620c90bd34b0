import type { BackendBuffer } from "../backend/view.ts";
import { LifetimeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import { sizeClass } from "./pool.ts";

/**
 * A block of a pool, shared by the tensors that look at it and by what the tape saved of them. It goes back to the
 * pool when the last of them lets go; users never see the count.
 */
export class Storage {
  readonly device: Device;
  readonly buffer: BackendBuffer;
  private readonly sizeClass: number;
  private references = 1;
  /** Number of writes since birth. The tape remembers it to notice that a saved value was overwritten. */
  version = 0;
  /** Who wrote last. */
  writer = "";
  /** Least and greatest integer it holds, where known, so that indices can be checked before dispatch. */
  range: readonly [number, number] | undefined = undefined;

  constructor(device: Device, bytes: number) {
    this.device = device;
    this.sizeClass = sizeClass(bytes);
    this.buffer = device.pool.take(this.sizeClass);
  }

  /** Whether somebody else looks at this block too. */
  get shared(): boolean {
    return this.references > 1;
  }

  /** Adds a holder. */
  retain(): this {
    // A block that went back to the pool has another owner by now.
    if (this.references === 0)
      throw new LifetimeError("the memory of a tensor that ended cannot be used again.");
    this.references++;
    return this;
  }

  /** Takes a holder away; the last one returns the block. */
  release(): void {
    if (this.references === 0) throw new LifetimeError("a tensor gave its memory back twice.");
    if (--this.references === 0) this.device.pool.give(this.buffer, this.sizeClass);
  }

  /** Notes a write. */
  written(by: string): void {
    this.version++;
    this.writer = by;
    this.range = undefined;
  }
}
