import { checkChoice, type Flat, type Tensor } from "@nf/core";
import { checkLayerOptions } from "../check.ts";

import {
  type LSTMOptions,
  OPTIONS,
  Recurrent,
  type RecurrentOptions,
  type RNNOptions,
  type SequenceOptions,
} from "./recurrent-base.ts";

/**
 * A simple recurrent network: h' = tanh(W x + b + U h + c), by layers. Input `[steps, batch, inputSize]` (or `batchFirst`, or without the
 * batch), results `[output, hidden]`: the states of the last layer, `[steps, batch, directions * hiddenSize]`, and the final ones of all,
 * `[numLayers * directions, batch, hiddenSize]`. Elman 1990.
 */
export class RNN<const I extends number = number, const H extends number = number> extends Recurrent<I, H> {
  constructor(inputSize: I, hiddenSize: H, options: RNNOptions = {}) {
    checkLayerOptions("RNN", options, [...OPTIONS, "nonlinearity"]);
    const { nonlinearity = "tanh" } = options;
    checkChoice("RNN", "nonlinearity", nonlinearity, ["tanh", "relu"]);
    super(nonlinearity === "tanh" ? "rnn" : "relu", inputSize, hiddenSize, options);
  }

  /** @param hidden states before the first step, default 0. */
  override forward(
    input: Tensor<Flat<I>>,
    hidden?: Tensor,
    options: SequenceOptions = {},
  ): [output: Tensor<Flat>, hidden: Tensor] {
    const { output, final } = this.run(input, hidden && [hidden], options);
    return [output as Tensor<Flat>, final[0] as Tensor];
  }
}

/**
 * Long short-term memory, by layers. Input `[steps, batch, inputSize]` (or `batchFirst`, or without the batch), results
 * `[output, [hidden, cell]]`: the states of the last layer, `[steps, batch, directions * hiddenSize]`, and the final ones of all,
 * `[numLayers * directions, batch, hiddenSize]`; with `projSize`, results and hidden states have that size. Gates lie in the weights as
 * input, forget, candidate, output. Hochreiter and Schmidhuber 1997.
 *
 * @example
 * ```ts no-run
 * import { randn } from "@nf/core";
 * import { LSTM } from "@nf/nn";
 *
 * const lstm = new LSTM(100, 128, { batchFirst: true });
 * const [output, [hidden]] = lstm.forward(randn([2, 50, 100]), undefined, { lengths: [50, 31] });
 * console.log(output.shape, hidden.shape); // [2, 50, 128] [1, 2, 128]
 * ```
 */
export class LSTM<const I extends number = number, const H extends number = number> extends Recurrent<I, H> {
  constructor(inputSize: I, hiddenSize: H, options: LSTMOptions = {}) {
    checkLayerOptions("LSTM", options, [...OPTIONS, "projSize"]);
    super("lstm", inputSize, hiddenSize, options);
  }

  /** @param states `[hidden, cell]` before the first step, default 0. */
  override forward(
    input: Tensor<Flat<I>>,
    states?: readonly [hidden: Tensor, cell: Tensor],
    options: SequenceOptions = {},
  ): [output: Tensor<Flat>, states: [hidden: Tensor, cell: Tensor]] {
    const { output, final } = this.run(input, states, options);
    return [output as Tensor<Flat>, [final[0] as Tensor, final[1] as Tensor]];
  }
}

/**
 * A gated recurrent unit, by layers: shapes and results as {@link RNN}'s. Gates lie in the weights as reset, update, new; the reset gate
 * acts after the product with the hidden state. Cho et al. 2014.
 */
export class GRU<const I extends number = number, const H extends number = number> extends Recurrent<I, H> {
  constructor(inputSize: I, hiddenSize: H, options: RecurrentOptions = {}) {
    checkLayerOptions("GRU", options, OPTIONS);
    super("gru", inputSize, hiddenSize, options);
  }

  /** @param hidden states before the first step, default 0. */
  override forward(
    input: Tensor<Flat<I>>,
    hidden?: Tensor,
    options: SequenceOptions = {},
  ): [output: Tensor<Flat>, hidden: Tensor] {
    const { output, final } = this.run(input, hidden && [hidden], options);
    return [output as Tensor<Flat>, final[0] as Tensor];
  }
}
