// Compiled, never run: features of sequences that do not fit must not compile.
import type { Flat, Spatial, Tensor, Tokens } from "@nf/core";
import {
  Embedding,
  FeedForward,
  GRU,
  GRUCell,
  Linear,
  LSTM,
  LSTMCell,
  ReLU,
  RNN,
  SwiGLU,
  sequential,
} from "../../src/index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<_T extends true>(): void;

declare const tokens: Tensor<Tokens>;
declare const features: Tensor<Flat<8>>;
declare const image: Tensor<Spatial<2, 8>>;
declare const untyped: Tensor;

// What fits.
const [output, [hidden, cell]] = new LSTM(8, 16).forward(features);
expectType<Equal<typeof output, Tensor<Flat>>>();
expectType<Equal<typeof hidden, Tensor>>();
new LSTM(8, 16).forward(features, [hidden, cell], { lengths: [3, 2] });
new GRU(8, 16).forward(new Embedding(10, 8).forward(tokens));
new RNN(8, 16, { nonlinearity: "relu" }).forward(untyped);
const [next] = new LSTMCell(8, 16).forward(features);
expectType<Equal<typeof next, Tensor<Flat<16>>>>();
const fed = sequential(new Linear(4, 8), new FeedForward(8, 32), new SwiGLU(8, 32)).forward(untyped);
expectType<Equal<typeof fed, Tensor<Flat<8>>>>();

// Features that differ.
// @ts-expect-error
new LSTM(9, 16).forward(features);
// @ts-expect-error
new GRU(9, 16).forward(features);
// @ts-expect-error
new GRUCell(16, 16).forward(new LSTMCell(8, 4).forward(features)[0]);
// @ts-expect-error
sequential(new Linear(4, 8), new FeedForward(16, 32));
// @ts-expect-error
sequential(new FeedForward(16, 32), new ReLU(), new SwiGLU(8, 32));

// Ids and images are no features.
// @ts-expect-error
new LSTM(8, 16).forward(tokens);
// @ts-expect-error
new RNN(8, 16).forward(image);

// States: one tensor or two.
// @ts-expect-error
new LSTM(8, 16).forward(features, hidden);
// @ts-expect-error
new GRU(8, 16).forward(features, [hidden, cell]);

// A layer that gives states beside its output is no part of a chain.
// @ts-expect-error
sequential(new Linear(4, 8), new LSTM(8, 16));

// Options.
// @ts-expect-error
new LSTM(8, 16, { nonlinearity: "relu" });
// @ts-expect-error
new GRU(8, 16, { lengths: [3] });
