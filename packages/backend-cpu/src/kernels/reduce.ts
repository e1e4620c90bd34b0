import {
  blockInterpreter,
  coordinateStrides,
  forEachBlock,
  loadElements,
  type MergedSpace,
  mergeDimensions,
  type Program,
  type ReduceCall,
  type ReduceKind,
  storeElements,
  type View,
} from "@nf/core";
import { elementsOf } from "../buffer.ts";
import { innerStep } from "../codegen/loops.ts";
import { Plans, sameNumbers } from "../codegen/plans.ts";
import { compileReduce, type ReduceLayout } from "../codegen/reduce.ts";
import { type CompiledKernel, dtypesOf } from "../codegen/variants.ts";
import { ByProgram, type Context } from "../context.ts";

/** Shortest kept last dimension that is worth accumulating side by side. */
const SIDE_BY_SIDE = 4;

interface Variant {
  readonly layout: ReduceLayout;
  readonly run: CompiledKernel;
}

/** A call worked out: its space, and the kernel for it. */
interface Plan {
  readonly axes: readonly number[];
  readonly kinds: readonly ReduceKind[];
  readonly shape: readonly number[];
  /** View by view. */
  readonly strides: readonly number[];
  readonly run: CompiledKernel;
}

/** Makes the `reduce` kernel: a program and the combination of its results in one compiled loop nest. */
export function makeReduce(context: Context): (call: ReduceCall) => void {
  if (!context.codegen) return interpretReduce;
  const programs = new ByProgram(() => new ReduceVariants());
  return (call) => {
    const { shape, strides, run } = programs.get(call.program).planOf(call);
    const views = [...call.inputs, ...call.outputs];
    run(
      views.map(elementsOf),
      views.map((view) => view.offset),
      shape,
      strides,
      call.params,
    );
  };
}

/** Compiled variants of one program. */
class ReduceVariants {
  private readonly variants: Variant[] = [];
  private readonly plans = new Plans<Plan>();

  planOf(call: ReduceCall): Plan {
    const { inputs, outputs, attributes } = call;
    const { axes, kinds } = attributes;
    let plan = this.plans.find(
      inputs,
      outputs,
      (known) => sameNumbers(known.axes, axes) && sameItems(known.kinds, kinds),
    );
    if (plan === undefined) {
      const space = reductionSpace(call);
      const run = this.kernelFor(call, space);
      plan = { axes, kinds, shape: space.shape, strides: space.strides.flat(), run };
      this.plans.add(inputs, outputs, plan);
    }
    return plan;
  }

