import { type Expr, makeProgram, type Program, scalar as s } from "@nf/core";
import { sigmoidExpr } from "@nf/core/op";

/** Which recurrence it is; `relu` is an Elman network with that nonlinearity. */
export type FormName = "rnn" | "relu" | "lstm" | "gru";

type Float = "f32" | "f64";

/** One recurrence, as expressions of an element. */
export interface Form {
  /** Blocks of `hidden` rows in each weight. */
  readonly gates: number;
  /** Whether there is a cell beside the hidden state. */
  readonly cell: boolean;
  /** Blocks of `hidden` elements of the bias: one more than gates where the last one stands inside of the reset gate. */
  readonly biases: number;
  /** Whether the state before a step goes into the one after it element by element. */
  readonly direct: boolean;
  /** The step. */
  step(x: StepValues): StepResult;
  /** Its derivative. */
  back(x: BackValues): BackResult;
}

/** What a step reads. */
export interface StepValues {
  /** Of the input, by gate. */
  readonly input: readonly Expr[];
  /** Of the state before, by gate. */
  readonly state: readonly Expr[];
  readonly hidden: Expr;
  readonly cell: Expr;
  /** By block, or 0 for all where there is none. */
  readonly bias: readonly (Expr | 0)[];
}

/** What a step writes. */
export interface StepResult {
  readonly hidden: Expr;
  readonly cell?: Expr;
  /** Kept for the derivative in the place of `state`, by gate; absent where the hidden state is enough. */
  readonly kept?: readonly Expr[];
  /** One more value that is kept. */
  readonly extra?: Expr;
}

/** What the derivative of a step reads. */
export interface BackValues {
  /** Gradient of the state after the step. */
  readonly hidden: Expr;
  /** Gradient of the cell after the step. */
  readonly cell: Expr;
  readonly kept: readonly Expr[];
  readonly extra: Expr;
  readonly after: Expr;
  readonly before: Expr;
  readonly cellAfter: Expr;
  readonly cellBefore: Expr;
}

/** Gradients that the derivative of a step writes. */
export interface BackResult {
  /** Of `state`, by gate. */
  readonly state: readonly Expr[];
  /** Of `input`, by gate, where they are others. */
  readonly input?: readonly Expr[];
  readonly cell?: Expr;
  /** Of the state before, apart from what goes through its product. */
  readonly before?: Expr;
}

const sumOf = (...terms: readonly (Expr | 0 | undefined)[]): Expr =>
  terms.filter((term) => typeof term === "object").reduce((total, term) => s.add(total, term));
const squareRest = (x: Expr): Expr => s.sub(1, s.mul(x, x));
const logisticRest = (x: Expr): Expr => s.mul(x, s.sub(1, x));
const reluOf = (x: Expr): Expr => {
  const y = s.max(x, 0);
  return s.stated(y, [x], [s.select(s.le(y, 0), s.constant(0, y.dtype), s.constant(1, y.dtype))]);
};

const elman = (nonlinearity: (x: Expr) => Expr, slope: (y: Expr) => Expr): Form => ({
  gates: 1,
  cell: false,
  biases: 1,
  direct: false,
  step: ({ input: [x], state: [h], bias: [b] }) => ({ hidden: nonlinearity(sumOf(x, h, b)) }),
  back: ({ hidden, after }) => ({ state: [s.mul(hidden, slope(after))] }),
});

/** The recurrences. */
export const FORMS: Readonly<Record<FormName, Form>> = {
  rnn: elman(s.tanh, squareRest),
  relu: elman(reluOf, (y) => s.select(s.le(y, 0), s.constant(0, y.dtype), s.constant(1, y.dtype))),

  // Gates: input, forget, candidate, output.
  lstm: {
    gates: 4,
    cell: true,
    biases: 4,
    direct: false,
    step({ input, state, cell, bias }) {
      const sums = input.map((x, gate) => sumOf(x, state[gate], bias[gate])) as [Expr, Expr, Expr, Expr];
      const [i, f, o] = [sigmoidExpr(sums[0]), sigmoidExpr(sums[1]), sigmoidExpr(sums[3])];
      const g = s.tanh(sums[2]);
      const next = s.add(s.mul(f, cell), s.mul(i, g));
      return { hidden: s.mul(o, s.tanh(next)), cell: next, kept: [i, f, g, o] };
    },
    back({ hidden, cell, kept, cellAfter, cellBefore }) {
      const [i, f, g, o] = kept as [Expr, Expr, Expr, Expr];
      const wide = s.tanh(cellAfter);
      const total = s.add(cell, s.mul(s.mul(hidden, o), squareRest(wide)));
      const state = [
        s.mul(s.mul(total, g), logisticRest(i)),
        s.mul(s.mul(total, cellBefore), logisticRest(f)),
        s.mul(s.mul(total, i), squareRest(g)),
        s.mul(s.mul(hidden, wide), logisticRest(o)),
      ];
      return { state, cell: s.mul(total, f) };
    },
  },

  // Gates: reset, update, new. The reset gate acts after the product with the hidden state.
  gru: {
    gates: 3,
    cell: false,
    biases: 4,
    direct: true,
    step({ input, state, hidden, bias }) {
      const reset = sigmoidExpr(sumOf(input[0], state[0], bias[0]));
      const update = sigmoidExpr(sumOf(input[1], state[1], bias[1]));
      const inner = sumOf(state[2], bias[3]);
      const n = s.tanh(sumOf(input[2], bias[2], s.mul(reset, inner)));
      const next = s.add(n, s.mul(update, s.sub(hidden, n)));
      return { hidden: next, kept: [reset, update, inner], extra: n };
    },
    back({ hidden, kept, extra, before }) {
      const [r, z, inner] = kept as [Expr, Expr, Expr];
      const fresh = s.mul(s.mul(hidden, s.sub(1, z)), squareRest(extra));
      const reset = s.mul(s.mul(fresh, inner), logisticRest(r));
      const update = s.mul(s.mul(hidden, s.sub(before, extra)), logisticRest(z));
      return {
        state: [reset, update, s.mul(fresh, r)],
        input: [reset, update, fresh],
        before: s.mul(hidden, z),
      };
    },
  },
};

