import { type FunctionBody, SIMD, V128 } from "./code.ts";

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const PARITY = 0x1bd11bda;

/**
 * Threefry2x32 with 20 rounds on four counters at a time, as in core's threefry.ts. Leaves word 0, word 1, or with `which`
 * 2 both on the stack.
 */
export function emitThreefry(
  body: FunctionBody,
  args: readonly number[],
  value: (slot: number) => void,
  which: number,
): void {
  const [k0 = 0, k1 = 0, c0 = 0, c1 = 0] = args;
  const keys = [body.local(V128), body.local(V128), body.local(V128)];
  const x = body.local(V128);
  const y = body.local(V128);
  const key = (index: number): number => keys[index % 3] as number;
  value(k0);
  body.set(key(0));
  value(k1);
  body.set(key(1));
  body.lanes(PARITY).get(key(0)).simd(SIMD.xor).get(key(1)).simd(SIMD.xor).set(key(2));
  value(c0);
  body.get(key(0)).simd(SIMD.addI).set(x);
  value(c1);
  body.get(key(1)).simd(SIMD.addI).set(y);
  for (let round = 0; round < 20; round++) {
    const rotation = ROTATIONS[round % 8] as number;
    body.get(x, y).simd(SIMD.addI).set(x);
    body.get(y).int(rotation).simd(SIMD.shl);
    body
      .get(y)
      .int(32 - rotation)
      .simd(SIMD.shrU)
      .simd(SIMD.or);
    body.get(x).simd(SIMD.xor).set(y);
    if (round % 4 === 3) {
      const injection = (round + 1) / 4;
      body.get(x, key(injection)).simd(SIMD.addI).set(x);
      body
        .get(y, key(injection + 1))
        .simd(SIMD.addI)
        .lanes(injection)
        .simd(SIMD.addI)
        .set(y);
    }
  }
  if (which !== 1) body.get(x);
  if (which !== 0) body.get(y);
}
