const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const PARITY = 0x1bd11bda;

/**
 * Threefry2x32 with 20 rounds: mixes the counter `(c0, c1)` under the key `(k0, k1)` into two random words. Counter
 * based, so element i of a random tensor needs nothing but its key and i.
 *
 * Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; known answers in the tests.
 */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): readonly [number, number] {
  const keys = [k0 >>> 0, k1 >>> 0, (PARITY ^ k0 ^ k1) >>> 0] as const;
  let x0 = (c0 + keys[0]) >>> 0;
  let x1 = (c1 + keys[1]) >>> 0;
  for (let round = 0; round < 20; round++) {
    const rotation = ROTATIONS[round % 8] as number;
    x0 = (x0 + x1) >>> 0;
    x1 = ((x1 << rotation) | (x1 >>> (32 - rotation))) >>> 0;
    x1 = (x1 ^ x0) >>> 0;
    if (round % 4 === 3) {
      const injection = (round + 1) / 4;
      x0 = (x0 + (keys[injection % 3] as number)) >>> 0;
      x1 = (x1 + (keys[(injection + 1) % 3] as number) + injection) >>> 0;
    }
  }
  return [x0, x1];
}

/** One word of {@link threefry2x32}. */
export function threefryWord(word: number, k0: number, k1: number, c0: number, c1: number): number {
  return threefry2x32(k0, k1, c0, c1)[word === 0 ? 0 : 1];
}
