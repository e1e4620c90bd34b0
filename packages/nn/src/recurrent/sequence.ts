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
  where,
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
import { rowsOf } from "../rows.ts";
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

/** As many buffers as the widest `map` of a step binds: where one binds fewer, each step would be cut into several. */
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

/**
 * A recurrence whose hidden state goes through a product after each step, `[projected, hidden]`: as ordinary operations. Sak et al. 2014,
 * arXiv:1402.1128.
 */
export function projectedRecurrence(
  form: FormName,
  inputs: SequenceInputs,
  projection: Tensor,
  reverse: boolean,
): SequenceResult {
  const list = [...listed(inputs), projection];
  const [bias, masked] = [inputs.bias !== undefined, inputs.live !== undefined];
  return composite(list, () => {
    const attributes = { form, reverse, training: false, bias, masked };
    const [states, hidden, cell] = decomposed(listed(inputs), attributes, projection) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    return { states, hidden, cell: FORMS[form].cell ? cell : undefined };
  });
}

/** The same from ordinary operations; with a projection, of the widths that {@link projectedRecurrence} has. */
function decomposed(
  inputs: readonly Tensor[],
  attributes: SequenceAttributes,
  projection?: Tensor,
): readonly Tensor[] {
  const { form: name, reverse } = attributes;
  const form = FORMS[name];
  const { projected, weight, hidden, cell, bias, live } = named(inputs, attributes);
  const { dtype } = projected;
  // The program cannot keep a state of another width than it computes: a projected one is kept here.
  const masked = attributes.masked && projection === undefined;
  const program = stepProgram(variantOf({ ...attributes, masked, training: false }, dtype));
  const width = (projected.shape[2] as number) / form.gates;
  const gates = (x: Tensor): readonly Tensor[] =>
    Array.from({ length: form.gates }, (_, gate) => slice(x, null, [gate * width, (gate + 1) * width]));
  const product = transpose(weight);
  const arriving = rowsOf(projected);
  const after: Tensor[] = [];
  let [state, inner] = [hidden, cell];
  for (const step of stepsOf(projected.shape[0] as number, reverse)) {
    const operands = [
      ...gates(arriving[step] as Tensor),
      ...gates(matmul(state, product)),
      ...(form.direct || masked ? [state] : []),
      ...(inner === undefined ? [] : [inner]),
      ...(bias === undefined ? [] : split(bias, width)),
      ...(masked ? [unsqueeze(slice(live as Tensor, step), 1)] : []),
    ];
    const results = apply(STEP_OPS[name], operands, {
      program,
      params: NO_PARAMS,
      dtypes: form.cell ? [dtype, dtype] : [dtype],
    });
    const next = results[0] as Tensor;
    if (projection === undefined) {
      state = next;
      inner = results[1];
    } else {
      const kept = (value: Tensor, before: Tensor): Tensor =>
        live === undefined ? value : where(unsqueeze(slice(live, step), 1), value, before);
      state = kept(matmul(next, transpose(projection)), state);
      inner = inner && kept(results[1] as Tensor, inner);
    }
    after.push(state);
  }
  const states = stack(reverse ? after.reverse() : after);
  return inner === undefined ? [states, state] : [states, state, inner];
}
