import { noGrad } from "@nf/core";
import type { Module } from "@nf/nn";

/**
 * Runs a synchronous function in evaluation mode without gradients, and brings back the mode that each module was in, so
 * that a text can be generated in the midst of training.
 */
export function evaluating<T>(model: Module, fn: () => T): T {
  const training = model.modules().filter((module) => module.training);
  for (const module of training) module.training = false;
  try {
    return noGrad(fn);
  } finally {
    for (const module of training) module.training = true;
  }
}
