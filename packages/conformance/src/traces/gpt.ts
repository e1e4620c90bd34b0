import {
  add,
  embedding,
  gelu,
  layerNorm,
  linear,
  ones,
  parameter,
  reshape,
  scaledDotProductAttention,
  split,
  swapAxes,
  type Tensor,
  zeros,
} from "@nf/core";
import { Module } from "@nf/nn";
import { Adam, AdamW } from "@nf/optim";
import { Source } from "../source.ts";
import { loadWeights, type ModelTrace, type TraceBatch } from "./trace.ts";

const VOCABULARY = 11;
const CONTEXT = 8;
const WIDTH = 16;
const HEADS = 2;
const BATCH = 4;
/** Steps after which batches come again. */
const BATCHES = 3;

/** Sizes of the parameters. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  tokens: [VOCABULARY, WIDTH],
  positions: [CONTEXT, WIDTH],
  norm1Weight: [WIDTH],
  norm1Bias: [WIDTH],
  queryKeyValue: [3 * WIDTH, WIDTH],
  project: [WIDTH, WIDTH],
  projectBias: [WIDTH],
  norm2Weight: [WIDTH],
  norm2Bias: [WIDTH],
  up: [4 * WIDTH, WIDTH],
  upBias: [4 * WIDTH],
  down: [WIDTH, 4 * WIDTH],
  downBias: [WIDTH],
  norm3Weight: [WIDTH],
  norm3Bias: [WIDTH],
};

/** One block of a GPT before and after its norm, with the token table as output layer too. */
class TinyGpt extends Module {
  readonly tokens: Tensor = parameter(zeros([VOCABULARY, WIDTH]));
  readonly positions: Tensor = parameter(zeros([CONTEXT, WIDTH]));
  readonly norm1Weight: Tensor = parameter(ones([WIDTH]));
  readonly norm1Bias: Tensor = parameter(zeros([WIDTH]));
  readonly queryKeyValue: Tensor = parameter(zeros([3 * WIDTH, WIDTH]));
  readonly project: Tensor = parameter(zeros([WIDTH, WIDTH]));
  readonly projectBias: Tensor = parameter(zeros([WIDTH]));
  readonly norm2Weight: Tensor = parameter(ones([WIDTH]));
  readonly norm2Bias: Tensor = parameter(zeros([WIDTH]));
  readonly up: Tensor = parameter(zeros([4 * WIDTH, WIDTH]));
  readonly upBias: Tensor = parameter(zeros([4 * WIDTH]));
  readonly down: Tensor = parameter(zeros([WIDTH, 4 * WIDTH]));
  readonly downBias: Tensor = parameter(zeros([WIDTH]));
  readonly norm3Weight: Tensor = parameter(ones([WIDTH]));
  readonly norm3Bias: Tensor = parameter(zeros([WIDTH]));

  /** Logits `[batch * context, vocabulary]` of token numbers `[batch, context]`. */
  forward(index: Tensor): Tensor {
    const x = add(embedding(this.tokens, index), this.positions);
    const attended = add(x, this.attend(layerNorm(x, { weight: this.norm1Weight, bias: this.norm1Bias })));
    const normed = layerNorm(attended, { weight: this.norm2Weight, bias: this.norm2Bias });
    const y = add(attended, linear(gelu(linear(normed, this.up, this.upBias)), this.down, this.downBias));
    const last = layerNorm(y, { weight: this.norm3Weight, bias: this.norm3Bias });
    return reshape(linear(last, this.tokens), [-1, VOCABULARY]);
  }

  private attend(x: Tensor): Tensor {
    const [batch, context] = x.shape as readonly [number, number];
    const heads = split(linear(x, this.queryKeyValue), WIDTH, 2).map((part) =>
      swapAxes(reshape(part, [batch, context, HEADS, WIDTH / HEADS]), 1, 2),
    );
    const [q, k, v] = heads as [Tensor, Tensor, Tensor];
    const mixed = scaledDotProductAttention(q, k, v, { causal: true });
    return linear(reshape(swapAxes(mixed, 1, 2), [batch, context, WIDTH]), this.project, this.projectBias);
  }
}

