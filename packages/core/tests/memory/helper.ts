import { cpu } from "@nf/backend-cpu";
import * as core from "../../src/index.ts";

/** Puts a cpu backend of its own to use, so that its counts are this test's alone. */
export async function open(options: Parameters<typeof cpu>[0] = {}): Promise<core.Backend> {
  return await core.use(cpu(options));
}

/** The counts that must not grow. */
export function counts(backend?: core.Backend): Record<string, number> {
  const { liveTensors, liveBuffers, liveBytes, poolMisses, leaks } = core.memory(backend);
  return { liveTensors, liveBuffers, liveBytes, poolMisses, leaks };
}

/** What is alive. */
export function alive(backend?: core.Backend): Record<string, number> {
  const { liveTensors, liveBuffers, liveBytes } = core.memory(backend);
  return { liveTensors, liveBuffers, liveBytes };
}

const SGD = core.defineUpdate({
  name: "sgd",
  state: 1,
  inputs: 1,
  params: ["lr"],
  body: ([p], [g], [lr]) => [
    core.scalar.sub(p as core.Expr, core.scalar.mul(lr as core.Expr, g as core.Expr)),
  ],
});

/** Writes p - lr g into every parameter that has a gradient. */
export function step(parameters: readonly core.Tensor[], lr = 0.1): void {
  for (const p of parameters) if (p.grad !== null) core.runUpdate(SGD, [p], [p.grad], [lr]);
}

/** The same as fresh tensors. */
export function pureStep(
  parameters: readonly core.Tensor[],
  gradients: readonly core.Tensor[],
  lr = 0.1,
): core.Tensor[] {
  return parameters.map(
    (p, i) => core.pureUpdate(SGD, [p], [gradients[i] as core.Tensor], [lr])[0] as core.Tensor,
  );
}

/** Two layers of weights for {@link forward}. */
export function makeWeights(seed = 0): core.Tensor[] {
  const generator = new core.Generator(seed);
  return [[16, 8], [16], [4, 16], [4]].map((shape) =>
    core.parameter(core.scope(() => core.randn(shape, { generator }).mul(0.3))),
  );
}

/** Logits of a small perceptron. */
export function forward([w1, b1, w2, b2]: readonly core.Tensor[], x: core.Tensor): core.Tensor {
  const hidden = core.relu(core.linear(x, w1 as core.Tensor, b1));
  return core.linear(hidden, w2 as core.Tensor, b2);
}

/** A fixed batch: `[12, 8]` and classes `[12]`. */
export function makeBatch(seed = 1): { readonly x: core.Tensor; readonly y: core.Tensor } {
  return {
    x: core.randn([12, 8], { generator: new core.Generator(seed) }),
    y: core.tensor(Int32Array.from({ length: 12 }, (_, i) => (i * 7 + seed) % 4)),
  };
}
