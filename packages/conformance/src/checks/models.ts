import { fromData, type Tensor } from "@nf/core";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { criterion, type ModelTrace, TRACE_DTYPE } from "../traces/trace.ts";

/** Trains step by step, the way a user writes it, and holds each loss against the known one. */
async function follow(context: Context, trace: ModelTrace): Promise<void> {
  const reason = undeclared(context.backend, ["map", "reduce", "matmul", "gather", "scatter"], TRACE_DTYPE);
  if (reason !== undefined) throw new NotApplicable(reason);
  const model = trace.build();
  const optimizer = trace.optimizer(model.parameters());
  const loss = criterion();
  const tolerance = trace.tolerance * context.widened();
  try {
    for (const [step, wanted] of trace.losses.entries()) {
      const { inputs, target } = trace.batch(step);
      const tensors = inputs.map(({ values, shape }) => fromData(values, shape));
      const labels = fromData(target.values, target.shape);
      optimizer.zeroGrad();
      const value: Tensor = loss.forward(trace.forward(model, tensors), labels);
      value.backward();
      optimizer.step();
      const got = await value.item();
      for (const one of [...tensors, labels]) one.dispose();
      if (!(Math.abs(got - wanted) <= tolerance))
        context.fail(
          `${trace.name}: loss ${got} instead of ${wanted} at step ${step} (allowed ${tolerance})`,
        );
    }
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

/** Checks of models that learn. */
export function modelChecks(traces: readonly ModelTrace[]): Check[] {
  return traces.map((trace) => ({
    family: "models",
    subject: trace.name,
    level: "training",
    name: `${trace.name} follows its trace`,
    run: (context) => follow(context, trace),
  }));
}
