import { checkInteger, checkOptions, DTYPES, type DType, OptionError, type Tensor } from "@nf/core";
import { show } from "../check.ts";
import { Module } from "../module/module.ts";
import { renderTable } from "./table.ts";
import { type InputSpec, type Shapes, traceCalls } from "./trace.ts";

/** Options of {@link inspect}, {@link inspectModel} and {@link summary}. */
export interface InspectOptions {
  /** Samples in the batch that is sent through; default 1. */
  readonly batch?: number;
  /** dtype of the input; default `f32`. Models of tokens take `i32`. For several inputs, one for all or a list. */
  readonly dtype?: DType | readonly DType[];
  /** Whether to count floating-point operations, and show them; default false. */
  readonly flops?: boolean;
  /** Whether to count the bytes that kernels read and write, and show them; default false. */
  readonly bytes?: boolean;
}

/** Shape of one sample, without the batch: `[1, 28, 28]`; or a list of them for a model of several inputs. */
export type InputShapes = readonly number[] | readonly (readonly number[])[];

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
  /** Floating-point operations of all its calls and what is below it, where they were asked for. */
  readonly flops?: number;
  /** Bytes read and written by all its calls and what is below it, where they were asked for. */
  readonly bytes?: number;
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
 * the model lives on. Mode and random state are as before afterwards. Operations and bytes are counted on a backend that
 * computes nothing and has every fused kernel; a model that reads values of tensors gets zeros there.
 *
 * @param inputShape shape of one sample, without the batch: `[1, 28, 28]`; a list of shapes for several inputs.
 * @throws OptionError for what is no model, no shape, or an option that makes no sense.
 *
 * @example
 * ```ts no-run
 * import { Flatten, inspect, Linear, sequential } from "@nf/nn";
 *
 * console.log(inspect(sequential(new Flatten(), new Linear(784, 10)), [1, 28, 28], { flops: true }));
 * ```
 */
export function inspect(model: Module, inputShape: InputShapes, options: InspectOptions = {}): string {
  return renderTable(inspectModel(model, inputShape, options));
}

/** A {@link Summary} of a model: text and data in one. */
export function summary(model: Module, inputShape: InputShapes, options: InspectOptions = {}): Summary {
  return new Summary(inspectModel(model, inputShape, options));
}

/** An inspection that is the table of {@link inspect} in a text (`String(…)`, `${…}`), and its data in `JSON.stringify`. */
export class Summary implements Inspection {
  readonly rows: readonly InspectRow[];
  readonly parameters: number;
  readonly trainable: number;
  readonly buffers: number;
  readonly bytes: number;

  constructor({ rows, parameters, trainable, buffers, bytes }: Inspection) {
    this.rows = rows;
    this.parameters = parameters;
    this.trainable = trainable;
    this.buffers = buffers;
    this.bytes = bytes;
  }

  /** The table. */
  toString(): string {
    return renderTable(this);
  }
}

/** What {@link inspect} shows, as data. */
export function inspectModel(
  model: Module,
  inputShape: InputShapes,
  options: InspectOptions = {},
): Inspection {
  checkOptions("inspect", options, ["batch", "dtype", "flops", "bytes"]);
  const { flops = false, bytes = false } = options;
  for (const [name, value] of Object.entries({ flops, bytes })) {
    if (typeof value !== "boolean")
      throw new OptionError(`inspect: ${name} must be true or false, got ${show(value)}.`);
  }
  if (!(model instanceof Module)) throw new OptionError(`inspect: expected a module, got ${show(model)}.`);
  const calls = traceCalls(model, inputsOf(inputShape, options), flops || bytes);
  const rows: InspectRow[] = [];
  const seen = new Set<Module>();
  const visit = (module: Module, path: string, name: string, depth: number): void => {
    if (seen.has(module)) return;
    seen.add(module);
    const call = calls.get(module);
    rows.push({
      path,
      name,
      type: module.typeName(),
      depth,
      inputs: call?.inputs,
      outputs: call?.outputs,
      parameters: elements(module.parameters()),
      ...(flops && { flops: call?.flops ?? 0 }),
      ...(bytes && { bytes: call?.bytes ?? 0 }),
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

/** What to send through a model. */
function inputsOf(
  inputShape: InputShapes,
  { batch = 1, dtype = "f32" }: InspectOptions,
): readonly InputSpec[] {
  if (!Array.isArray(inputShape)) {
    throw new OptionError(
      `inspect: inputShape must be the shape of one sample without the batch, like [1, 28, 28], got ${show(inputShape)}.`,
    );
  }
  checkInteger("inspect", "batch", batch, 1);
  const several = inputShape.length > 0 && inputShape.every((entry: unknown) => Array.isArray(entry));
  const shapes = (several ? inputShape : [inputShape]) as readonly (readonly number[])[];
  for (const size of shapes.flat()) checkInteger("inspect", "each size of inputShape", size, 0);
  const dtypes: readonly DType[] = Array.isArray(dtype) ? dtype : shapes.map(() => dtype as DType);
  if (dtypes.length !== shapes.length) {
    throw new OptionError(
      `inspect: dtype must be one for all inputs or a list of ${shapes.length}, got ${dtypes.length}.`,
    );
  }
  for (const one of dtypes) {
    if (!Object.hasOwn(DTYPES, one))
      throw new OptionError(
        `inspect: dtype must be one of ${Object.keys(DTYPES).join(", ")}, got ${show(one)}.`,
      );
  }
  return shapes.map((shape, i) => ({ shape: [batch, ...shape], dtype: dtypes[i] as DType }));
}

function elements(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensor.size, 0);
}
