import {
  type CellWeights,
  checkChoice,
  checkInteger,
  type DType,
  type Flat,
  type Generator,
  gruCell,
  lstmCell,
  OptionError,
  parameter,
  rnnCell,
  ShapeError,
  type Tensor,
  zeros,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, checkLayerOptions, shapeText, show } from "../check.ts";
import { into, uniform } from "../init.ts";
import { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { underscored } from "./names.ts";

/** Options of {@link LSTMCell} and {@link GRUCell}. */
export interface CellOptions {
  /** Whether the gates add learned biases; default true. */
  readonly bias?: boolean;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** Options of {@link RNNCell}. */
export interface RNNCellOptions extends CellOptions {
  /** Default `tanh`. */
  readonly nonlinearity?: "tanh" | "relu";
}

const OPTIONS = ["bias", "generator", "dtype"] as const;

/** What one step of a recurrence needs. Parameters have PyTorch's names in a state dict: `weight_ih` … */
abstract class Cell<I extends number, H extends number> extends Module {
  readonly inputSize: I;
  readonly hiddenSize: H;
  /** `[gates * hiddenSize, inputSize]` */
  readonly weightIh: Tensor;
  /** `[gates * hiddenSize, hiddenSize]` */
  readonly weightHh: Tensor;
  /** `[gates * hiddenSize]`, or null without. */
  readonly biasIh: Tensor | null;
  /** `[gates * hiddenSize]`, or null without. */
  readonly biasHh: Tensor | null;

  constructor(gates: number, inputSize: I, hiddenSize: H, options: CellOptions) {
    super();
    const layer = new.target.name;
    checkInteger(layer, "inputSize", inputSize, 1);
    checkInteger(layer, "hiddenSize", hiddenSize, 1);
    const { generator, dtype = "f32" } = options;
    const { bias = true } = options;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    const rows = gates * hiddenSize;
    this.weightIh = parameter(zeros([rows, inputSize], { dtype }));
    this.weightHh = parameter(zeros([rows, hiddenSize], { dtype }));
    this.biasIh = bias ? parameter(zeros([rows], { dtype })) : null;
    this.biasHh = bias ? parameter(zeros([rows], { dtype })) : null;
    this.resetParameters(generator);
  }

  /** All uniform over ±1 / sqrt(hiddenSize), as in PyTorch. */
  override resetParameters(generator?: Generator): void {
    const high = 1 / Math.sqrt(this.hiddenSize);
    for (const one of [this.weightIh, this.weightHh, this.biasIh, this.biasHh])
      if (one !== null) into(one, uniform, { low: -high, high, generator });
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return underscored(super.slots());
  }

  protected override describe(): string {
    return `${this.inputSize}, ${this.hiddenSize}${this.biasIh === null ? ", { bias: false }" : ""}`;
  }

  protected cellWeights(): CellWeights {
    const { weightIh, weightHh, biasIh, biasHh } = this;
    return {
      weightInput: weightIh,
      weightHidden: weightHh,
      ...(biasIh !== null && { biasInput: biasIh }),
      ...(biasHh !== null && { biasHidden: biasHh }),
    };
  }

  /** Runs a step, whose zeros are nobody else's. */
  protected step<T>(input: Tensor, run: () => T): T {
    checkInput(this, input);
    return composite([input], run);
  }

  /** The state as it was given, or zeros. */
  protected state(input: Tensor, state: Tensor | undefined): Tensor {
    if ((input.rank !== 1 && input.rank !== 2) || input.shape.at(-1) !== this.inputSize) {
      throw new ShapeError(
        `${this}: expected [batch, ${this.inputSize}] or [${this.inputSize}], got ${shapeText(input)}.`,
      );
    }
    const shape = [...input.shape.slice(0, -1), this.hiddenSize];
    const { dtype, backend } = this.weightHh;
    if (state === undefined) return zeros(shape, { dtype, backend });
    checkInput(this, state);
    if (state.rank !== shape.length || shape.some((size, axis) => state.shape[axis] !== size)) {
      throw new ShapeError(
        `${this}: a state must be [${shape.join(", ")}] for an input of ${shapeText(input)}, got ${shapeText(state)}.`,
      );
    }
    return state;
  }
}

/** One step of an Elman network: h' = tanh(W x + b + U h + c). Input `[batch, inputSize]` or `[inputSize]`, state by hiddenSize. */
export class RNNCell<const I extends number = number, const H extends number = number> extends Cell<I, H> {
  readonly nonlinearity: "tanh" | "relu";

  constructor(inputSize: I, hiddenSize: H, options: RNNCellOptions = {}) {
    checkLayerOptions("RNNCell", options, [...OPTIONS, "nonlinearity"]);
    super(1, inputSize, hiddenSize, options);
    this.nonlinearity = checkChoice("RNNCell", "nonlinearity", options.nonlinearity ?? "tanh", [
      "tanh",
      "relu",
    ]);
  }

  /** @param hidden default 0. */
  override forward(input: Tensor<Flat<I>>, hidden?: Tensor): Tensor<Flat<H>> {
    const { nonlinearity } = this;
    const weights = this.cellWeights();
    return this.step(input, () =>
      rnnCell(input, this.state(input, hidden), weights, { nonlinearity }),
    ) as Tensor<Flat<H>>;
  }
}

/** One step of long short-term memory, from `[hidden, cell]` to the next. Gates lie as input, forget, candidate, output. */
export class LSTMCell<const I extends number = number, const H extends number = number> extends Cell<I, H> {
  constructor(inputSize: I, hiddenSize: H, options: CellOptions = {}) {
    checkLayerOptions("LSTMCell", options, OPTIONS);
    super(4, inputSize, hiddenSize, options);
  }

  /** @param states `[hidden, cell]`, default 0. */
  override forward(
    input: Tensor<Flat<I>>,
    states?: readonly [hidden: Tensor, cell: Tensor],
  ): [hidden: Tensor<Flat<H>>, cell: Tensor<Flat<H>>] {
    if (states !== undefined && !(Array.isArray(states) && states.length === 2))
      throw new OptionError(`${this}: expected the states [hidden, cell], got ${show(states)}.`);
    return this.step(input, () => {
      const [hidden, cell] = [0, 1].map((i) => this.state(input, states?.[i])) as [Tensor, Tensor];
      return lstmCell(input, [hidden, cell], this.cellWeights());
    }) as [Tensor<Flat<H>>, Tensor<Flat<H>>];
  }
}

/** One step of a gated recurrent unit. Gates lie as reset, update, new; the reset gate acts after the product with the state. */
export class GRUCell<const I extends number = number, const H extends number = number> extends Cell<I, H> {
  constructor(inputSize: I, hiddenSize: H, options: CellOptions = {}) {
    checkLayerOptions("GRUCell", options, OPTIONS);
    super(3, inputSize, hiddenSize, options);
  }

  /** @param hidden default 0. */
  override forward(input: Tensor<Flat<I>>, hidden?: Tensor): Tensor<Flat<H>> {
    const weights = this.cellWeights();
    return this.step(input, () => gruCell(input, this.state(input, hidden), weights)) as Tensor<Flat<H>>;
  }
}
