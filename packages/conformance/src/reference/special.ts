/*
 * Functions of one number that JavaScript's Math lacks, from their definitions, slowly.
 */

/** Error function: its Taylor series near 0, the continued fraction of erfc elsewhere. */
export function erf(x: number): number {
  // A zero keeps its sign, which the series would lose.
  if (Number.isNaN(x) || x === 0) return x;
  if (Math.abs(x) > 2.5) return x < 0 ? erfc(-x) - 1 : 1 - erfc(x);
  let term = x;
  let total = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

/** 1 - erf(x): by Lentz's continued fraction where that would cancel. */
export function erfc(x: number): number {
  if (Number.isNaN(x)) return x;
  if (x < 1.5) return 1 - erf(x);
  if (x > 30) return 0;
  let fraction = 0;
  for (let k = 400; k >= 1; k--) fraction = k / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: number): number {
  return x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x));
}

/** log(1 + e^x). */
export function softplus(x: number): number {
  return x > 30 ? x + Math.exp(-x) : Math.log1p(Math.exp(x));
}

/** Nearest whole number, half to even. */
export function roundEven(x: number): number {
  const near = Math.round(x);
  return Math.abs(x % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

/** Remainder with the divisor's sign. */
export function remainder(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** a to the power b as IEEE 754-2019 has it: 1 to the power NaN, and ±1 to an infinite one, are 1, unlike in JavaScript. */
export function power(a: number, b: number): number {
  return a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b;
}

/** max that lets NaN through. */
export function maximum(a: number, b: number): number {
  return Math.max(a, b);
}

/** min that lets NaN through. */
export function minimum(a: number, b: number): number {
  return Math.min(a, b);
}

const rotate = (x: number, by: number): number => ((x << by) | (x >>> (32 - by))) >>> 0;

/**
 * Threefry2x32 with 20 rounds, written from the paper: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011.
 */
export function threefry(
  key: readonly [number, number],
  counter: readonly [number, number],
): readonly [number, number] {
  const schedule = [key[0] >>> 0, key[1] >>> 0, (0x1bd11bda ^ key[0] ^ key[1]) >>> 0];
  let [a, b] = [(counter[0] + schedule[0]!) >>> 0, (counter[1] + schedule[1]!) >>> 0];
  for (let group = 0; group < 5; group++) {
    for (const by of group % 2 === 0 ? [13, 15, 26, 6] : [17, 29, 16, 24]) {
      a = (a + b) >>> 0;
      b = (rotate(b, by) ^ a) >>> 0;
    }
    a = (a + schedule[(group + 1) % 3]!) >>> 0;
    b = (b + schedule[(group + 2) % 3]! + group + 1) >>> 0;
  }
  return [a, b];
}
