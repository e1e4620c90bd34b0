import {
  add,
  cast,
  checkInteger,
  checkNumber,
  checkOptions,
  concat,
  type DType,
  dropout,
  fromData,
  type Generator,
  matmul,
  OptionError,
  parameter,
  permute,
  promoteTypes,
  reshape,
  ShapeError,
  slice,
  squeeze,
  stack,
  type Tensor,
  transpose,
  unsqueeze,
  where,
  zeros,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, shapeText, show } from "../check.ts";
import { into, uniform } from "../init.ts";
import { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { FORMS, type FormName } from "../recurrent/forms.ts";
import { projectedRecurrence, recurrence } from "../recurrent/sequence.ts";

/** Options of the recurrent layers. */
export interface RecurrentOptions {
  /** Layers one above the other; default 1. */
  readonly numLayers?: number;
  /** Whether the gates add learned biases; default true. */
  readonly bias?: boolean;
  /** Whether sequences are `[batch, steps, features]`, rather than `[steps, batch, features]`; default false. */
  readonly batchFirst?: boolean;
  /** Probability of an element between two layers to be dropped in training; default 0. */
  readonly dropout?: number;
  /** Whether a second recurrence goes from the end to the beginning; default false. */
  readonly bidirectional?: boolean;
  /** Where the initial values and the dropout come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** Options of {@link LSTM}. */
export interface LSTMOptions extends RecurrentOptions {
  /**
   * Features that the hidden state is projected to after each step, less than `hiddenSize`; default 0, which is without. Results and
   * hidden states have so many, cells `hiddenSize`. Steps are ordinary operations then, not one.
   */
  readonly projSize?: number;
}

/** Options of {@link RNN}. */
export interface RNNOptions extends RecurrentOptions {
  /** Default `tanh`. */
  readonly nonlinearity?: "tanh" | "relu";
}

/** How one batch of sequences is read. */
export interface SequenceOptions {
  /**
   * Steps of each sequence, at least 1, in any order: results are 0 after the last step of a sequence, and its final states are those of
   * its own last step (backwards: its first). Default all steps. What PyTorch has `pack_padded_sequence` for.
   */
  readonly lengths?: readonly number[];
}

/** Options of every recurrent layer. */
export const OPTIONS = [
  "numLayers",
  "bias",
  "batchFirst",
  "dropout",
  "bidirectional",
  "generator",
  "dtype",
] as const;

/** A state of all layers and directions: hidden, or hidden and cell. */
type States = readonly Tensor[];

/** What the recurrent layers share. Parameters have PyTorch's names: `weight_ih_l0`, `weight_hh_l0_reverse` … */
export abstract class Recurrent<I extends number, H extends number> extends Module {
  readonly inputSize: I;
  readonly hiddenSize: H;
  /** Features of the projected hidden state, or 0 without. */
  readonly projSize: number;
  readonly numLayers: number;
  readonly batchFirst: boolean;
  readonly dropout: number;
  readonly bidirectional: boolean;
  readonly generator: Generator | undefined;
  /**
   * By PyTorch's names: of each layer and direction `weight_ih` `[gates * hiddenSize, in]`, `weight_hh`, `bias_ih`, `bias_hh`, and with
   * `projSize` `weight_hr` `[projSize, hiddenSize]`.
   */
  readonly weights: Readonly<Record<string, Tensor>>;
  protected readonly form: FormName;

  constructor(form: FormName, inputSize: I, hiddenSize: H, options: LSTMOptions) {
    super();
    const layer = new.target.name;
    checkInteger(layer, "inputSize", inputSize, 1);
    checkInteger(layer, "hiddenSize", hiddenSize, 1);
    const { numLayers = 1, bias = true, batchFirst = false, bidirectional = false } = options;
    const { dropout: share = 0, projSize = 0, generator, dtype = "f32" } = options;
    checkInteger(layer, "numLayers", numLayers, 1);
    checkInteger(layer, "projSize", projSize, 0);
    if (projSize >= hiddenSize && projSize > 0) {
      throw new OptionError(
        `${layer}: projSize must be less than hiddenSize (${hiddenSize}), or 0 for none, got ${projSize}.`,
      );
    }
    checkNumber(layer, "dropout", share, 0, 1);
    if (share > 0 && numLayers === 1)
      throw new OptionError(
        `${layer}: dropout acts between layers, so that it needs numLayers of 2 or more.`,
      );
    this.form = form;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.projSize = projSize;
    this.numLayers = numLayers;
    this.batchFirst = batchFirst;
    this.dropout = share;
    this.bidirectional = bidirectional;
    this.generator = generator;
    const rows = FORMS[form].gates * hiddenSize;
    const made: Record<string, Tensor> = {};
    for (let place = 0; place < numLayers * this.directions; place++) {
      const suffix = this.suffix(place);
      const inputs = place < this.directions ? inputSize : this.stateSize * this.directions;
      made[`weight_ih${suffix}`] = parameter(zeros([rows, inputs], { dtype }));
      made[`weight_hh${suffix}`] = parameter(zeros([rows, this.stateSize], { dtype }));
      for (const name of bias ? ["bias_ih", "bias_hh"] : [])
        made[name + suffix] = parameter(zeros([rows], { dtype }));
      if (projSize > 0) made[`weight_hr${suffix}`] = parameter(zeros([projSize, hiddenSize], { dtype }));
    }
    this.weights = made;
    this.resetParameters(generator);
  }

  /** All uniform over ±1 / sqrt(hiddenSize), as in PyTorch. */
  override resetParameters(generator?: Generator): void {
    const high = 1 / Math.sqrt(this.hiddenSize);
    for (const weight of Object.values(this.weights)) into(weight, uniform, { low: -high, high, generator });
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return super.slots().map((slot) => ({ ...slot, name: slot.name.replace(/^weights\./, "") }));
  }

  protected override describe(): string {
    const { inputSize, hiddenSize, projSize, numLayers, batchFirst, bidirectional } = this;
    const options = [
      ...(projSize > 0 ? [`projSize: ${projSize}`] : []),
      ...(numLayers > 1 ? [`numLayers: ${numLayers}`] : []),
      ...("bias_ih_l0" in this.weights ? [] : ["bias: false"]),
      ...(batchFirst ? ["batchFirst: true"] : []),
      ...(this.dropout > 0 ? [`dropout: ${this.dropout}`] : []),
      ...(bidirectional ? ["bidirectional: true"] : []),
    ];
    return `${inputSize}, ${hiddenSize}${options.length === 0 ? "" : `, { ${options.join(", ")} }`}`;
  }

  /** Runs all layers. Final states are `[numLayers * directions, batch, …]`, without the batch as the input. */
  protected run(
    input: Tensor,
    states: States | undefined,
    options: SequenceOptions,
  ): { readonly output: Tensor; readonly final: States } {
    checkOptions(`${this}`, options, ["lengths"]);
    checkInput(this, input);
    // Masks and zeros that it makes are nobody else's.
    return composite([input], () => this.compute(input, states, options.lengths));
  }

  private compute(
    input: Tensor,
    states: States | undefined,
    lengths: readonly number[] | undefined,
  ): { readonly output: Tensor; readonly final: States } {
    const x = this.checked(input);
    const [steps, batch] = x.shape as readonly [number, number];
    const unbatched = input.rank === 2;
    const count = FORMS[this.form].cell ? 2 : 1;
    const given = this.initial(states, count, batch, unbatched, x);
    const dtype = [x, this.weight("weight_hh", 0) as Tensor, ...given]
      .map((one) => one.dtype)
      .reduce((a, b) => promoteTypes(a, b, `${this}`));
    const initial = given.map((state) => typed(state, dtype));
    const live = this.live(lengths, steps, batch, x);
    const mask = live && unsqueeze(live, 2);
    const ends: Tensor[][] = [[], []];
    // What lies behind the end of a sequence may be anything: 0 keeps NaN out of the gradient of the weights.
    let layerInput = typed(mask === undefined ? x : where(mask, x, 0), dtype);
    for (let layer = 0; layer < this.numLayers; layer++) {
      const outputs: Tensor[] = [];
      for (let direction = 0; direction < this.directions; direction++) {
        const place = layer * this.directions + direction;
        const [hidden, cell] = initial.map((state) => slice(state, place)) as [Tensor, Tensor | undefined];
        const result = this.pass(layerInput, place, hidden, cell, live);
        outputs.push(mask === undefined ? result.states : where(mask, result.states, 0));
        (ends[0] as Tensor[]).push(result.hidden);
        if (result.cell !== undefined) (ends[1] as Tensor[]).push(result.cell);
      }
      layerInput = outputs.length === 1 ? (outputs[0] as Tensor) : concat(outputs, 2);
      if (layer + 1 < this.numLayers && this.training && this.dropout > 0) {
        const { generator } = this;
        layerInput = dropout(layerInput, { p: this.dropout, ...(generator !== undefined && { generator }) });
      }
    }
    const final = ends.slice(0, count).map((list) => {
      const one = list.length === 1 ? unsqueeze(list[0] as Tensor, 0) : stack(list);
      return unbatched ? squeeze(one, 1) : one;
    });
    if (unbatched) return { output: squeeze(layerInput, 1), final };
    return { output: this.batchFirst ? permute(layerInput, [1, 0, 2]) : layerInput, final };
  }

  /** Features of a hidden state. */
  private get stateSize(): number {
    return this.projSize > 0 ? this.projSize : this.hiddenSize;
  }

  private get directions(): number {
    return this.bidirectional ? 2 : 1;
  }

  private suffix(place: number): string {
    const layer = Math.floor(place / this.directions);
    return `_l${layer}${place % this.directions === 1 ? "_reverse" : ""}`;
  }

  /** A parameter, in the dtype that is computed in where one is given. */
  private weight(name: string, place: number, dtype?: DType): Tensor | undefined {
    const weight = this.weights[name + this.suffix(place)];
    return weight === undefined || dtype === undefined ? weight : typed(weight, dtype);
  }

  /** One layer in one direction: the product of the whole sequence first, then its steps. */
  private pass(
    x: Tensor,
    place: number,
    hidden: Tensor,
    cell: Tensor | undefined,
    live: Tensor | undefined,
  ): ReturnType<typeof recurrence> {
    const [steps, batch, features] = x.shape as readonly [number, number, number];
    const weightInput = this.weight("weight_ih", place, x.dtype) as Tensor;
    const weight = this.weight("weight_hh", place, x.dtype) as Tensor;
    const [rows] = weightInput.shape as readonly [number];
    const product = matmul(reshape(x, [steps * batch, features]), transpose(weightInput));
    const projected = reshape(product, [steps, batch, rows]);
    const inputs = { projected, weight, hidden, cell, bias: this.bias(place, x.dtype), live };
    const reverse = place % this.directions === 1;
    const projection = this.weight("weight_hr", place, x.dtype);
    return projection === undefined
      ? recurrence(this.form, inputs, reverse)
      : projectedRecurrence(this.form, inputs, projection, reverse);
  }

  /** Both biases as the recurrence takes them. */
  private bias(place: number, dtype: DType): Tensor | undefined {
    const [input, hidden] = [this.weight("bias_ih", place, dtype), this.weight("bias_hh", place, dtype)];
    if (input === undefined || hidden === undefined) return undefined;
    const { gates, biases } = FORMS[this.form];
    if (biases === gates) return add(input, hidden);
    const outer = (gates - 1) * this.hiddenSize;
    return concat([
      add(slice(input, [0, outer]), slice(hidden, [0, outer])),
      slice(input, [outer, gates * this.hiddenSize]),
      slice(hidden, [outer, gates * this.hiddenSize]),
    ]);
  }

  /** The input as `[steps, batch, inputSize]`. */
  private checked(input: Tensor): Tensor {
    const wanted = this.batchFirst ? "[batch, steps, " : "[steps, batch, ";
    if ((input.rank !== 3 && input.rank !== 2) || input.shape.at(-1) !== this.inputSize) {
      throw new ShapeError(
        `${this}: expected ${wanted}${this.inputSize}], or [steps, ${this.inputSize}] without a batch, got ${shapeText(input)}.`,
      );
    }
    const x = input.rank === 2 ? unsqueeze(input, 1) : this.batchFirst ? permute(input, [1, 0, 2]) : input;
    if (x.shape[0] === 0) throw new ShapeError(`${this}: needs at least one step, got ${shapeText(input)}.`);
    return x;
  }

  private initial(
    states: States | undefined,
    count: number,
    batch: number,
    unbatched: boolean,
    x: Tensor,
  ): States {
    const places = this.numLayers * this.directions;
    const { dtype, backend } = this.weight("weight_hh", 0) as Tensor;
    const shapes = [this.stateSize, this.hiddenSize].slice(0, count).map((size) => [places, batch, size]);
    if (states === undefined) {
      const zero = zeros(shapes[0] as number[], { dtype, backend });
      return shapes.map((shape, i) =>
        i === 0 || this.projSize === 0 ? zero : zeros(shape, { dtype, backend }),
      );
    }
    if (!Array.isArray(states) || states.length !== count) {
      throw new ShapeError(
        `${this}: expected the states ${count === 1 ? "hidden" : "[hidden, cell]"}, got ${show(states)}.`,
      );
    }
    return states.map((state: Tensor, i) => {
      checkInput(this, state);
      const [, , size] = shapes[i] as [number, number, number];
      const wanted = unbatched ? [places, size] : [places, batch, size];
      if (state.rank !== wanted.length || wanted.some((size, axis) => state.shape[axis] !== size)) {
        throw new ShapeError(
          `${this}: states must be [${wanted.join(", ")}] for an input of ${shapeText(x)} as [steps, batch, features], got ${shapeText(state)}.`,
        );
      }
      return unbatched ? unsqueeze(state, 1) : state;
    });
  }

  /** Which sequences go on at each step, bool `[steps, batch]`; none where all are equally long. */
  private live(
    lengths: readonly number[] | undefined,
    steps: number,
    batch: number,
    { backend }: Tensor,
  ): Tensor | undefined {
    if (lengths === undefined) return undefined;
    if (!Array.isArray(lengths) || lengths.length !== batch) {
      throw new OptionError(
        `${this}: lengths must be a list of ${batch} numbers, one for each sequence, got ${show(lengths)}.`,
      );
    }
    for (const length of lengths) checkInteger(`${this}`, "each of lengths", length, 1, steps);
    if (lengths.every((length) => length === steps)) return undefined;
    const values = Uint8Array.from({ length: steps * batch }, (_, i) =>
      Math.floor(i / batch) < (lengths[i % batch] as number) ? 1 : 0,
    );
    return fromData(values, [steps, batch], { dtype: "bool", backend });
  }
}

/** The tensor itself where it has the dtype. */
function typed(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : cast(x, dtype);
}