/** Initial weights: even steps, shuffled; norms start near 1 and 0. */
function weights(): Readonly<Record<string, Float32Array>> {
  const source = new Source(77);
  const entries = Object.entries(SHAPES).map(([name, shape]) => {
    const isNorm = name.startsWith("norm");
    const bound = shape.length === 2 && !isNorm ? 1 / Math.sqrt(shape[1] as number) : 0.125;
    const middle = isNorm && name.endsWith("Weight") ? 1 : 0;
    const length = shape.reduce((a, b) => a * b, 1);
    const draw = (): number => middle + (source.between(-4096, 4096) / 4096) * bound;
    return [name, Float32Array.from({ length }, draw)] as const;
  });
  return Object.fromEntries(entries);
}

/** Sequences in which a token mostly follows from the one before. */
function batch(step: number): TraceBatch {
  const source = new Source(500 + (step % BATCHES));
  const inputs = new Int32Array(BATCH * CONTEXT);
  const target = new Int32Array(BATCH * CONTEXT);
  for (let row = 0; row < BATCH; row++) {
    let token = source.below(VOCABULARY);
    for (let i = row * CONTEXT; i < (row + 1) * CONTEXT; i++) {
      inputs[i] = token;
      token = source.chance(8) ? source.below(VOCABULARY) : (2 * token + 1) % VOCABULARY;
      target[i] = token;
    }
  }
  return {
    inputs: [{ values: inputs, shape: [BATCH, CONTEXT] }],
    target: { values: target, shape: [BATCH * CONTEXT] },
  };
}

function gptTrace(name: string, optimizer: ModelTrace["optimizer"], losses: readonly number[]): ModelTrace {
  return {
    name,
    build() {
      const model = new TinyGpt();
      loadWeights(model, SHAPES, weights());
      return model;
    },
    forward: (model, [index]) => (model as TinyGpt).forward(index as Tensor),
    optimizer,
    batch,
    losses,
    tolerance: 1e-4,
  };
}

/**
 * A GPT of one block on short sequences. The losses are PyTorch's in float64, made by `tests/traces.py` in this
 * package's folder of the repository, from the same weights and tokens.
 */
export function gptTraces(): readonly ModelTrace[] {
  return [
    gptTrace(
      "GPT of one block with Adam",
      (parameters) => new Adam([...parameters], { lr: 1e-2 }),
      ADAM_LOSSES,
    ),
    gptTrace(
      "GPT of one block with AdamW",
      (parameters) => new AdamW([...parameters], { lr: 5e-3, weightDecay: 0.1 }),
      ADAMW_LOSSES,
    ),
  ];
}

const ADAM_LOSSES: readonly number[] = [
  2.688332148, 2.213276747, 2.063740559, 1.81355912, 1.651618737, 1.47341455, 1.411165789, 1.361834582,
  1.147325463, 1.090058344, 1.143660508, 0.9256090297, 0.8312180266, 0.9537336866, 0.7596165719, 0.6366602888,
  0.7567416883, 0.6335206656, 0.492115661, 0.5964973554, 0.527376305, 0.3692757819, 0.475488027, 0.4241865876,
];
const ADAMW_LOSSES: readonly number[] = [
  2.688332148, 2.283157593, 2.20234249, 2.110984142, 1.901811209, 1.801130504, 1.756999636, 1.640591839,
  1.497551618, 1.495612167, 1.460691607, 1.286204002, 1.276908235, 1.310407071, 1.115207902, 1.084539861,
  1.17227128, 0.9882777583, 0.925274868, 1.050609124, 0.8846643806, 0.7957983748, 0.9290849343, 0.7902171518,
];
