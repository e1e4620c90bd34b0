import { Generator, permutation, threefry2x32 } from "@nf/core";

/** A draw that no generator reaches by counting: sets shuffling apart from other uses of the same seed. */
const SHUFFLE_DRAW = [0x73687566, 0xffffffff] as const;

/**
 * The order of a dataset's items in one epoch: a permutation whose key is made from seed and epoch by Threefry2x32, so
 * that any epoch's order is had without those before, and is the same on every platform.
 */
export function epochOrder(length: number, seed: number, epoch: number): Int32Array {
  const generator = new Generator(seed);
  const [key0, key1] = generator.state().key;
  generator.setState({ key: threefry2x32(key0, key1, ...SHUFFLE_DRAW), counter: epoch });
  return permutation(length, generator);
}

/**
 * A generator for one purpose in one epoch, and for one item where `index` is given. Generators of other purposes,
 * epochs and items are independent of it.
 *
 * @param purpose four letters as a word, which set one use of a seed apart from the others.
 */
export function generatorFor(seed: number, purpose: number, epoch: number, index = 0): Generator {
  const generator = new Generator(seed);
  const [seed0, seed1] = generator.state().key;
  const inEpoch = threefry2x32(seed0, seed1, purpose, 0xffffffff);
  const key = threefry2x32(inEpoch[0], inEpoch[1], epoch >>> 0, Math.floor(epoch / 2 ** 32));
  generator.setState({ key: threefry2x32(key[0], key[1], index >>> 0, 0xffffffff), counter: 0 });
  return generator;
}

/** A number from 0 to below 1, of 53 random bits. */
export function uniform(generator: Generator): number {
  const [high, low] = generator.next();
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/** A whole number from 0 to below `count`. */
export function below(generator: Generator, count: number): number {
  return Math.floor(uniform(generator) * count);
}
