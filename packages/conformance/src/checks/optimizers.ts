import { clone, type DType, fromData, parameter, Scope, type Tensor } from "@nf/core";
import {
  Adadelta,
  Adagrad,
  Adam,
  Adamax,
  AdamW,
  Lion,
  NAdam,
  type Optimizer,
  RAdam,
  RMSprop,
  SGD,
} from "@nf/optim";
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

/** One element's arithmetic: what it keeps is an object of its own, which begins empty. */
const elementwise =
  (next: (p: number, g: number, kept: Record<string, number>, step: number) => number): Rule =>
  () => {
    const kept: Record<string, number>[] = [];
    return (value, gradient, step) =>
      value.map((p, i) => {
        kept[i] ??= {};
        return next(p, gradient[i]!, kept[i]!, step);
      });
  };

const adagrad = elementwise((p, g, kept, step) => {
  kept["sum"] = (kept["sum"] ?? 0.5) + g * g;
  return p - ((0.1 / (1 + (step - 1) * 0.1)) * g) / (Math.sqrt(kept["sum"]) + 1e-10);
});

const rmsprop = (centered: boolean, momentum: number): Rule =>
  elementwise((p, gradient, kept) => {
    const g = gradient + 0.1 * p;
    kept["square"] = 0.75 * (kept["square"] ?? 0) + 0.25 * g * g;
    kept["mean"] = 0.75 * (kept["mean"] ?? 0) + 0.25 * g;
    const spread = kept["square"] - (centered ? kept["mean"] ** 2 : 0);
    kept["buffer"] = momentum * (kept["buffer"] ?? 0) + g / (Math.sqrt(spread) + 1e-2);
    return p - 0.05 * kept["buffer"];
  });

const adadelta = elementwise((p, g, kept) => {
  kept["square"] = 0.9 * (kept["square"] ?? 0) + 0.1 * g * g;
  const delta = (Math.sqrt((kept["delta"] ?? 0) + 1e-3) / Math.sqrt(kept["square"] + 1e-3)) * g;
  kept["delta"] = 0.9 * (kept["delta"] ?? 0) + 0.1 * delta * delta;
  return p - delta;
});

const adamax = elementwise((p, g, kept, step) => {
  kept["first"] = 0.9 * (kept["first"] ?? 0) + 0.1 * g;
  kept["most"] = Math.max(0.999 * (kept["most"] ?? 0), Math.abs(g) + 1e-8);
  return p - ((0.05 / (1 - 0.9 ** step)) * kept["first"]) / kept["most"];
});

const nadam = elementwise((p, g, kept, step) => {
  const momentum = (at: number): number => 0.9 * (1 - 0.5 * 0.96 ** (at * 0.004));
  kept["first"] = 0.9 * (kept["first"] ?? 0) + 0.1 * g;
  kept["second"] = 0.999 * (kept["second"] ?? 0) + 0.001 * g * g;
  kept["product"] = (kept["product"] ?? 1) * momentum(step);
  const size = Math.sqrt(kept["second"] / (1 - 0.999 ** step)) + 1e-8;
  const next = momentum(step + 1);
  const ahead =
    ((1 - momentum(step)) / (1 - kept["product"])) * g +
    (next / (1 - kept["product"] * next)) * kept["first"];
  return p - (0.05 * ahead) / size;
});

/** The average is long enough for the second moment from the sixth step on. */
const radam = elementwise((p, g, kept, step) => {
  const [b2, longest] = [0.96, 49];
  kept["first"] = 0.9 * (kept["first"] ?? 0) + 0.1 * g;
  kept["second"] = b2 * (kept["second"] ?? 0) + (1 - b2) * g * g;
  const length = longest - (2 * step * b2 ** step) / (1 - b2 ** step);
  const mean = kept["first"] / (1 - 0.9 ** step);
  if (length <= 5) return p - 0.05 * mean;
  const share = ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length);
  return p - (0.05 * mean * Math.sqrt(share * (1 - b2 ** step))) / (Math.sqrt(kept["second"]) + 1e-8);
});

/** Its numbers are exact in f32, so that no rounding turns a sign. */
const lion = elementwise((p, g, kept) => {
  const before = kept["first"] ?? 0;
  kept["first"] = 0.75 * before + 0.25 * g;
  return p * (1 - 0.0625 * 0.5) - 0.0625 * Math.sign(0.5 * before + 0.5 * g);
});

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
  {
    name: "Adagrad",
    make: (p) => new Adagrad(p, { lr: 0.1, lrDecay: 0.1, initialAccumulatorValue: 0.5 }),
    rule: adagrad,
  },
  {
    name: "RMSprop",
    make: (p) => new RMSprop(p, { lr: 0.05, alpha: 0.75, eps: 1e-2, weightDecay: 0.1 }),
    rule: rmsprop(false, 0),
  },
  {
    name: "RMSprop, centred, with momentum",
    make: (p) =>
      new RMSprop(p, { lr: 0.05, alpha: 0.75, eps: 1e-2, weightDecay: 0.1, centered: true, momentum: 0.5 }),
    rule: rmsprop(true, 0.5),
  },
  { name: "Adadelta", make: (p) => new Adadelta(p, { eps: 1e-3 }), rule: adadelta },
  { name: "Adamax", make: (p) => new Adamax(p, { lr: 0.05 }), rule: adamax },
  { name: "NAdam", make: (p) => new NAdam(p, { lr: 0.05 }), rule: nadam },
  { name: "RAdam", make: (p) => new RAdam(p, { lr: 0.05, betas: [0.9, 0.96] }), rule: radam },
  {
    name: "Lion",
    make: (p) => new Lion(p, { lr: 0.0625, betas: [0.5, 0.75], weightDecay: 0.5 }),
    rule: lion,
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
