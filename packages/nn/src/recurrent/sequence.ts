import {
  add,
  concat,
  grad,
  gradientsEnabled,
  matmul,
  mul,
  reshape,
  slice,
  split,
  stack,
  sum,
  type Tensor,
  transpose,
  unsqueeze,
} from "@nf/core";
import {
  apply,
  composite,
  type GradientContext,
  type MapAttributes,
  mapOp,
  NO_PARAMS,
  type Op,
} from "@nf/core/op";
import { BACK, backList } from "./backward.ts";
import { FORMS, type FormName, stepProgram } from "./forms.ts";
import { forwardSteps } from "./forward.ts";
import {
  listed,
  named,
  type SequenceAttributes,
  type SequenceInputs,
  stepsOf,
  variantOf,
} from "./operands.ts";

/** States after each step, `[steps, batch, hidden]`, and the last ones, `[batch, hidden]`. */
export interface SequenceResult {
  readonly states: Tensor;
  readonly hidden: Tensor;
  readonly cell: Tensor | undefined;
}

/** As many buffers as the widest call binds. */
const MOST_BUFFERS = 8;

const RECURRENCE: Op<SequenceAttributes> = {
  name: "recurrence",
  forward: (inputs, attributes, device) =>
    device.backend.capabilities.maxBuffersPerCall < MOST_BUFFERS || (inputs[0] as Tensor).size === 0
      ? undefined
      : forwardSteps(inputs, attributes, device),
  decompose: decomposed,
  gradient: {
    save: (inputs, outputs, _needs, { form }) => [...inputs, ...outputs.slice(FORMS[form].cell ? 3 : 2)],
    vjp: (context) => (context.createGraph ? differentiable(context) : backward(context)),
  },
};

/**
 * A recurrence over all steps of a sequence as one operation: a product and a program for each step, on views of what holds the whole
 * sequence. Its derivative goes back in the same way, and makes the gradient of the weight in one product.
 */
export function recurrence(form: FormName, inputs: SequenceInputs, reverse: boolean): SequenceResult {
  const list = listed(inputs);
  const attributes = {
    form,
    reverse,
    training: gradientsEnabled() && list.some((one) => one.requiresGrad),
    bias: inputs.bias !== undefined,
    masked: inputs.live !== undefined,
  };
  return composite(list, () => {
    const [states, hidden, cell] = apply(RECURRENCE, list, attributes) as [Tensor, Tensor, Tensor];
    return { states, hidden, cell: FORMS[form].cell ? cell : undefined };
  });
}

function backward({
  saved,
  gradients,
  needs,
  inputs,
  attributes,
}: GradientContext<SequenceAttributes>): readonly (Tensor | undefined)[] {
  const { form: name, reverse } = attributes;
  const form = FORMS[name];
  const { weight, live } = named(saved, attributes);
  const [states, ...others] = saved.slice(inputs.length) as [Tensor, ...Tensor[]];
  const [arriving, lastHidden, lastCell] = gradients.slice(0, form.cell ? 3 : 2);
  const back = {
    weight,
    states,
    kept: form.gates > 1 ? others.shift() : undefined,
    more: others.shift(),
    live,
    arriving,
    lastHidden,
    lastCell,
  };
  const results = apply(BACK, backList(back), {
    ...attributes,
    arriving: arriving !== undefined,
    lastHidden: lastHidden !== undefined,
    lastCell: lastCell !== undefined,
  }).slice() as Tensor[];
  const sums = results.shift() as Tensor;
  const projected = form.direct ? (results.shift() as Tensor) : sums;
  const [through, direct, cell] = results as [Tensor, Tensor, Tensor | undefined];
  const wanted = named(needs.map((need) => (need ? states : undefined)) as Tensor[], attributes);
  const [steps, , width] = sums.shape as readonly [number, number, number];
  const hidden = states.shape[2] as number;
  const flat = reshape(sums, [-1, width]);
  const biasGradient = (): Tensor => {
    const outer = sum(reshape(projected, [-1, width]), { axis: 0 });
    if (projected === sums) return outer;
    return concat([outer, sum(slice(flat, null, [width - hidden, width]), { axis: 0 })]);
  };
  const found = {
    projected,
    weight:
      wanted.weight &&
      matmul(transpose(flat), reshape(slice(states, reverse ? [1, steps + 1] : [0, steps]), [-1, hidden])),
    hidden: wanted.hidden && add(through, direct),
    cell,
    bias: wanted.bias && biasGradient(),
  };
  const { cell: hasCell } = form;
  return [
    found.projected,
    found.weight,
    found.hidden,
    ...(hasCell ? [found.cell] : []),
    ...(attributes.bias ? [found.bias] : []),
    ...(attributes.masked ? [undefined] : []),
  ];
}

/** Gradients as results of ordinary operations, so that they can be differentiated. */
function differentiable({
  saved,
  gradients,
  needs,
  inputs,
  attributes,
}: GradientContext<SequenceAttributes>): readonly (Tensor | undefined)[] {
  const argnums = needs.flatMap((need, i) => (need ? [i] : []));
  const pulled = (...args: readonly Tensor[]): Tensor => {
    const terms = decomposed(args, attributes).flatMap((result, i) => {
      const gradient = gradients[i];
      return gradient === undefined ? [] : [sum(mul(result, gradient))];
    });
    return terms.reduce((total, term) => add(total, term));
  };
  const found = grad(pulled, { argnums, createGraph: true })(...saved.slice(0, inputs.length));
  return needs.map((need, i) => (need ? (found[argnums.indexOf(i)] as Tensor) : undefined));
}

const STEP_OPS: Readonly<Record<FormName, Op<MapAttributes>>> = {
  rnn: /* @__PURE__ */ mapOp("rnn"),
  relu: /* @__PURE__ */ mapOp("relu"),
  lstm: /* @__PURE__ */ mapOp("lstm"),
  gru: /* @__PURE__ */ mapOp("gru"),
};

/** The same from ordinary operations. */
function decomposed(inputs: readonly Tensor[], attributes: SequenceAttributes): readonly Tensor[] {
  const { form: name, reverse } = attributes;
  const form = FORMS[name];
  const { projected, weight, hidden, cell, bias, live } = named(inputs, attributes);
  const { dtype } = projected;
  const program = stepProgram(variantOf({ ...attributes, training: false }, dtype));
  const width = hidden.shape[1] as number;
  const gates = (x: Tensor): readonly Tensor[] =>
    Array.from({ length: form.gates }, (_, gate) => slice(x, null, [gate * width, (gate + 1) * width]));
  const product = transpose(weight);
  const after: Tensor[] = [];
  let [state, inner] = [hidden, cell];
  for (const step of stepsOf(projected.shape[0] as number, reverse)) {
    const operands = [
      ...gates(slice(projected, step)),
      ...gates(matmul(state, product)),
      ...(form.direct || live !== undefined ? [state] : []),
      ...(inner === undefined ? [] : [inner]),
      ...(bias === undefined ? [] : split(bias, width)),
      ...(live === undefined ? [] : [unsqueeze(slice(live, step), 1)]),
    ];
    const results = apply(STEP_OPS[name], operands, {
      program,
      params: NO_PARAMS,
      dtypes: form.cell ? [dtype, dtype] : [dtype],
    });
    state = results[0] as Tensor;
    inner = results[1];
    after.push(state);
  }
  const states = stack(reverse ? after.reverse() : after);
  return inner === undefined ? [states, state] : [states, state, inner];
}
