// Writes one file as copies out of another and what is new in between; src/delta.ts reads it. The two modules differ in
// a few instructions, so this makes one of them nearly free.
const WINDOW = 8;
const SHORTEST = 12;

function number(bytes, value) {
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
}

function matchLength(base, from, target, at) {
  let length = 0;
  while (
    from + length < base.length &&
    at + length < target.length &&
    base[from + length] === target[at + length]
  )
    length++;
  return length;
}

/** Bytes that `applyDelta` of src/delta.ts turns back into `target`, given `base`. */
export function makeDelta(base, target) {
  const key = (bytes, at) => bytes.subarray(at, at + WINDOW).toString("latin1");
  const places = new Map();
  for (let at = 0; at + WINDOW <= base.length; at++) {
    const known = places.get(key(base, at));
    if (known === undefined) places.set(key(base, at), [at]);
    else if (known.length < 32) known.push(at);
  }
  const delta = [];
  number(delta, target.length);
  let written = 0;
  let expected = 0;
  // Each step: number of new bytes, those bytes, where to copy from (relative to the end of the last copy), how much.
  const step = (at, from, length) => {
    number(delta, at - written);
    delta.push(...target.subarray(written, at));
    const move = from - expected;
    number(delta, move < 0 ? -move * 2 - 1 : move * 2);
    number(delta, length);
    written = at + length;
    expected = from + length;
  };
  for (let at = 0; at < target.length; ) {
    let best = 0;
    let from = 0;
    // Going on shortly behind the last copy costs least.
    const near = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, -2, -4].map((by) => expected + (at - written) + by);
    for (const candidate of [...near.filter((place) => place >= 0), ...(places.get(key(target, at)) ?? [])]) {
      const length = matchLength(base, candidate, target, at);
      if (length > best) [best, from] = [length, candidate];
    }
    if (best >= SHORTEST) {
      step(at, from, best);
      at += best;
    } else at++;
  }
  if (written < target.length) step(target.length, expected, 0);
  return Buffer.from(delta);
}
