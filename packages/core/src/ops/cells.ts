import { sameShape, showShape } from "../backend/geometry.ts";
import type { Shape } from "../backend/view.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { relu, sigmoidExpr } from "./activations.ts";
import { composite, together } from "./apply.ts";
import { add } from "./binary.ts";
import { callElementwise, type Elementwise, elementwise } from "./elementwise.ts";
import { linear } from "./matmul.ts";
import { checkChoice, checkOptions, checkTensor, show } from "./options.ts";
import { chunk } from "./shape.ts";
import { tanh } from "./unary.ts";

/** Weights of a recurrent cell in PyTorch's layout; `gates` is 1 for rnn, 4 for lstm, 3 for gru. */
export interface CellWeights {
  /** `[gates * hidden, in]` */
  readonly weightInput: Tensor;
  /** `[gates * hidden, hidden]` */
  readonly weightHidden: Tensor;
  /** `[gates * hidden]` */
  readonly biasInput?: Tensor | undefined;
  /** `[gates * hidden]` */
  readonly biasHidden?: Tensor | undefined;
}

const WEIGHT_NAMES = ["weightInput", "weightHidden", "biasInput", "biasHidden"] as const;

/** Every tensor of a call, for the choke point; refuses what does not fit. */
function checkCell(
  op: string,
  gates: number,
  x: Tensor,
  states: readonly Tensor[],
  weights: CellWeights,
): readonly Tensor[] {
  for (const state of [x, ...states]) checkTensor(op, state);
  checkOptions(op, weights ?? null, WEIGHT_NAMES);
  const width = x.shape.at(-1) ?? 0;
  const hidden = states[0]?.shape.at(-1) ?? 0;
  const expected: Readonly<Record<(typeof WEIGHT_NAMES)[number], Shape>> = {
    weightInput: [gates * hidden, width],
    weightHidden: [gates * hidden, hidden],
    biasInput: [gates * hidden],
    biasHidden: [gates * hidden],
  };
  const stateShape = [...x.shape.slice(0, -1), hidden];
  if (x.rank === 0 || states.some((state) => !sameShape(state.shape, stateShape))) {
    throw new ShapeError(
      `${op}: expected x […, in] and states […, hidden], got x ${showShape(x.shape)} and ${states.map((state) => showShape(state.shape)).join(" and ")}.`,
    );
  }
  const given: Tensor[] = [x, ...states];
  for (const name of WEIGHT_NAMES) {
    const weight = weights[name];
    if (weight === undefined && name.startsWith("bias")) continue;
    if (weight !== undefined) checkTensor(op, weight);
    if (weight === undefined || !sameShape(weight.shape, expected[name])) {
      throw new ShapeError(
        `${op}: ${name} must be ${showShape(expected[name])} for x ${showShape(x.shape)} and ${hidden} hidden units, got ${weight === undefined ? "none" : showShape(weight.shape)}.`,
      );
    }
    given.push(weight);
  }
  return together(op, given);
}

/** Options of {@link rnnCell}. */
export interface RnnCellOptions {
  /** Default "tanh". */
  readonly nonlinearity?: "tanh" | "relu";
}

/** One step of an Elman network: tanh(Wᵢ x + bᵢ + Wₕ h + bₕ). x `[…, in]`, h and the result `[…, hidden]`. Elman 1990. */
export function rnnCell(
  x: Tensor,
  hidden: Tensor,
  weights: CellWeights,
  options: RnnCellOptions = {},
): Tensor {
  checkOptions("rnnCell", options, ["nonlinearity"]);
  const form = checkChoice("rnnCell", "nonlinearity", options.nonlinearity ?? "tanh", ["tanh", "relu"]);
  return composite(checkCell("rnnCell", 1, x, [hidden], weights), () => {
    const total = add(
      linear(x, weights.weightInput, weights.biasInput),
      linear(hidden, weights.weightHidden, weights.biasHidden),
    );
    return form === "tanh" ? tanh(total) : relu(total);
  });
}

