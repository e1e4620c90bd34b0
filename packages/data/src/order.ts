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
