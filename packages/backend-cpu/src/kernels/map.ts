import { allContiguous, interpretMap, type MapCall, mergeViews, type Program, type View } from "@nf/core";
import { elementsIn, elementsOf } from "../buffer.ts";
import { innerStep } from "../codegen/loops.ts";
import { compileMap } from "../codegen/map.ts";
import { Plans, sameNumbers } from "../codegen/plans.ts";
import { type CompiledKernel, dtypesOf, type Layout, sameDTypes } from "../codegen/variants.ts";
import { ByProgram, type Context } from "../context.ts";

interface Variant {
  readonly layout: Layout;
  readonly run: CompiledKernel;
}

/** A strided call worked out: its merged space, and the kernel for it. */
interface StridedPlan {
  readonly shape: readonly number[];
  /** View by view. */
  readonly strides: readonly number[];
  readonly run: CompiledKernel;
}

/** Compiled variants of one program: those over gapless views, and the others. */
class MapVariants {
  private readonly flat: Variant[] = [];
  private readonly strided: Variant[] = [];
  private readonly plans = new Plans<StridedPlan>();
  private readonly program: Program;

  constructor(program: Program) {
    this.program = program;
  }

  /** The kernel for views that are all contiguous, of a program that reads no coordinates. */
  forFlat(inputs: readonly View[], outputs: readonly View[]): CompiledKernel {
    for (let i = 0; i < this.flat.length; i++) {
      const variant = this.flat[i] as Variant;
      if (sameDTypes(variant.layout.dtypes, inputs, outputs)) return variant.run;
    }
    const dtypes = dtypesOf(inputs, outputs);
    const layout: Layout = { rank: 1, dtypes, steps: dtypes.map(() => 1), coordinates: [] };
    return this.add(this.flat, layout);
  }

  /** The merged space and its kernel for any views. */
  forStrided(inputs: readonly View[], outputs: readonly View[]): StridedPlan {
    let plan = this.plans.find(inputs, outputs);
    if (plan === undefined) {
      plan = this.plan(inputs, outputs);
      this.plans.add(inputs, outputs, plan);
    }
    return plan;
  }

  private plan(inputs: readonly View[], outputs: readonly View[]): StridedPlan {
    const { shape, strides, dimensions } = mergeViews(inputs, outputs, this.program.coordinates);
    const rank = shape.length;
    const steps = strides.map((list) => innerStep(list[rank - 1] as number));
    const variant = this.strided.find(
      ({ layout }) =>
        layout.rank === rank &&
        sameNumbers(layout.steps, steps) &&
        sameNumbers(layout.coordinates, dimensions) &&
        sameDTypes(layout.dtypes, inputs, outputs),
    );
    const layout: Layout = { rank, dtypes: dtypesOf(inputs, outputs), steps, coordinates: dimensions };
    return { shape, strides: strides.flat(), run: variant?.run ?? this.add(this.strided, layout) };
  }

  private add(variants: Variant[], layout: Layout): CompiledKernel {
    const run = compileMap(this.program, layout);
    variants.push({ layout, run });
    return run;
  }
}

const NO_STRIDES: readonly number[] = [];

/** Makes the `map` kernel: programs compiled once per layout, or interpreted where code may not be generated. */
export function makeMap(context: Context): (call: MapCall) => void {
  if (!context.codegen) return (call) => interpretMap(call, elementsIn);
  const variants = new ByProgram((program) => new MapVariants(program));
  // Reused from call to call, so that a call allocates nothing.
  const arrays: unknown[] = [];
  const offsets: number[] = [];
  const sizes = [0];
  const place = (inputs: readonly View[], outputs: readonly View[]): void => {
    const count = inputs.length;
    for (let i = 0; i < count; i++) {
      const view = inputs[i] as View;
      arrays[i] = elementsOf(view);
      offsets[i] = view.offset;
    }
    for (let k = 0; k < outputs.length; k++) {
      const view = outputs[k] as View;
      arrays[count + k] = elementsOf(view);
      offsets[count + k] = view.offset;
    }
  };
  return ({ program, inputs, outputs, params }) => {
    const known = variants.get(program);
    place(inputs, outputs);
    if (program.coordinates.length === 0 && allContiguous(outputs) && allContiguous(inputs)) {
      sizes[0] = (outputs[0] as View).size;
      known.forFlat(inputs, outputs)(arrays, offsets, sizes, NO_STRIDES, params);
    } else {
      const { shape, strides, run } = known.forStrided(inputs, outputs);
      run(arrays, offsets, shape, strides, params);
    }
    // Freed buffers must not live on in here.
    arrays.fill(undefined);
  };
}