/** Gated cells have no options: what stands where those of `rnnCell` do would be passed over. */
function refuseMore(op: string, [first]: readonly unknown[]): void {
  if (typeof first === "object" && first !== null) checkOptions(op, first, []);
  else if (first !== undefined)
    throw new OptionError(`${op}: takes no argument after the weights, got ${show(first)}.`);
}

const LSTM_CELL: Elementwise = /* @__PURE__ */ elementwise({
  name: "lstmCell",
  result: "float",
  body: ([input, forget, candidate, cell]) =>
    s.add(
      s.mul(sigmoidExpr(forget as Expr), cell as Expr),
      s.mul(sigmoidExpr(input as Expr), s.tanh(candidate as Expr)),
    ),
});

const LSTM_HIDDEN: Elementwise = /* @__PURE__ */ elementwise({
  name: "lstmCell",
  result: "float",
  body: ([output, cell]) => s.mul(sigmoidExpr(output as Expr), s.tanh(cell as Expr)),
});

/**
 * One step of long short-term memory: `[hidden, cell]` after x. Gates lie in the weights as input, forget, candidate,
 * output. x `[…, in]`, states `[…, hidden]`. Hochreiter and Schmidhuber 1997.
 *
 * @param more nothing: options, as `rnnCell` has, are refused
 * @throws OptionError
 */
export function lstmCell(
  x: Tensor,
  states: readonly [hidden: Tensor, cell: Tensor],
  weights: CellWeights,
  ...more: never[]
): [hidden: Tensor, cell: Tensor] {
  refuseMore("lstmCell", more);
  if (!Array.isArray(states) || states.length !== 2)
    throw new ShapeError(`lstmCell: states must be [hidden, cell], got ${show(states)}.`);
  const [hidden, cell] = states as readonly [Tensor, Tensor];
  return composite(checkCell("lstmCell", 4, x, [hidden, cell], weights), () => {
    const gates = add(
      linear(x, weights.weightInput, weights.biasInput),
      linear(hidden, weights.weightHidden, weights.biasHidden),
    );
    const [input, forget, candidate, output] = chunk(gates, 4, -1) as [Tensor, Tensor, Tensor, Tensor];
    const next = callElementwise(LSTM_CELL, [input, forget, candidate, cell]);
    return [callElementwise(LSTM_HIDDEN, [output, next]), next];
  });
}

const GRU_HIDDEN: Elementwise = /* @__PURE__ */ elementwise({
  name: "gruCell",
  result: "float",
  body: ([resetInput, resetHidden, updateInput, updateHidden, newInput, newHidden, hidden]) => {
    const reset = sigmoidExpr(s.add(resetInput as Expr, resetHidden as Expr));
    const update = sigmoidExpr(s.add(updateInput as Expr, updateHidden as Expr));
    const candidate = s.tanh(s.add(newInput as Expr, s.mul(reset, newHidden as Expr)));
    return s.add(candidate, s.mul(update, s.sub(hidden as Expr, candidate)));
  },
});

/**
 * One step of a gated recurrent unit: the hidden state after x. Gates lie in the weights as reset, update, new; the
 * reset gate acts after the product with the hidden state, as in PyTorch. x `[…, in]`, h and the result `[…, hidden]`.
 * Cho et al. 2014.
 *
 * @param more nothing: options, as `rnnCell` has, are refused
 * @throws OptionError
 */
export function gruCell(x: Tensor, hidden: Tensor, weights: CellWeights, ...more: never[]): Tensor {
  refuseMore("gruCell", more);
  return composite(checkCell("gruCell", 3, x, [hidden], weights), () => {
    const fromInput = chunk(linear(x, weights.weightInput, weights.biasInput), 3, -1);
    const fromHidden = chunk(linear(hidden, weights.weightHidden, weights.biasHidden), 3, -1);
    const pairs = fromInput.flatMap((part, i) => [part, fromHidden[i] as Tensor]);
    return callElementwise(GRU_HIDDEN, [...pairs, hidden]);
  });
}
