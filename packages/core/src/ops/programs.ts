import type { ValueType } from "../autograd/tape.ts";
import type { ReduceKind } from "../backend/call.ts";
import { broadcastAxes, broadcastShapes, expandView, sameShape } from "../backend/geometry.ts";
import { contiguousView, type Shape, type View } from "../backend/view.ts";
import { cached } from "../cache.ts";
import { type ComputeDType, DTYPES, type DType } from "../dtype.ts";
import type { Device } from "../runtime/device.ts";
import { type Derivative, type DerivativeUse, derivative } from "../scalar/differentiate.ts";
import type * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import { type Tensor, viewsOf } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import type { Gradient, GradientContext, Op } from "./op.ts";
import { allocate, allocateEach, distinctBuffers, endAll, execute, runMap, withTemporaries } from "./run.ts";
import { viewOp, withUnitDims } from "./views.ts";

/*
 * The two operations that run scalar programs: `map` at every point, and `reduce` over axes. They stand together
 * because each one's derivative is made of both.
 */

/** A program with its runtime numbers, and what its outputs are stored as. */
export interface MapAttributes {
  readonly program: Program;
  readonly params: readonly number[];
  /** Storage dtype of each output. */
  readonly dtypes: readonly DType[];
  /** Iteration space of programs without inputs; others broadcast their inputs. */
  readonly shape?: Shape;
}

/** A program fused in front of a reduction. */
export interface ReduceAttributes extends MapAttributes {
  /** How each output of the program is combined. */
  readonly kinds: readonly ReduceKind[];
  /** Reduced axes of the iteration space, ascending, not empty. */
  readonly axes: readonly number[];
  /** Iteration space that the inputs broadcast to. */
  readonly shape: Shape;
  /** Shape of the results: the iteration space with the axes of size 1, or (some of) them left out. */
  readonly resultShape: Shape;
}

const MAP_GRADIENT: Gradient<MapAttributes> = {
  save(inputs, outputs, needs, { program }) {
    return valuesOf(planOf(program, needs, inputs, (outputs[0] as Tensor).shape, true), inputs, outputs);
  },
  vjp: (context) => programGradients(context, (context.outputs[0] as ValueType).shape, true),
};

/** Sums alone have this derivative; other reductions take theirs from how they are composed. */
const SUM_GRADIENT: Gradient<ReduceAttributes> = {
  save: (inputs, _outputs, needs, { program, shape }) =>
    valuesOf(planOf(program, needs, inputs, shape, false), inputs),
  vjp(context) {
    const { shape, axes } = context.attributes;
    const kept = keptShape(shape, axes);
    const gradients = context.gradients.map((gradient) => gradient && withUnitDims(gradient, kept));
    const outputs = context.outputs.map(({ dtype }) => ({ shape: kept, dtype }));
    return programGradients({ ...context, gradients, outputs }, shape, false);
  },
};

/** The operation that evaluates a scalar program at every point of its broadcast inputs. */
export function mapOp(name: string): Op<MapAttributes> {
  return { name, forward: forwardMap, gradient: MAP_GRADIENT };
}

/** The operation that evaluates a program and combines its outputs over axes. */
export function reduceOp(name: string): Op<ReduceAttributes> {
  return { name, forward: forwardReduce, gradient: SUM_GRADIENT };
}

function memoized<A>(make: (name: string) => Op<A>): (program: Program) => Op<A> {
  const known = new WeakMap<Program, Op<A>>();
  return (program) => cached(known, program, () => make(program.name));
}

const mapOpOf: (program: Program) => Op<MapAttributes> = /* @__PURE__ */ memoized(mapOp);
const reduceOpOf: (program: Program) => Op<ReduceAttributes> = /* @__PURE__ */ memoized(reduceOp);

