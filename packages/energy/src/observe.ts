import { OptionError, Tensor } from "@nf/core";
import { Module } from "@nf/nn";

/** One call of a module: what it took and gave, still part of the graph. */
export interface Activation {
  /** Dotted name from the model; empty for the model itself. */
  readonly path: string;
  readonly module: Module;
  /** Whether the module has none below it. */
  readonly leaf: boolean;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** What {@link observe} returns. */
export interface Observed<T> {
  /** What `run` returned. */
  readonly result: T;
  /** Every call of a module of the model, in the order in which they ended. */
  readonly activations: readonly Activation[];
}

/**
 * Runs a function and keeps what goes in and out of every module of a model meanwhile: loss terms and reports are made
 * of it. Tensors are kept as they are, so the function and the terms belong into one scope.
 *
 * @throws OptionError for what is no module, and for a function that returns a promise.
 *
 * @example
 * ```ts no-run
 * const { result, activations } = observe(model, () => model.forward(x));
 * const loss = add(criterion.forward(result, y), mul(flopShare(activations), 0.1));
 * ```
 */
export function observe<T>(model: Module, run: () => T): Observed<T> {
  const activations: Activation[] = [];
  if (!(model instanceof Module))
    throw new OptionError("observe: expected a module and a function, got another thing as the module.");
  if (typeof run !== "function")
    throw new OptionError("observe: expected a function that runs the model, after the model.");
  const stops = model.namedModules().map(([path, module]) => {
    const leaf = module.children().length === 0;
    return module.registerForwardHook((_, inputs: readonly unknown[], result: unknown) => {
      activations.push({ path, module, leaf, inputs: tensorsIn(inputs), outputs: tensorsIn(result) });
      return undefined;
    });
  });
  try {
    const result = run();
    if (result instanceof Promise)
      throw new OptionError(
        "observe: the function must run the model at once, but it returned a promise. Await what it needs before.",
      );
    return { result, activations };
  } finally {
    for (const stop of stops) stop();
  }
}

function tensorsIn(value: unknown): readonly Tensor[] {
  if (value instanceof Tensor) return [value];
  return Array.isArray(value) ? value.flatMap(tensorsIn) : [];
}
