/** Blocks start and end at multiples of this many bytes: cache lines, so that threads do not share one by accident. */
const GRAIN = 64;

interface Block {
  readonly address: number;
  readonly bytes: number;
}

/**
 * First-fit free list over one growing range of addresses. Core pools buffers by size class, so blocks come and go
 * rarely here; what matters is that neighbours merge and memory does not creep.
 */
export class Allocator {
  /** Ascending by address, neighbours merged. */
  private readonly free: Block[] = [];
  private readonly sizes = new Map<number, number>();
  private end: number;
  private readonly limit: number;
  private readonly reach: (end: number) => boolean;
  /** Bytes in use. */
  usedBytes = 0;

  /**
   * @param start first address to hand out
   * @param limit no address from here on
   * @param reach makes memory up to an address usable; false where that is impossible
   */
  constructor(start: number, limit: number, reach: (end: number) => boolean) {
    this.end = Math.ceil(start / GRAIN) * GRAIN;
    this.limit = limit;
    this.reach = reach;
  }

  /** Address of a block, or undefined where there is no room. */
  take(byteLength: number): number | undefined {
    const bytes = rounded(byteLength);
    const index = this.free.findIndex((block) => block.bytes >= bytes);
    if (index >= 0) {
      const { address, bytes: size } = this.free[index] as Block;
      if (size === bytes) this.free.splice(index, 1);
      else this.free[index] = { address: address + bytes, bytes: size - bytes };
      return this.hand(address, bytes);
    }
    // The last free block may reach the end: then only the rest must be new.
    const last = this.free[this.free.length - 1];
    const address = last !== undefined && last.address + last.bytes === this.end ? last.address : this.end;
    if (address + bytes > this.limit || !this.reach(address + bytes)) return undefined;
    if (address !== this.end) this.free.pop();
    this.end = address + bytes;
    return this.hand(address, bytes);
  }

  /** Takes a block back. */
  give(address: number): void {
    const bytes = this.sizes.get(address) as number;
    this.sizes.delete(address);
    this.usedBytes -= bytes;
    let low = 0;
    let high = this.free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.free[middle] as Block).address < address) low = middle + 1;
      else high = middle;
    }
    const before = this.free[low - 1];
    const after = this.free[low];
    const joinsBefore = before !== undefined && before.address + before.bytes === address;
    const joinsAfter = after !== undefined && address + bytes === after.address;
    const start = joinsBefore ? before.address : address;
    const total = bytes + (joinsBefore ? before.bytes : 0) + (joinsAfter ? after.bytes : 0);
    const from = joinsBefore ? low - 1 : low;
    this.free.splice(from, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), { address: start, bytes: total });
  }

  private hand(address: number, bytes: number): number {
    this.sizes.set(address, bytes);
    this.usedBytes += bytes;
    return address;
  }
}

/** Bytes that a block of this length really takes. */
export function rounded(byteLength: number): number {
  return Math.max(GRAIN, Math.ceil(byteLength / GRAIN) * GRAIN);
}
