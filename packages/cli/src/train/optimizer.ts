import type { Tensor } from "@nf/core";
import { Adam, SGD } from "@nf/optim";
import type { OptimizerName } from "../options.ts";

/** Adam's usual 0.999 looks back over 1,000 steps, as many as a short run has; 0.99 follows the gradients' size sooner. */
const BETAS = [0.9, 0.99] as const;

/** An optimiser whose learning rate may change from step to step. */
export type Optimizer = Adam | SGD;

/** Makes the optimiser of that name. SGD goes with momentum 0.9. */
export function createOptimizer(name: OptimizerName, parameters: readonly Tensor[], lr: number): Optimizer {
  return name === "adam"
    ? new Adam(parameters, { lr, betas: BETAS })
    : new SGD(parameters, { lr, momentum: 0.9 });
}
