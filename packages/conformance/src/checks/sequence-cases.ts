import {
  FeedForward,
  GRU,
  GRUCell,
  LearnedPositions,
  LSTM,
  LSTMCell,
  MixtureOfExperts,
  MultiheadAttention,
  RNN,
  RNNCell,
  RoPE,
  SinusoidalPositions,
  SwiGLU,
} from "@nf/nn";
import type { LayerCase } from "./layer-case.ts";

const [STEPS, BATCH, INPUTS, HIDDEN] = [6, 3, 5, 20];
const sequence = [[STEPS, BATCH, INPUTS]];
const lengths = [undefined, { lengths: [2, 6, 1] }];
const positions = [[2, 7, 8]];

/** Recurrent layers, attention and what stands beside it. */
export const SEQUENCE_CASES: readonly LayerCase[] = [
  ...([RNN, LSTM, GRU] as const).flatMap((Recurrent): readonly LayerCase[] => [
    {
      name: `${Recurrent.name}, two layers in both directions`,
      make: (dtype) => new Recurrent(INPUTS, HIDDEN, { dtype, numLayers: 2, bidirectional: true }),
      inputs: sequence,
      values: "small",
    },
    {
      name: `${Recurrent.name}, batch first, of several lengths`,
      make: (dtype) => new Recurrent(INPUTS, HIDDEN, { dtype, batchFirst: true }),
      inputs: [[BATCH, STEPS, INPUTS]],
      values: "small",
      more: lengths,
    },
  ]),
  {
    name: "LSTM with projections, of several lengths",
    make: (dtype) => new LSTM(INPUTS, HIDDEN, { dtype, projSize: 6, numLayers: 2, bidirectional: true }),
    inputs: sequence,
    values: "small",
    more: lengths,
  },
  {
    name: "RNN with relu, without bias",
    make: (dtype) =>
      new RNN(INPUTS, HIDDEN, { dtype, nonlinearity: "relu", bias: false, bidirectional: true }),
    inputs: sequence,
    values: "small",
    more: lengths,
  },
  ...([RNNCell, LSTMCell, GRUCell] as const).map(
    (Cell): LayerCase => ({
      name: Cell.name,
      make: (dtype) => new Cell(INPUTS, HIDDEN, { dtype }),
      inputs: [[BATCH, INPUTS]],
      values: "small",
    }),
  ),
  {
    name: "MultiheadAttention",
    make: (dtype) => new MultiheadAttention(8, 4, { dtype, numKvHeads: 2 }),
    inputs: [positions[0]!, [2, 9, 8], [2, 9, 8]],
    more: [{ causal: true }],
  },
  {
    name: "FeedForward",
    make: (dtype) => new FeedForward(8, 12, { dtype, activation: "gelu" }),
    inputs: positions,
  },
  { name: "SwiGLU", make: (dtype) => new SwiGLU(8, 12, { dtype }), inputs: positions },
  {
    name: "MixtureOfExperts",
    make: (dtype) => new MixtureOfExperts(8, 12, { dtype, count: 4 }),
    inputs: positions,
    // Experts are chosen by scores, of which no two may be nearly equal.
    seed: 1,
  },
  {
    name: "LearnedPositions",
    make: (dtype) => new LearnedPositions(9, 8, { dtype }),
    inputs: positions,
    more: [2],
  },
  { name: "SinusoidalPositions", make: () => new SinusoidalPositions(9, 8), inputs: positions, more: [2] },
  { name: "RoPE", make: () => new RoPE(8, 9), inputs: positions, more: [2] },
];
