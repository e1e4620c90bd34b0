import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import {
  add,
  fromData,
  Generator,
  grad,
  isNaN as isNotANumber,
  memory,
  mul,
  OptionError,
  promoteTypes,
  randn,
  ShapeError,
  sum,
  type Tensor,
  use,
  valueAndGrad,
  withFusion,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  functionalize,
  GRU,
  GRUCell,
  LSTM,
  LSTMCell,
  type Module,
  type Params,
  Recurrent,
  RNN,
  RNNCell,
} from "../src/index.ts";

interface Values {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly layer: keyof typeof LAYERS;
  readonly options: Readonly<Record<string, unknown>>;
  readonly lengths?: readonly number[];
  readonly x: Values;
  readonly states: readonly Values[];
  readonly weights: Readonly<Record<string, Values>>;
  readonly seeds: readonly Values[];
  readonly results: readonly Values[];
  readonly gradients: Readonly<Record<string, Values>>;
}

const LAYERS = { RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell };
const [INPUTS, HIDDEN] = [3, 2];

const golden: { readonly layers: readonly Case[]; readonly cells: readonly Case[] } = JSON.parse(
  readFileSync(new URL("../../../goldens/recurrent.json", import.meta.url), "utf8"),
);

beforeAll(async () => {
  await use(cpu());
});

const tensorOf = ({ shape, data }: Values, requiresGrad = false): Tensor => {
  const x = fromData(Float64Array.from(data), shape, { dtype: "f64" });
  x.requiresGrad = requiresGrad;
  return x;
};

async function near(got: Tensor, { shape, data }: Values, what: string): Promise<void> {
  expect(got.shape, what).toEqual(shape);
  const values = await got.data();
  for (const [i, value] of data.entries())
    expect(Math.abs((values[i] as number) - value), `${what}[${i}]`).toBeLessThan(
      1e-8 * Math.max(1, Math.abs(value)),
    );
}

function build({ layer, options, weights }: Case): Module {
  const made = Reflect.construct(LAYERS[layer], [INPUTS, HIDDEN, { ...options, dtype: "f64" }]) as Module;
  made.loadStateDict(
    Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, tensorOf(values)])),
  );
  return made;
}

function statesOf(layer: string, states: readonly Tensor[]): unknown {
  if (states.length === 0) return undefined;
  return layer.startsWith("LSTM") ? states : states[0];
}

function run(
  model: Module,
  x: Tensor,
  { layer, lengths }: Case,
  states: readonly Tensor[],
): readonly Tensor[] {
  const options = model instanceof Recurrent ? [lengths === undefined ? {} : { lengths }] : [];
  const returned: unknown = Reflect.apply(model.forward, model, [x, statesOf(layer, states), ...options]);
  return [returned].flat(2) as Tensor[];
}

async function compare(one: Case): Promise<void> {
  const model = build(one);
  const x = tensorOf(one.x, true);
  const states = one.states.map((state) => tensorOf(state, true));
  const results = run(model, x, one, states);
  expect(results).toHaveLength(one.results.length);
  for (const [i, result] of results.entries()) await near(result, one.results[i] as Values, `result ${i}`);
  const terms = results.map((result, i) => sum(mul(result, tensorOf(one.seeds[i] as Values))));
  terms.reduce((total, term) => add(total, term)).backward();
  const leaves = {
    x,
    ...Object.fromEntries(model.namedParameters()),
    ...Object.fromEntries(states.map((state, i) => [["hidden", "cell"][i] as string, state])),
  };
  expect(Object.keys(leaves).sort()).toEqual(Object.keys(one.gradients).sort());
  for (const [name, leaf] of Object.entries(leaves))
    await near(leaf.grad as Tensor, one.gradients[name] as Values, `gradient of ${name}`);
}

const cases = (list: readonly Case[]): readonly (readonly [string, Case])[] =>
  list.map((one) => [
    `${one.layer} ${JSON.stringify(one.options)} ${one.lengths === undefined ? "" : `lengths ${one.lengths} `}of [${one.x.shape}], ${one.states.length} states`,
    one,
  ]);