  private kernelFor(
    { program, inputs, outputs, attributes }: ReduceCall,
    space: MergedSpace,
  ): CompiledKernel {
    const rank = space.shape.length;
    const reduced = reducedDimensions(space, inputs.length);
    const wanted: ReduceLayout = {
      rank,
      dtypes: dtypesOf(inputs, outputs),
      steps: space.strides.map((list) => innerStep(list[rank - 1] as number)),
      coordinates: space.dimensions,
      kinds: attributes.kinds,
      reduced,
      sideBySide: !(reduced[rank - 1] as boolean) && (space.shape[rank - 1] as number) >= SIDE_BY_SIDE,
    };
    let variant = this.variants.find(
      ({ layout }) =>
        layout.rank === rank &&
        layout.sideBySide === wanted.sideBySide &&
        sameItems(layout.reduced, reduced) &&
        sameItems(layout.kinds, attributes.kinds) &&
        sameNumbers(layout.steps, wanted.steps) &&
        sameNumbers(layout.coordinates, wanted.coordinates) &&
        sameItems(layout.dtypes, wanted.dtypes),
    );
    if (variant === undefined) {
      variant = { layout: wanted, run: compileReduce(program, wanted) };
      this.variants.push(variant);
    }
    return variant.run;
  }
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** The inputs' space, merged; outputs stand still along reduced dimensions, which keeps those from merging with others. */
function reductionSpace({ program, inputs, outputs, attributes }: ReduceCall): MergedSpace {
  const shape = inputs.length > 0 ? (inputs[0] as View).shape : (outputs[0] as View).shape;
  const strides = inputs.map((view) => view.strides);
  for (const view of outputs) {
    strides.push(view.strides.map((stride, axis) => (attributes.axes.includes(axis) ? 0 : stride)));
  }
  return mergeDimensions(shape, strides, program.coordinates);
}

function reducedDimensions(space: MergedSpace, inputCount: number): readonly boolean[] {
  const output = space.strides[inputCount] as readonly number[];
  return space.shape.map((size, dimension) => size > 1 && output[dimension] === 0);
}

/** The same without generated code: blocks of points are computed, then combined one by one. */
function interpretReduce(call: ReduceCall): void {
  const { program, inputs, outputs, params, attributes } = call;
  const space = reductionSpace(call);
  const reduced = reducedDimensions(space, inputs.length);
  const rank = space.shape.length;
  const interpreter = blockInterpreter(program);
  const slotStrides = new Array<number>(rank).fill(0);
  let slots = 1;
  for (let dimension = rank - 1; dimension >= 0; dimension--) {
    if (reduced[dimension]) continue;
    slotStrides[dimension] = slots;
    slots *= space.shape[dimension] as number;
  }
  const inputStrides = space.strides.slice(0, inputs.length);
  const strides = [...inputStrides, ...coordinateStrides(space.dimensions, rank), slotStrides];
  const offsets = [...inputs.map((view) => view.offset), ...space.dimensions.map(() => 0), 0];
  const arrays = inputs.map(elementsOf);
  const combined = attributes.kinds.map((kind, k) => new Combiner(kind, program, k, slots));
  forEachBlock(space.shape, strides, offsets, (count, positions) => {
    inputs.forEach((view, i) => {
      loadElements(
        view.dtype,
        arrays[i] as (typeof arrays)[number],
        positions[i] as Float64Array,
        count,
        interpreter.inputs[i] as Float64Array,
      );
    });
    interpreter.coordinates.forEach((register, i) => {
      register.set((positions[inputs.length + i] as Float64Array).subarray(0, count));
    });
    interpreter.run(count, params);
    const places = positions[positions.length - 1] as Float64Array;
    combined.forEach((combiner, k) => {
      combiner.take(interpreter.outputs[k] as Float64Array, places, count);
    });
  });
  const keptShape = space.shape.map((size, dimension) => (reduced[dimension] ? 1 : size));
  outputs.forEach((view, k) => {
    const values = (combined[k] as Combiner).result();
    const target = elementsOf(view);
    let done = 0;
    forEachBlock(
      keptShape,
      [space.strides[inputs.length + k] as readonly number[]],
      [view.offset],
      (count, [positions]) => {
        storeElements(
          view.dtype,
          target,
          positions as Float64Array,
          count,
          values.subarray(done, done + count),
        );
        done += count;
      },
    );
  });
}

/** Combines values into slots, by the rules of the compiled kernel. */
class Combiner {
  private readonly totals: Float64Array;
  private readonly errors: Float64Array | undefined;
  private readonly step: (total: number, value: number) => number;

  constructor(kind: ReduceKind, program: Program, output: number, slots: number) {
    const { dtype } = program.results[output] as Program["results"][number];
    const wrap =
      dtype === "i32" ? (x: number) => x | 0 : dtype === "u32" ? (x: number) => x >>> 0 : (x: number) => x;
    const integer = dtype === "i32" || dtype === "u32";
    const isBool = dtype === "bool";
    if (kind === "sum" && dtype === "f64") this.errors = new Float64Array(slots);
    let start = 0;
    if (kind === "any" || (isBool && (kind === "sum" || kind === "max"))) {
      this.step = (total, value) => (value !== 0 ? 1 : total);
    } else if (kind === "all" || isBool) {
      start = 1;
      this.step = (total, value) => (value === 0 ? 0 : total);
    } else if (kind === "max") {
      start = -Infinity;
      this.step = Math.max;
    } else if (kind === "min") {
      start = Infinity;
      this.step = Math.min;
    } else if (kind === "prod") {
      start = 1;
      this.step = integer ? (total, value) => wrap(Math.imul(total, value)) : (total, value) => total * value;
    } else {
      this.step = (total, value) => wrap(total + value);
    }
    this.totals = new Float64Array(slots).fill(start);
  }

  take(values: Float64Array, places: Float64Array, count: number): void {
    const { totals, errors, step } = this;
    for (let i = 0; i < count; i++) {
      const place = places[i] as number;
      const total = totals[place] as number;
      const value = values[i] as number;
      const next = step(total, value);
      totals[place] = next;
      if (errors !== undefined) {
        const error = Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
        errors[place] = (errors[place] as number) + error;
      }
    }
  }

  result(): Float64Array {
    const { totals, errors } = this;
    if (errors === undefined) return totals;
    return totals.map((total, i) => {
      const error = errors[i] as number;
      return Number.isNaN(error) ? total : total + error;
    });
  }
}
