import { cpu } from "@nf/backend-cpu";
import {
  add,
  assign,
  crossEntropy,
  Generator,
  mean,
  mul,
  noGrad,
  ones,
  parameter,
  rand,
  randint,
  type Tensor,
  use,
  valueAndGrad,
  withGenerator,
  zeros,
} from "@nf/core";
import { Adam, adam } from "@nf/optim";
import { beforeAll, expect, it } from "vitest";
import {
  Dropout,
  flattenParams,
  functionalize,
  type Key,
  Linear,
  Module,
  nestParams,
  type Params,
  type State,
  sequential,
  Tanh,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

/** Takes a running mean off its input. */
class Centre extends Module {
  readonly gain: Tensor;
  readonly runningMean: Tensor;
  constructor() {
    super();
    this.gain = parameter(ones([1]));
    this.runningMean = this.registerBuffer("runningMean", zeros([]));
  }
  override resetParameters(): void {
    noGrad(() => {
      assign(this.gain, ones([1]));
      assign(this.runningMean, zeros([]));
    });
  }
  forward(x: Tensor): Tensor {
    if (this.training)
      noGrad(() => assign(this.runningMean, add(mul(this.runningMean, 0.9), mul(mean(x), 0.1))));
    return mul(x.sub(this.runningMean), this.gain);
  }
}

const network = () =>
  sequential(new Linear(4, 8), new Centre(), new Tanh(), new Dropout(0.25), new Linear(8, 3));

const STEPS = 8;
/** A generator that draws what a key gives. */
function from(key: Key): Generator {
  const source = new Generator(0);
  source.setState({ key, counter: 0 });
  return source;
}

it("the same model trained by both faces has the same bits: losses, parameters, running statistics, predictions", async () => {
  const keys = Array.from(
    { length: STEPS + 1 },
    (
      (source) => () =>
        source.next()
    )(new Generator(5)),
  );
  const [initialKey, ...stepKeys] = keys as [Key, ...Key[]];
  const x = rand([16, 4], { generator: new Generator(1) }).keep();
  const y = randint(0, 3, [16], { generator: new Generator(2) }).keep();

  const { structure } = functionalize(network());
  let { params, state } = structure.init(initialKey);

  // The modules.
  const model = structure.bind({ params, state }).train();
  const optimizer = new Adam(model.parameters(), { lr: 0.05 });
  const losses: number[] = [];
  for (const key of stepKeys) {
    optimizer.zeroGrad();
    const loss = crossEntropy(
      withGenerator(from(key), () => model.forward(x)),
      y,
    );
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  model.eval();

  // The functions.
  const { init, update } = adam({ lr: 0.05 });
  let optimizerState = init(params);
  const step = valueAndGrad(
    (weights: Params, running: State, key: Key): [Tensor, State] => {
      const [logits, next] = structure.apply({ params: weights, state: running }, x, { training: true, key });
      return [crossEntropy(logits, y), next];
    },
    { aux: true },
  );
  for (const [i, key] of stepKeys.entries()) {
    const [[loss, next], grads] = step(params, state, key);
    [params, optimizerState] = update(grads, optimizerState, params);
    state = next;
    expect(await loss.item()).toBe(losses[i]);
  }

  expect(losses.at(-1)).toBeLessThan(losses[0] as number);
  for (const [name, parameter] of model.namedParameters())
    expect(await params[name]?.toArray(), name).toEqual(await parameter.toArray());
  for (const [name, buffer] of model.namedBuffers())
    expect(await state[name]?.toArray(), name).toEqual(await buffer.toArray());
  const [predicted] = structure.apply({ params, state }, x);
  expect(await predicted.toArray()).toEqual(await model.forward(x).toArray());
  const bound = structure.bind({ params, state });
  expect(await bound.forward(x).toArray()).toEqual(await predicted.toArray());
});

it("trains a nested tree as it trains the flat one", async () => {
  const { structure, params, state } = functionalize(
    sequential(new Linear(2, 3), new Tanh(), new Linear(3, 1)),
  );
  const x = rand([5, 2], { generator: new Generator(1) }).keep();
  const loss = (flat: Params): Tensor => mean(structure.apply({ params: flat, state }, x)[0].square());
  const [value, grads] = valueAndGrad(loss)(params);
  const nested = nestParams(params);
  const [same, gradTree] = valueAndGrad((tree: typeof nested) => loss(flattenParams(tree)))(nested);
  expect(await same.item()).toBe(await value.item());
  const flat = flattenParams(gradTree);
  expect(Object.keys(flat).sort()).toEqual(Object.keys(grads).sort());
  for (const [name, gradient] of Object.entries(grads))
    expect(await flat[name]?.toArray(), name).toEqual(await gradient.toArray());
  const { init, update } = adam();
  const [next] = update(gradTree, init(nested), nested);
  const [nextFlat] = update(grads, init(params), params);
  for (const [name, tensor] of Object.entries(flattenParams(next)))
    expect(await tensor.toArray(), name).toEqual(await nextFlat[name]?.toArray());
});
