import { cpu } from "@nf/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { classBytes, Pool, sizeClass } from "../../src/memory/pool.ts";

/** Counts what it hands out, and is full at a limit. */
class Shelf extends core.BackendDecorator {
  readonly sizes: number[] = [];
  held = 0;
  private readonly limit: number;

  constructor(wrapped: core.Backend, limit = Infinity) {
    super("shelf", wrapped);
    this.limit = limit;
  }

  override allocate(byteLength: number): core.BackendBuffer {
    if (this.held + byteLength > this.limit)
      throw new core.OutOfMemoryError("shelf: full.", byteLength, this.limit);
    this.held += byteLength;
    this.sizes.push(byteLength);
    return super.allocate(byteLength);
  }

  override free(buffer: core.BackendBuffer): void {
    this.held -= buffer.byteLength;
    super.free(buffer);
  }
}

/** Has all memory of the world, as long as nobody looks into it. */
class Endless extends core.BackendDecorator {
  override allocate(byteLength: number): core.BackendBuffer {
    return { byteLength };
  }

  override free(): void {}
}

describe("size classes", () => {
  it("hold what they are for, waste at most a fifth, and come four an octave", () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 34, noNaN: true }), (exponent) => {
        const bytes = Math.floor(2 ** exponent);
        const index = sizeClass(bytes);
        const size = classBytes(index);
        expect(size).toBeGreaterThanOrEqual(bytes);
        if (index > 0) {
          expect(classBytes(index - 1)).toBeLessThan(bytes);
          expect((size - bytes) / size).toBeLessThanOrEqual(0.2);
        }
      }),
      { numRuns: 2000 },
    );
    for (let index = 1; index < 90; index++) expect(classBytes(index + 4)).toBe(2 * classBytes(index));
    expect([0, 1, 256, 257, 320, 321, 512, 513].map(sizeClass)).toEqual([0, 0, 0, 1, 1, 2, 4, 5]);
  });
});