/** What decides on a program. */
export interface Variant {
  readonly form: FormName;
  readonly dtype: Float;
  /** Whether sequences end at different steps. */
  readonly masked: boolean;
  /** Whether there is a bias. */
  readonly bias: boolean;
  /** Whether the step keeps what its derivative reads. */
  readonly training: boolean;
  /** Whether a gradient arrives at each state, beside that of the last one. */
  readonly arriving: boolean;
}

const programs = new Map<string, Program>();

function cachedProgram(kind: string, variant: Variant, build: () => Program): Program {
  const { form, dtype, masked, bias, training, arriving } = variant;
  const key = [kind, form, dtype, masked, bias, training, arriving].join();
  let known = programs.get(key);
  if (known === undefined) {
    known = build();
    programs.set(key, known);
  }
  return known;
}

/** Numbers inputs in the order in which they are asked for. */
class Inputs {
  readonly types: ("f32" | "f64" | "bool")[] = [];
  private readonly dtype: Float;

  constructor(dtype: Float) {
    this.dtype = dtype;
  }

  one(dtype: Float | "bool" = this.dtype): Expr {
    return s.input(this.types.push(dtype) - 1, dtype);
  }

  many(count: number): readonly Expr[] {
    return Array.from({ length: count }, () => this.one());
  }
}

/**
 * A step: inputs are `gates` of the input, `gates` of the state, then the state before (where it is direct, or masked), the cell,
 * the bias by block, and which sequences go on. Outputs are the state, the cell, and in training what is kept by gate and besides.
 */
export function stepProgram(variant: Variant): Program {
  return cachedProgram("step", variant, () => {
    const { form: name, dtype, masked, bias, training } = variant;
    const form = FORMS[name];
    const inputs = new Inputs(dtype);
    const zero = s.constant(0, dtype);
    const input = inputs.many(form.gates);
    const state = inputs.many(form.gates);
    const hidden = form.direct || masked ? inputs.one() : zero;
    const cell = form.cell ? inputs.one() : zero;
    const values = { input, state, hidden, cell, bias: bias ? inputs.many(form.biases) : [] };
    const live = masked ? inputs.one("bool") : undefined;
    const after = form.step(values);
    const through = (next: Expr, before: Expr): Expr =>
      live === undefined ? next : s.select(live, next, before);
    const outputs = [through(after.hidden, hidden)];
    if (after.cell !== undefined) outputs.push(through(after.cell, cell));
    if (training) outputs.push(...(after.kept ?? []), ...(after.extra === undefined ? [] : [after.extra]));
    return makeProgram(name, inputs.types, [], outputs);
  });
}

/**
 * The derivative of a step: inputs are the gradient through the product of the next step, the direct one (where there is
 * one), the one that arrives, that of the cell, what was kept by gate and besides, the state after and before, the cell after
 * and before (each where the form reads it), and which sequences go on. Outputs are gradients: by gate of the state, of the input where
 * it is another, of the cell, and the direct one of the state before.
 */
export function backProgram(variant: Variant): Program {
  return cachedProgram("back", variant, () => {
    const { form: name, dtype, masked, arriving } = variant;
    const form = FORMS[name];
    const inputs = new Inputs(dtype);
    const zero = s.constant(0, dtype);
    let hidden = inputs.one();
    if (form.direct || masked) hidden = s.add(hidden, inputs.one());
    if (arriving) hidden = s.add(hidden, inputs.one());
    const cell = form.cell ? inputs.one() : zero;
    const keeps = form.gates > 1;
    const result = form.back({
      hidden,
      cell,
      kept: keeps ? inputs.many(form.gates) : [],
      extra: form.direct ? inputs.one() : zero,
      after: keeps ? zero : inputs.one(),
      before: form.direct ? inputs.one() : zero,
      cellAfter: form.cell ? inputs.one() : zero,
      cellBefore: form.cell ? inputs.one() : zero,
    });
    const live = masked ? inputs.one("bool") : undefined;
    const through = (gradient: Expr, otherwise: Expr): Expr =>
      live === undefined ? gradient : s.select(live, gradient, otherwise);
    const outputs = [...result.state, ...(result.input ?? [])].map((gradient) => through(gradient, zero));
    if (result.cell !== undefined) outputs.push(through(result.cell, cell));
    if (form.direct || masked) outputs.push(through(result.before ?? zero, hidden));
    return makeProgram(`${name}'`, inputs.types, [], outputs);
  });
}