describe("PyTorch", () => {
  it.each(cases([...golden.layers, ...golden.cells]))("%s", async (_, one) => {
    await compare(one);
  });

  it.each(cases(golden.layers))("%s, step by step", async (_, one) => {
    // The tape keeps the way that was taken.
    const model = build(one);
    const x = tensorOf(one.x, true);
    const states = one.states.map((state) => tensorOf(state, true));
    const results = withFusion("off", () => run(model, x, one, states));
    for (const [i, result] of results.entries()) await near(result, one.results[i] as Values, `result ${i}`);
    const terms = results.map((result, i) => sum(mul(result, tensorOf(one.seeds[i] as Values))));
    terms.reduce((total, term) => add(total, term)).backward();
    await near(x.grad as Tensor, one.gradients["x"] as Values, "gradient of x");
  });

  it.each(["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"] as const)(
    "%s starts uniform over 1 / sqrt(hiddenSize)",
    async (name) => {
      const layer = new LAYERS[name](64, 100, { generator: new Generator(1) });
      for (const [parameter, weight] of layer.namedParameters()) {
        const values = Array.from(await weight.data());
        const rms = Math.sqrt(values.reduce((total, value) => total + value * value, 0) / values.length);
        const greatest = Math.max(...values.map(Math.abs));
        expect(greatest, parameter).toBeLessThanOrEqual(0.1 + 1e-7);
        expect(greatest, parameter).toBeGreaterThan(0.1 * (1 - Math.min(1, 20 / values.length)));
        expect(Math.abs(rms / (0.1 / Math.sqrt(3)) - 1), parameter).toBeLessThan(
          5 * Math.sqrt(0.8 / (4 * values.length)),
        );
      }
    },
  );
});

