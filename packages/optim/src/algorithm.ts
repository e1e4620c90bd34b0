import type { Update } from "@nf/core";

/** What one step of one parameter runs. */
export interface Step {
  /** The program: its state is the parameter and then the tensors of `Algorithm.slots`; its one input the gradient. */
  readonly update: Update;
  /** The numbers of this step, for the program's runtime parameters. */
  readonly numbers: readonly number[];
}

/** An optimiser apart from how it is used: its class and its pure function share it. */
export interface Algorithm<O extends object> {
  /** Class name, for messages. */
  readonly name: string;
  readonly defaults: O;
  /** Refuses values out of their domain. */
  check(options: O): void;
  /** Names of the tensors that it keeps for each parameter. They start at zero, shaped like the parameter. */
  slots(options: O): readonly string[];
  /**
   * @param count number of this step of the parameter, from 1.
   * @param fresh whether a slot was made just now.
   * @param carried what `carry` gave for this step.
   */
  step(options: O, count: number, fresh: boolean, carried: number | undefined): Step;
  /**
   * A number of each parameter that follows from that of the step before and the settings of this one.
   *
   * @param before the number after the step before; undefined at the first.
   */
  carry?(options: O, count: number, before: number | undefined): number;
}

/** What an algorithm carries into a step; where nothing is known of the steps before, as if all had had these settings. */
export function carriedTo<O extends object>(
  algorithm: Algorithm<O>,
  options: O,
  count: number,
  before: number | undefined,
): number | undefined {
  if (algorithm.carry === undefined) return undefined;
  let carried = before;
  for (let step = before === undefined ? 1 : count; step <= count; step++)
    carried = algorithm.carry(options, step, carried);
  return carried;
}
