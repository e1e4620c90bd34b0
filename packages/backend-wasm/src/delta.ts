/**
 * The bytes that a delta (scripts/delta.mjs) makes of a base: alternately new bytes and copies out of the base. The two
 * modules of this package differ in a few instructions, so one of them travels as a delta.
 */
export function applyDelta(base: Uint8Array, delta: Uint8Array): Uint8Array {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = delta[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  };
  const target = new Uint8Array(number());
  let written = 0;
  let expected = 0;
  while (at < delta.length) {
    const fresh = number();
    target.set(delta.subarray(at, at + fresh), written);
    at += fresh;
    written += fresh;
    const move = number();
    const from = expected + (move % 2 === 1 ? -(move + 1) / 2 : move / 2);
    const length = number();
    target.set(base.subarray(from, from + length), written);
    written += length;
    expected = from + length;
  }
  return target;
}
