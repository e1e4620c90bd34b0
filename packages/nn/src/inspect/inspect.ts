import { checkInteger, checkOptions, DTYPES, type DType, OptionError, type Tensor } from "@nf/core";
import { show } from "../check.ts";
import { Module } from "../module/module.ts";
import { renderTable } from "./table.ts";
import { type Shapes, traceShapes } from "./trace.ts";

/** Options of {@link inspect} and {@link inspectModel}. */
export interface InspectOptions {
  /** Samples in the batch that is sent through; default 1. */
  readonly batch?: number;
  /** dtype of the input; default `f32`. Models of tokens take `i32`. */
  readonly dtype?: DType;
}

/** One module of an inspected model. */
export interface InspectRow {
  /** Dotted name from the root; empty for the root. */
  readonly path: string;
  /** Name in its parent; empty for the root. */
  readonly name: string;
  /** Class of the module. */
  readonly type: string;
  /** 0 for the root, 1 for its children, … */
  readonly depth: number;
  /** Shapes of its inputs in its first call; undefined if it was not called. */
  readonly inputs: Shapes | undefined;
  /** Shapes of its results in its first call; undefined if it was not called. */
  readonly outputs: Shapes | undefined;
  /** Parameters in it and below it, each shared one counted once. */
  readonly parameters: number;
}

/** What {@link inspectModel} finds, ready for JSON. */
export interface Inspection {
  /** The module and all below it, parents before children. */
  readonly rows: readonly InspectRow[];
  /** Elements of all parameters. */
  readonly parameters: number;
  /** Elements of the parameters that require a gradient. */
  readonly trainable: number;
  /** Elements of all buffers. */
  readonly buffers: number;
  /** Bytes of all parameters and buffers. */
  readonly bytes: number;
}

/**
 * A table of a model: each module with its type, input and output shapes and parameter count, nested ones drawn with
 * tree lines, totals at the foot.
 *
 * The shapes come from a real forward pass of zeros, in evaluation mode and without gradients, on the backend that
 * the model lives on. Mode and random state are as before afterwards.
 *
 * @param inputShape shape of one sample, without the batch: `[1, 28, 28]`.
 * @throws OptionError for what is no model, no shape, or an option that makes no sense.
 *
 * @example
 * ```ts no-run
 * import { Flatten, inspect, Linear, sequential } from "@nf/nn";
 *
 * console.log(inspect(sequential(new Flatten(), new Linear(784, 10)), [1, 28, 28]));
 * ```
 */
export function inspect(model: Module, inputShape: readonly number[], options: InspectOptions = {}): string {
  return renderTable(inspectModel(model, inputShape, options));
}

/** What {@link inspect} shows, as data. */
export function inspectModel(
  model: Module,
  inputShape: readonly number[],
  options: InspectOptions = {},
): Inspection {
  checkOptions("inspect", options, ["batch", "dtype"]);
  const { batch = 1, dtype = "f32" } = options;
  if (!(model instanceof Module)) throw new OptionError(`inspect: expected a module, got ${show(model)}.`);
  if (!Array.isArray(inputShape)) {
    throw new OptionError(
      `inspect: inputShape must be the shape of one sample without the batch, like [1, 28, 28], got ${show(inputShape)}.`,
    );
  }
  for (const size of inputShape) checkInteger("inspect", "each size of inputShape", size, 0);
  checkInteger("inspect", "batch", batch, 1);
  if (!Object.hasOwn(DTYPES, dtype))
    throw new OptionError(
      `inspect: dtype must be one of ${Object.keys(DTYPES).join(", ")}, got ${show(dtype)}.`,
    );
  const calls = traceShapes(model, [batch, ...inputShape], dtype);
  const rows: InspectRow[] = [];
  const seen = new Set<Module>();
  const visit = (module: Module, path: string, name: string, depth: number): void => {
    if (seen.has(module)) return;
    seen.add(module);
    const call = calls.get(module);
    const parameters = elements(module.parameters());
    rows.push({
      path,
      name,
      type: module.constructor.name,
      depth,
      inputs: call?.inputs,
      outputs: call?.outputs,
      parameters,
    });
    for (const [key, child] of module.namedChildren())
      visit(child, path === "" ? key : `${path}.${key}`, key, depth + 1);
  };
  visit(model, "", "", 0);
  const parameters = model.parameters();
  const buffers = model.buffers();
  return {
    rows,
    parameters: elements(parameters),
    trainable: elements(parameters.filter((parameter) => parameter.requiresGrad)),
    buffers: elements(buffers),
    bytes: [...parameters, ...buffers].reduce(
      (sum, tensor) => sum + tensor.size * DTYPES[tensor.dtype].bytes,
      0,
    ),
  };
}

function elements(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensor.size, 0);
}