function forwardMap(
  this: Op<MapAttributes>,
  inputs: readonly Tensor[],
  { program, params, dtypes, shape: given }: MapAttributes,
  device: Device,
): readonly Tensor[] {
  let shape = given ?? (inputs[0] as Tensor).view.shape;
  for (let i = 0; i < inputs.length; i++) {
    const own = (inputs[i] as Tensor).view.shape;
    if (own !== shape) shape = broadcastShapes(this.name, shape, own);
  }
  const outputs = allocateEach(dtypes, (dtype) => allocate(device, dtype, shape, this.name));
  // Not `guarded`: its closure would cost every eager operation more than the rest of this function.
  try {
    runMap(device, program, viewsOf(inputs), viewsOf(outputs), params);
  } catch (error) {
    endAll(outputs);
    throw error;
  }
  return outputs;
}

function forwardReduce(
  this: Op<ReduceAttributes>,
  inputs: readonly Tensor[],
  { program, params, dtypes, kinds, axes, shape, resultShape }: ReduceAttributes,
  device: Device,
): readonly Tensor[] {
  const outputs = allocateEach(dtypes, (dtype) => allocate(device, dtype, resultShape, this.name));
  const first = outputs[0] as Tensor;
  if (first.size === 0) return outputs;
  return guarded(outputs, () => {
    if (shape.includes(0)) {
      outputs.forEach((output, i) => {
        fillIdentity(device, output, kinds[i] as ReduceKind);
      });
      return;
    }
    const kept = keptShape(shape, axes);
    const inputViews = inputs.map((input) => expandView(input.view, shape));
    const outputViews = outputs.map((output) => contiguousView(output.view.buffer, output.dtype, kept));
    const buffers = distinctBuffers(inputViews, outputViews);
    if (buffers.length > device.backend.capabilities.maxBuffersPerCall) {
      reduceInParts(device, program, inputViews, outputViews, params, { kinds, axes }, shape);
      return;
    }
    // Written out: spreading objects costs more here than all the rest.
    execute(device, {
      kernel: "reduce",
      program,
      buffers,
      inputs: inputViews,
      outputs: outputViews,
      params,
      attributes: { kinds, axes },
    });
  });
}

/** Reduces what takes more buffers than the backend binds at once: the program first, then its outputs one by one. */
function reduceInParts(
  device: Device,
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
  params: readonly number[],
  { kinds, axes }: Pick<ReduceAttributes, "kinds" | "axes">,
  shape: Shape,
): void {
  withTemporaries((temporaries) => {
    for (const { dtype } of program.results) temporaries.push(allocate(device, dtype, shape, program.name));
    const values = viewsOf(temporaries);
    runMap(device, program, inputs, values, params);
    values.forEach((value, i) => {
      const output = outputs[i] as View;
      execute(device, {
        kernel: "reduce",
        program: identityProgram((program.results[i] as s.Expr).dtype),
        buffers: [value.buffer, output.buffer],
        inputs: [value],
        outputs: [output],
        params: [],
        attributes: { kinds: [kinds[i] as ReduceKind], axes },
      });
    });
  });
}

/** A shape with size 1 on some axes. */
export function keptShape(shape: Shape, axes: readonly number[]): Shape {
  const kept = shape.slice();
  for (let i = 0; i < axes.length; i++) kept[axes[i] as number] = 1;
  return kept;
}

/** What a reduction over nothing gives. Maximum and minimum have no such value; they are refused before. */
function fillIdentity(device: Device, output: Tensor, kind: ReduceKind): void {
  runMap(
    device,
    fillProgram(DTYPES[output.dtype].compute),
    [],
    [output.view],
    [kind === "prod" || kind === "all" ? 1 : 0],
  );
}

/** Runs kernels into outputs; if they throw, the outputs end. */
export function guarded(outputs: readonly Tensor[], run: () => void): readonly Tensor[] {
  try {
    run();
  } catch (error) {
    endAll(outputs);
    throw error;
  }
  return outputs;
}

