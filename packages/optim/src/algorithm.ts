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
   */
  step(options: O, count: number, fresh: boolean): Step;
}