describe("recurrent layers", () => {
  it("has PyTorch's names, in its order", () => {
    const names = new LSTM(3, 2, { numLayers: 2, bidirectional: true }).namedParameters();
    expect(names.map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
      "weight_ih_l0 8,3",
      "weight_hh_l0 8,2",
      "bias_ih_l0 8",
      "bias_hh_l0 8",
      "weight_ih_l0_reverse 8,3",
      "weight_hh_l0_reverse 8,2",
      "bias_ih_l0_reverse 8",
      "bias_hh_l0_reverse 8",
      "weight_ih_l1 8,4",
      "weight_hh_l1 8,2",
      "bias_ih_l1 8",
      "bias_hh_l1 8",
      "weight_ih_l1_reverse 8,4",
      "weight_hh_l1_reverse 8,2",
      "bias_ih_l1_reverse 8",
      "bias_hh_l1_reverse 8",
    ]);
  });

  it.each([
    ["RNN", {}],
    ["RNN", { nonlinearity: "relu" }],
    ["LSTM", {}],
    ["GRU", {}],
  ] as const)("%s %j gives second derivatives", async (name, options) => {
    const layer = new LAYERS[name](2, 2, { dtype: "f64", generator: new Generator(2), ...options });
    const make = (seed: number, shape: readonly number[]): Tensor =>
      randn(shape, { dtype: "f64", generator: new Generator(seed) });
    const [x, direction] = [make(3, [3, 2, 2]), make(4, [3, 2, 2])];
    const [hidden] = [make(5, [1, 2, 2])];
    const loss = (input: Tensor): Tensor => {
      const states = name === "LSTM" ? [hidden, hidden] : hidden;
      const returned = Reflect.apply(layer.forward, layer, [input, states, { lengths: [3, 2] }]) as [
        Tensor,
        unknown,
      ];
      return sum(mul(returned[0], returned[0]));
    };
    const slope = (input: Tensor): Tensor => sum(mul(grad(loss)(input), direction));
    const second = await grad(slope)(x).data();
    const eps = 1e-5;
    const [up, down] = await Promise.all(
      [eps, -eps].map(
        async (step) => (await grad(loss)(add(x, mul(direction, step))).data()) as Float64Array,
      ),
    );
    for (const [i, value] of Array.from(second).entries())
      expect(((up as Float64Array)[i]! - (down as Float64Array)[i]!) / (2 * eps)).toBeCloseTo(value, 6);
  });

  it("gives the same with and without a gradient", async () => {
    for (const name of ["RNN", "LSTM", "GRU"] as const) {
      const layer = new LAYERS[name](3, 4, { bidirectional: true, generator: new Generator(6) });
      const x = randn([5, 2, 3], { generator: new Generator(7) });
      const [training] = layer.forward(x);
      for (const weight of layer.parameters()) weight.requiresGrad = false;
      const [plain] = layer.forward(x);
      expect(plain.requiresGrad).toBe(false);
      expect(await plain.data()).toEqual(await training.data());
    }
  });

  it("drops between layers in training alone", async () => {
    const make = (dropout: number): GRU =>
      new GRU(3, 8, { numLayers: 2, dropout, generator: new Generator(8) });
    const x = randn([4, 2, 3], { generator: new Generator(9) });
    const [dropped, kept] = [make(0.5), make(0)];
    expect(await dropped.forward(x)[0].data()).not.toEqual(await kept.forward(x)[0].data());
    dropped.eval();
    expect(await dropped.forward(x)[0].data()).toEqual(await kept.forward(x)[0].data());
  });

  it("is a function of its parameters", async () => {
    const { structure, params, state } = functionalize(new LSTM(3, 2, { generator: new Generator(10) }));
    const x = randn([4, 2, 3], { generator: new Generator(11) });
    const step = valueAndGrad((weights: Params, input: Tensor) => {
      const [[output]] = structure.apply({ params: weights, state }, input, { training: true });
      return sum(mul(output, output));
    });
    const [loss, grads] = step(params, x);
    expect(await loss.item()).toBeGreaterThan(0);
    expect(Object.keys(grads)).toEqual(["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]);
    const fresh = structure.bind(structure.init([0, 12]));
    expect(fresh.forward(x)[0].shape).toEqual([4, 2, 2]);
  });

  it("goes on from its states", async () => {
    const layer = new LSTM(3, 4, { generator: new Generator(13) });
    const x = randn([6, 2, 3], { generator: new Generator(14) });
    const [whole, last] = layer.forward(x);
    const [, middle] = layer.forward(x.slice([0, 2]));
    const [rest, end] = layer.forward(x.slice([2, 6]), middle);
    expect(await rest.data()).toEqual(await whole.slice([2, 6]).data());
    for (const i of [0, 1] as const) expect(await end[i].data()).toEqual(await last[i].data());
  });

  it("looks at nothing behind the end of a sequence", async () => {
    const layer = new GRU(3, 4, { bidirectional: true, batchFirst: true, generator: new Generator(15) });
    const x = randn([2, 5, 3], { generator: new Generator(16) });
    const spoiled = fromData(
      (await x.data()).map((value, i) => (i >= 9 && i < 15 ? Number.NaN : value)),
      x.shape,
    );
    const [output, hidden] = layer.forward(spoiled, undefined, { lengths: [3, 5] });
    for (const one of [output, hidden]) expect(await sum(isNotANumber(one).cast("i32")).item()).toBe(0);
    const [alone] = layer.forward(x.slice([0, 1], [0, 3]));
    expect(await output.slice([0, 1], [0, 3]).data()).toEqual(await alone.data());
  });

  it("takes an empty batch", () => {
    const [output, hidden] = new RNN(3, 2).forward(zeros([4, 0, 3]));
    expect(output.shape).toEqual([4, 0, 2]);
    expect(hidden.shape).toEqual([1, 0, 2]);
  });

  it("leaves nothing behind", async () => {
    const layer = new GRU(3, 4, { numLayers: 2, bidirectional: true });
    const x = randn([5, 2, 3]);
    const turn = async (): Promise<void> => {
      layer.zeroGrad();
      const [output] = layer.forward(x, undefined, { lengths: [5, 3] });
      sum(output).backward();
    };
    await turn();
    layer.zeroGrad();
    const before = memory().liveTensors;
    for (let i = 0; i < 3; i++) await turn();
    layer.zeroGrad();
    expect(memory().liveTensors).toBe(before);
  });

  it("refuses what does not fit", () => {
    const lstm = new LSTM(3, 2, { numLayers: 2, batchFirst: true, dropout: 0.5 });
    expect(lstm.toString()).toBe("LSTM(3, 2, { numLayers: 2, batchFirst: true, dropout: 0.5 })");
    expect(() => lstm.forward(zeros([2, 0, 3]))).toThrow(/at least one step, got \[2, 0, 3\]/);
    expect(() => lstm.forward(zeros([2, 4, 5]))).toThrow(/expected \[batch, steps, 3\].*got \[2, 4, 5\]/);
    expect(() => lstm.forward(zeros([3]))).toThrow(ShapeError);
    const states = [zeros([1, 2, 2]), zeros([2, 2, 2])] as const;
    expect(() => lstm.forward(zeros([2, 4, 3]), states)).toThrow(/states must be \[2, 2, 2\]/);
    expect(() => Reflect.apply(lstm.forward, lstm, [zeros([2, 4, 3]), zeros([2, 2, 2])])).toThrow(
      /\[hidden, cell\]/,
    );
    expect(() => lstm.forward(zeros([2, 4, 3]), undefined, { lengths: [4] })).toThrow(OptionError);
    expect(() => lstm.forward(zeros([2, 4, 3]), undefined, { lengths: [4, 0] })).toThrow(/each of lengths/);
    expect(() => lstm.forward(zeros([2, 4, 3]), undefined, { lengths: [4, 5] })).toThrow(/each of lengths/);
    expect(() => Reflect.apply(lstm.forward, lstm, [3])).toThrow(/expected a tensor, got 3/);
    expect(() => new LSTM(3, 2, { dropout: 0.5 })).toThrow(/between layers/);
    expect(() => new GRU(3, 0)).toThrow(/hiddenSize/);
    expect(() => new GRU(3, 2, { layers: 2 } as object)).toThrow(/GRU: unknown option "layers"/);
    expect(() => new RNN(3, 2, { nonlinearity: "sigmoid" } as object)).toThrow(/nonlinearity/);
    expect(() => new LSTMCell(3, 2).forward(zeros([2, 4]))).toThrow(/expected \[batch, 3\] or \[3\]/);
    expect(() => new GRUCell(3, 2).forward(zeros([2, 3]), zeros([1, 2]))).toThrow(/must be \[2, 2\]/);
    expect(new RNNCell(3, 2).forward(zeros([3])).shape).toEqual([2]);
  });
});

describe("mixed dtypes", () => {
  const MAKERS = {
    RNN: (dtype: "f16" | "f32"): Module => new RNN(3, 2, { dtype, numLayers: 2 }),
    LSTM: (dtype: "f16" | "f32"): Module => new LSTM(3, 2, { dtype, bidirectional: true }),
    GRU: (dtype: "f16" | "f32"): Module => new GRU(3, 2, { dtype }),
  };

  it.each(Object.entries(MAKERS))("%s computes in the promoted one, and goes back through it", (_, make) => {
    for (const [own, input] of [
      ["f16", "f32"],
      ["f32", "f64"],
      ["f32", "f16"],
    ] as const) {
      const layer = make(own);
      const x = randn([4, 2, 3], { dtype: input, requiresGrad: true });
      const [output] = Reflect.apply(layer.forward, layer, [x, undefined, { lengths: [4, 2] }]) as [Tensor];
      expect(output.dtype).toBe(promoteTypes(own, input));
      sum(output).backward();
      for (const parameter of layer.parameters()) expect(parameter.grad?.dtype).toBe(own);
      expect(x.grad?.dtype).toBe(input);
    }
  });

  it("takes states of another one", async () => {
    const layer = new GRU(3, 2);
    const hidden = randn([1, 2, 2], { dtype: "f64", requiresGrad: true });
    const [output] = layer.forward(randn([4, 2, 3]), hidden);
    expect(output.dtype).toBe("f64");
    sum(output).backward();
    expect(hidden.grad?.dtype).toBe("f64");
  });
});

it.each([NaN, Infinity])("padding of %s meets no gradient", async (padding) => {
  const layer = new LSTM(3, 2, { bidirectional: true, generator: new Generator(1) });
  const gradients = async (value: number): Promise<readonly (readonly number[])[]> => {
    layer.zeroGrad();
    const x = Float32Array.from({ length: 18 }, (_, i) => (i >= 9 && i % 6 >= 3 ? value : Math.sin(i)));
    const [output] = layer.forward(fromData(x, [3, 2, 3]), undefined, { lengths: [3, 1] });
    sum(output).backward();
    const found = layer.parameters().map((parameter) => (parameter.grad as Tensor).data());
    return (await Promise.all(found)).map((data) => Array.from(data, Number));
  };
  expect(await gradients(padding)).toEqual(await gradients(0));
});