/** A program from a table of one per compute dtype, built at first use. */
export function perDType(build: (dtype: ComputeDType) => Program): (dtype: ComputeDType) => Program {
  const known = new Map<ComputeDType, Program>();
  return (dtype) => cached(known, dtype, () => build(dtype));
}

/** The program that writes its one parameter everywhere. */
export const fillProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program("full", [], [dtype], (_inputs, [value]) => value as s.Expr),
);

/** The program that passes its input on: copies, conversions of storage, plain reductions. */
export const identityProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program("copy", [dtype], [], ([x]) => x as s.Expr),
);

const FULL: Op<MapAttributes> = /* @__PURE__ */ mapOp("full");
const COPY: Op<MapAttributes> = /* @__PURE__ */ mapOp("copy");

/** A tensor of one value. */
export function filled(device: Device, shape: Shape, dtype: DType, value: number): Tensor {
  const attributes = { program: fillProgram(DTYPES[dtype].compute), params: [value], dtypes: [dtype], shape };
  return apply(FULL, [], attributes, device)[0] as Tensor;
}

/** A dense row-major copy. */
export function copied(x: Tensor): Tensor {
  const program = identityProgram(DTYPES[x.dtype].compute);
  return apply(COPY, [x], { program, params: [], dtypes: [x.dtype] })[0] as Tensor;
}

/** The tensor itself where it is dense and row-major, else a copy that is. */
export function contiguous(x: Tensor): Tensor {
  return x.view.contiguous ? x : copied(x);
}

/** Sum over axes of a program's only output. */
export function sumOfProgram(
  program: Program,
  params: readonly number[],
  inputs: readonly Tensor[],
  shape: Shape,
  axes: readonly number[],
  resultShape: Shape,
  dtype: DType,
): Tensor {
  const attributes = { program, params, dtypes: [dtype], kinds: SUM, axes, shape, resultShape };
  return apply(reduceOpOf(program), inputs, attributes)[0] as Tensor;
}

const SUM: readonly ReduceKind[] = ["sum"];

/** Sums a gradient over the axes along which a value of shape `shape` was broadcast. */
export function sumToShape(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const axes = broadcastAxes(shape, gradient.shape);
  if (axes.length === 0) return withUnitDims(gradient, shape);
  const program = identityProgram(DTYPES[gradient.dtype].compute);
  return sumOfProgram(program, [], [gradient], gradient.shape, axes, shape, gradient.dtype);
}

const EXPAND: Op<{ readonly shape: Shape }> = /* @__PURE__ */ viewOp(
  "expand",
  (view, { shape }) => expandView(view, shape),
  (gradient, inputShape) => sumToShape(gradient, inputShape),
);

/** Repeats a tensor to a shape that it broadcasts to, without a copy. */
export function expandTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : (apply(EXPAND, [x], { shape })[0] as Tensor);
}

/** A derivative, and where its operands are: places among the saved values, and ~place among the gradients. */
interface Rule extends Derivative {
  readonly places: readonly number[];
}

/** How the gradients of a program's inputs are had. */
interface Plan {
  /** Of each input: not wanted, of full shape, or to be summed because it was broadcast; then if outputs are saved. */
  readonly ways: readonly number[];
  /** Forward values that the rules read, each once. */
  readonly uses: readonly DerivativeUse[];
  /** One rule for all gradients of full shape. */
  readonly together: Rule | undefined;
  /** The others' rules. */
  readonly alone: readonly (Rule | undefined)[];
}

/** The values that a plan's rules read. */
function valuesOf(
  { uses }: Plan,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[] = inputs,
): readonly Tensor[] {
  const values = new Array<Tensor>(uses.length);
  for (let i = 0; i < uses.length; i++) {
    const { from, index } = uses[i] as DerivativeUse;
    values[i] = (from === "input" ? inputs : outputs)[index] as Tensor;
  }
  return values;
}

