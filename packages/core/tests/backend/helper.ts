import { cpu } from "@nf/backend-cpu";
import * as core from "../../src/index.ts";

/** A backend that says of itself, or answers, something else than the cpu backend it runs on. */
export class Altered extends core.BackendDecorator {
  private readonly answer: ((call: core.Call) => core.Support) | undefined;
  readonly calls: core.Call[] = [];

  constructor(
    wrapped: core.Backend,
    capabilities: Partial<core.Capabilities>,
    answer?: (call: core.Call) => core.Support,
  ) {
    super("altered", wrapped, { ...wrapped.capabilities, ...capabilities });
    this.answer = answer;
  }

  override execute(call: core.Call): void {
    this.calls.push(call);
    super.execute(call);
  }

  override supports(call: core.Call): core.Support {
    return this.answer?.(call) ?? super.supports(call);
  }
}

/** A cpu backend that is different. */
export async function altered(
  capabilities: Partial<core.Capabilities>,
  answer?: (call: core.Call) => core.Support,
): Promise<Altered> {
  return new Altered(await cpu(), capabilities, answer);
}

/** A backend whose work goes on after `execute` returned, one call at a time, each for `delay` milliseconds. */
export class Slow extends core.BackendDecorator {
  private done: Promise<unknown> = Promise.resolve();
  private readonly delay: number;

  constructor(wrapped: core.Backend, delay: number) {
    super("slow", wrapped, { ...wrapped.capabilities, readSync: false });
    this.delay = delay;
  }

  override execute(call: core.Call): void {
    super.execute(call);
    this.done = this.done.then(() => new Promise((resolve) => setTimeout(resolve, this.delay)));
  }

  override async synchronize(): Promise<void> {
    await this.done;
  }
}

/** A view over a new buffer with the given numbers. */
export function upload(
  backend: core.Backend,
  shape: readonly number[],
  values: readonly number[],
): core.View {
  const buffer = backend.allocate(4 * values.length);
  backend.write(buffer, 0, new Uint8Array(Float32Array.from(values).buffer));
  return core.contiguousView(buffer, "f32", shape);
}

/** The elements of a contiguous f32 view. */
export function download(backend: core.Backend, view: core.View): number[] {
  const bytes = backend.readSync?.(view.buffer, 4 * view.offset, 4 * view.size) ?? new Uint8Array();
  return Array.from(new Float32Array(bytes.slice().buffer));
}

export const copyProgram: core.Program = core.program("copy", ["f32"], [], ([x]) => x as core.Expr);
export const addProgram: core.Program = core.program("add", ["f32", "f32"], [], ([a, b]) =>
  core.scalar.add(a as core.Expr, b as core.Expr),
);
/** A map call with its distinct buffers. */
export function mapCall(
  program: core.Program,
  inputs: readonly core.View[],
  outputs: readonly core.View[],
  params: readonly number[] = [],
): core.MapCall {
  const buffers = [...new Set([...inputs, ...outputs].map(({ buffer }) => buffer))];
  return { kernel: "map", program, buffers, inputs, outputs, params };
}

/** Two convolutions, pooling, a linear layer and cross-entropy: parameters and one training step's loss. */
export function smallNetwork(seed = 0): {
  readonly weights: core.Tensor[];
  readonly loss: () => core.Tensor;
} {
  const generator = new core.Generator(seed);
  const weights = [[4, 1, 3, 3], [4], [5, 36], [5]].map((shape) =>
    core.parameter(core.scope(() => core.randn(shape, { generator }).mul(0.3))),
  );
  const [kernel, bias, w, b] = weights as [core.Tensor, core.Tensor, core.Tensor, core.Tensor];
  const x = core.randn([6, 1, 8, 8], { generator });
  const y = core.tensor(Int32Array.from([0, 1, 2, 3, 4, 0]));
  const loss = (): core.Tensor => {
    const features = core.relu(core.conv2d(x, kernel, bias));
    return core.crossEntropy(core.linear(core.maxPool2d(features, { kernelSize: 2 }).flatten(1), w, b), y);
  };
  return { weights, loss };
}

const MOMENTUM = core.defineUpdate({
  name: "momentum",
  state: 2,
  inputs: 1,
  params: ["lr", "beta"],
  body: ([p, v], [g], [lr, beta]) => {
    const next = core.scalar.add(core.scalar.mul(v as core.Expr, beta as core.Expr), g as core.Expr);
    return [core.scalar.sub(p as core.Expr, core.scalar.mul(next, lr as core.Expr)), next];
  },
});

/** A few steps of training with momentum on the backend in use; the losses. */
export function trainSteps(steps: number): number[] {
  const { weights, loss } = smallNetwork();
  const velocities = weights.map((weight) => core.zerosLike(weight));
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    core.zeroGrad(weights);
    const value = loss();
    value.backward();
    weights.forEach((weight, k) => {
      core.runUpdate(
        MOMENTUM,
        [weight, velocities[k] as core.Tensor],
        [weight.grad as core.Tensor],
        [0.05, 0.9],
      );
    });
    losses.push(value.itemSync());
  }
  return losses;
}
