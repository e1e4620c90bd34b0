import { clone, type DType, fromData, parameter, Scope, type Tensor } from "@nf/core";
import { Adam, AdamW, type Optimizer, SGD } from "@nf/optim";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { scaleOf } from "../compare-values.ts";
import { Source } from "../source.ts";

type Values = readonly number[];

/** An optimiser's arithmetic, written out: new values of a parameter, with what it keeps between steps. */
type Rule = () => (value: Values, gradient: Values, step: number) => Values;

const sgd =
  (lr: number, momentum: number, nesterov: boolean, decay: number): Rule =>
  () => {
    let buffer: number[] | undefined;
    return (value, gradient) => {
      const g = gradient.map((one, i) => one + decay * value[i]!);
      buffer = buffer === undefined ? g : buffer.map((one, i) => momentum * one + g[i]!);
      const kept = buffer;
      return value.map(
        (one, i) => one - lr * (nesterov ? g[i]! + momentum * kept[i]! : momentum === 0 ? g[i]! : kept[i]!),
      );
    };
  };

const adam =
  (lr: number, decay: number, decoupled: boolean, amsgrad: boolean): Rule =>
  () => {
    let first: number[] = [];
    let second: number[] = [];
    let most: number[] = [];
    const [b1, b2, eps] = [0.9, 0.999, 1e-8];
    return (value, gradient, step) => {
      const g = gradient.map((one, i) => one + (decoupled ? 0 : decay * value[i]!));
      first = g.map((one, i) => b1 * (first[i] ?? 0) + (1 - b1) * one);
      second = g.map((one, i) => b2 * (second[i] ?? 0) + (1 - b2) * one * one);
      most = second.map((one, i) => Math.max(most[i] ?? 0, one));
      const used = amsgrad ? most : second;
      return value.map((one, i) => {
        const kept = decoupled ? one * (1 - lr * decay) : one;
        return kept - (lr * (first[i]! / (1 - b1 ** step))) / (Math.sqrt(used[i]! / (1 - b2 ** step)) + eps);
      });
    };
  };

interface OptimizerCase {
  readonly name: string;
  readonly make: (parameters: readonly Tensor[]) => Optimizer;
  readonly rule: Rule;
}

const CASES: readonly OptimizerCase[] = [
  { name: "SGD", make: (p) => new SGD(p, { lr: 0.1 }), rule: sgd(0.1, 0, false, 0) },
  {
    name: "SGD with momentum and weight decay",
    make: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.01 }),
    rule: sgd(0.1, 0.9, false, 0.01),
  },
  {
    name: "SGD with Nesterov's momentum",
    make: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true }),
    rule: sgd(0.1, 0.9, true, 0),
  },
  { name: "Adam", make: (p) => new Adam(p, { lr: 0.05 }), rule: adam(0.05, 0, false, false) },
  {
    name: "Adam with amsgrad and weight decay",
    make: (p) => new Adam(p, { lr: 0.05, amsgrad: true, weightDecay: 0.1 }),
    rule: adam(0.05, 0.1, false, true),
  },
  {
    name: "AdamW",
    make: (p) => new AdamW(p, { lr: 0.05, weightDecay: 0.1 }),
    rule: adam(0.05, 0.1, true, false),
  },
];

const STEPS = 6;

/** Steps on two parameters with given gradients, against the arithmetic written out. The learning rate changes. */
async function follow(context: Context, { make, rule }: OptimizerCase, dtype: "f32" | "f64"): Promise<void> {
  const source = new Source(context.seed);
  const shapes = [[3], [2, 3]];
  const draw = (length: number): number[] => Array.from({ length }, () => source.between(-64, 64) / 32 || 1);
  const scope = new Scope();
  try {
    const parameters = scope.run(() =>
      shapes.map((shape) => parameter(tensorOf(draw(shape.reduce((a, b) => a * b)), shape, dtype))),
    );
    const expected: Values[] = await Promise.all(parameters.map(async (one) => Array.from(await one.data())));
    const optimizer = scope.run(() => make(parameters));
    const rules = parameters.map(() => rule());
    for (let step = 1; step <= STEPS; step++) {
      const gradients = parameters.map(({ size }) => draw(size));
      scope.run(() => {
        parameters.forEach((one, i) => {
          one.grad = tensorOf(gradients[i]!, one.shape, dtype);
        });
        optimizer.step();
      });
      for (const [i, one] of parameters.entries()) {
        expected[i] = rules[i]!(expected[i]!, gradients[i]!, step);
        const scale = 4 * scaleOf(expected[i]!);
        context.compare(
          `parameter ${i} after step ${step}`,
          await scope.run(() => clone(one)).data(),
          expected[i]!,
          { dtype, tolerance: "composed", scale },
        );
      }
    }
    optimizer.zeroGrad();
    optimizer.dispose();
    for (const one of parameters) one.dispose();
  } finally {
    scope.dispose();
  }
}

function tensorOf(values: readonly number[], shape: readonly number[], dtype: DType): Tensor {
  return fromData(Float64Array.from(values), shape, { dtype });
}

/** Checks of the optimisers' steps, which are programs over parameters, gradients and moments. */
export function optimizerChecks(): Check[] {
  return CASES.flatMap((test) =>
    (["f32", "f64"] as const).map(
      (dtype): Check => ({
        family: "optimisers",
        subject: "map",
        level: "training",
        name: `${test.name} ${dtype}`,
        run: (context) => {
          const reason = undeclared(context.backend, ["map"], dtype);
          if (reason !== undefined) throw new NotApplicable(reason);
          return follow(context, test, dtype);
        },
      }),
    ),
  );
}