const plansByProgram = new WeakMap<Program, Plan[]>();

function planOf(
  program: Program,
  needs: readonly boolean[],
  inputs: readonly { readonly shape: Shape }[],
  shape: Shape,
  outputsSaved: boolean,
): Plan {
  const ways = new Array<number>(needs.length + 1);
  for (let i = 0; i < needs.length; i++)
    ways[i] = needs[i] === true ? (sameShape((inputs[i] as ValueType).shape, shape) ? 1 : 2) : 0;
  ways[needs.length] = outputsSaved ? 1 : 0;
  const plans = cached(plansByProgram, program, () => []);
  for (const plan of plans) if (sameShape(plan.ways, ways)) return plan;
  const uses: DerivativeUse[] = [];
  const placeOf = ({ from, index }: DerivativeUse): number =>
    uses.findIndex((known) => known.from === from && known.index === index);
  needs.forEach((need, index) => {
    if (!need) return;
    for (const use of derivative(program, [index], outputsSaved).uses)
      if (use.from !== "gradient" && placeOf(use) < 0) uses.push(use);
  });
  const rule = (wanted: readonly number[]): Rule => {
    const found = derivative(program, wanted, outputsSaved);
    const places = found.uses.map((use) => (use.from === "gradient" ? ~use.index : placeOf(use)));
    return { ...found, places };
  };
  const full = needs.flatMap((_, index) => (ways[index] === 1 ? [index] : []));
  const alone = needs.map((_, index) => (ways[index] === 2 ? rule([index]) : undefined));
  const plan: Plan = { ways, uses, together: full.length > 0 ? rule(full) : undefined, alone };
  plans.push(plan);
  return plan;
}

/**
 * Gradients of a program's inputs. Those of full shape come from one program with several outputs; those of inputs
 * that were broadcast from a sum with the derivative fused in front.
 */
function programGradients(
  context: GradientContext<MapAttributes>,
  shape: Shape,
  outputsSaved: boolean,
): readonly (Tensor | undefined)[] {
  const { program, params } = context.attributes;
  const { needs, inputs, saved } = context;
  const { device } = context.gradients.find((gradient) => gradient !== undefined) as Tensor;
  const gradients = context.outputs.map(
    (type, i) => context.gradients[i] ?? filled(device, type.shape, type.dtype, 0),
  );
  const { ways, together, alone } = planOf(program, needs, inputs, shape, outputsSaved);
  const operandsOf = ({ places }: Rule): readonly Tensor[] =>
    places.map((place) => (place < 0 ? gradients[~place] : saved[place]) as Tensor);

  let made: readonly Tensor[] = [];
  if (together !== undefined) {
    const operands = operandsOf(together);
    const dtypes = inputs.filter((_, i) => ways[i] === 1).map(({ dtype }) => dtype);
    const passed = isIdentity(together) ? (operands[0] as Tensor) : undefined;
    made =
      passed !== undefined && dtypes.every((dtype) => dtype === passed.dtype)
        ? dtypes.map(() => expandTo(passed, shape))
        : apply(
            mapOpOf(together.program),
            operands,
            { program: together.program, params, dtypes, shape },
            device,
          );
  }
  let next = 0;
  return alone.map((rule, i) => {
    if (rule === undefined) return ways[i] === 1 ? made[next++] : undefined;
    const { shape: own, dtype } = inputs[i] as ValueType;
    const operands = operandsOf(rule);
    return operands.length === 0
      ? filled(device, own, dtype, 0)
      : sumOfProgram(rule.program, params, operands, shape, broadcastAxes(own, shape), own, dtype);
  });
}

/** Whether a derivative hands the gradient through unchanged to every wanted input (sums, copies). */
function isIdentity({ program, uses }: Derivative): boolean {
  return (
    uses.length === 1 &&
    uses[0]?.from === "gradient" &&
    program.results.every((result) => result.op === "input")
  );
}