describe("Pool", () => {
  it("gives a block to the next of its size, and keeps count", async () => {
    const shelf = new Shelf(await cpu());
    const pool = new Pool(shelf);
    const [a, b] = [pool.take(3), pool.take(3)];
    expect(a).not.toBe(b);
    expect(pool).toMatchObject({ misses: 2, liveBuffers: 2, liveBytes: 2 * classBytes(3), pooledBytes: 0 });
    pool.give(a, 3);
    expect(pool).toMatchObject({ liveBuffers: 1, pooledBytes: classBytes(3) });
    expect(pool.take(4)).not.toBe(a);
    expect(pool.take(3)).toBe(a);
    expect(pool).toMatchObject({ misses: 3, liveBuffers: 3, pooledBytes: 0 });
    expect(pool.peakBytes).toBe(2 * classBytes(3) + classBytes(4));
    expect(shelf.sizes).toEqual([3, 3, 4].map(classBytes));
  });

  it("trims what rests: everything, and nothing in use", async () => {
    const shelf = new Shelf(await cpu());
    const pool = new Pool(shelf);
    const taken = [0, 1, 5, 9].map((index) => ({ index, buffer: pool.take(index) }));
    for (const { index, buffer } of taken.slice(1)) pool.give(buffer, index);
    pool.shrink(0);
    pool.shrink(0);
    expect(shelf.held).toBe(classBytes(0));
    expect(pool).toMatchObject({ pooledBytes: 0, liveBuffers: 1, liveBytes: classBytes(0) });
    pool.resetPeak();
    expect(pool.peakBytes).toBe(classBytes(0));
  });

  it("trims and tries again when the backend is full, then says so; counts stay true", async () => {
    const shelf = new Shelf(await cpu(), 4096);
    const pool = new Pool(shelf);
    const index = sizeClass(1024);
    const blocks = [1, 2, 3, 4].map(() => pool.take(index));
    for (let round = 0; round < 100; round++) {
      expect(() => pool.take(sizeClass(2048))).toThrow(
        expect.objectContaining({ code: "NF_OUT_OF_MEMORY", requestedBytes: 2048, limitBytes: 4096 }),
      );
      expect(pool).toMatchObject({ liveBuffers: 4, liveBytes: 4096 });
    }
    for (const block of blocks.splice(0, 2)) pool.give(block, index);
    expect(pool.take(sizeClass(2048)).byteLength).toBe(2048);
    expect(pool).toMatchObject({ liveBuffers: 3, liveBytes: 4096, pooledBytes: 0 });
  });

  it("where sizes never repeat, holds on to as much as was in use at once, and to what was used last", async () => {
    const shelf = new Shelf(await cpu());
    const pool = new Pool(shelf);
    const kept = 2 ** 26;
    const sizes = Array.from({ length: 20 }, (_, i) => sizeClass(2 ** 20) + i);
    for (const peak of [sizes.slice(0, 1), [sizeClass(2 ** 26), sizeClass(2 ** 26)]]) {
      for (const [index, buffer] of peak.map((index) => [index, pool.take(index)] as const))
        pool.give(buffer, index);
      pool.shrink(0);
      for (const index of sizes) {
        // Two at once: none of the larger ones finds a block.
        for (const buffer of [pool.take(index), pool.take(index)]) pool.give(buffer, index);
        // A step of much that is small.
        for (let i = 0; i < 5000; i++) pool.give(pool.take(0), 0);
        expect(pool.pooledBytes).toBe(shelf.held);
      }
      const most = Math.max(pool.peakBytes, kept);
      // The last two were taken when all others were within bounds.
      expect(shelf.held).toBeLessThanOrEqual(most + 2 * classBytes(sizes.at(-1) as number));
      expect(shelf.held).toBeGreaterThan(most / 2);
      const { misses } = pool;
      const last = sizes.slice(-2);
      for (const index of last) pool.give(pool.take(index), index);
      expect(pool.misses).toBe(misses);
      pool.give(pool.take(sizes[0] as number), sizes[0] as number);
      expect(pool.misses).toBe(misses + 1);
      pool.shrink(0);
      expect(shelf.held).toBe(0);
    }
  });

  it.each([2, 3, 4, 5])("keeps what a loop takes in turn: %i large sizes", async (count) => {
    const pool = new Pool(new Endless("endless", await cpu()));
    const sizes = Array.from({ length: count }, (_, i) => sizeClass(100 * 2 ** 20) + i);
    for (let round = 0; round < 10; round++) {
      for (const index of sizes) {
        pool.give(pool.take(index), index);
        for (let i = 0; i < 100; i++) pool.give(pool.take(0), 0);
      }
    }
    expect(pool.peakBytes).toBe(classBytes(sizes.at(-1) as number));
    expect(pool.misses).toBe(count + 1);
  });

  it("frees a block that turns out to have no room, in use or at rest, and all that rests", async () => {
    const shelf = new Shelf(await cpu());
    const pool = new Pool(shelf);
    const kill = (block: core.BackendBuffer): void => {
      Object.defineProperty(block, "dead", { value: true });
    };
    for (const late of [false, true]) {
      const [block, other] = [pool.take(5), pool.take(2)];
      pool.give(other, 2);
      if (!late) kill(block);
      pool.give(block, 5);
      if (late) {
        expect(pool.pooledBytes).toBe(classBytes(5) + classBytes(2));
        kill(block);
        const { misses } = pool;
        const next = pool.take(5);
        expect(next).not.toBe(block);
        expect(next.dead).not.toBe(true);
        expect(pool.misses).toBe(misses + 1);
        expect(shelf.held).toBe(classBytes(5));
        pool.give(next, 5);
        pool.shrink(0);
      }
      expect(pool).toMatchObject({ pooledBytes: 0, liveBuffers: 0, liveBytes: 0 });
      expect(shelf.held).toBe(0);
    }
  });

  it("tries a second time only where memory ran out and something rests", async () => {
    class Broken extends core.BackendDecorator {
      tries = 0;
      error: Error | undefined;
      override allocate(byteLength: number): core.BackendBuffer {
        this.tries++;
        if (this.error !== undefined) throw this.error;
        return super.allocate(byteLength);
      }
    }
    const broken = new Broken("broken", await cpu());
    const pool = new Pool(broken);
    const block = pool.take(1);
    const tries = (error: Error): number => {
      broken.error = error;
      broken.tries = 0;
      expect(() => pool.take(0)).toThrow(error);
      return broken.tries;
    };
    const full = new core.OutOfMemoryError("full", 256, 0);
    expect(tries(full)).toBe(1);
    pool.give(block, 1);
    expect(tries(new core.BackendError("broken"))).toBe(1);
    expect(pool.pooledBytes).toBe(classBytes(1));
    expect(tries(full)).toBe(2);
    expect(pool.pooledBytes).toBe(0);
  });

  it("gives a training step the blocks of the step before", async () => {
    const shelf = new Shelf(await cpu());
    await core.use(shelf);
    const w = core.parameter(core.ones([30, 30]));
    const step = (): void => {
      core.zeroGrad([w]);
      w.matmul(w).tanh().mul(w).sum().backward();
    };
    step();
    step();
    const { length } = shelf.sizes;
    for (let i = 0; i < 20; i++) step();
    expect(shelf.sizes).toHaveLength(length);
    core.releaseMemory();
    expect(shelf.held).toBe(core.memory().liveBytes);
  });
});
