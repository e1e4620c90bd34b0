import { Graph } from "../autograd/graph.ts";
import { gradientsEnabled, record } from "../autograd/tape.ts";
import { isFloat } from "../dtype.ts";
import { BackendError } from "../errors.ts";
import { makeRoot, Root } from "../memory/roots.ts";
import { activeScope, type Owner, scopeWith } from "../memory/scope.ts";
import { currentDevice, type Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Op } from "./op.ts";
import { checkChoice, checkFunction, checkTensor } from "./options.ts";

/** How fused operations choose between their kernel and their decomposition. */
export type FusionMode = "auto" | "off" | "force";

let fusion: FusionMode = "auto";

/** How fused operations choose at this moment. */
export function fusionMode(): FusionMode {
  return fusion;
}

/**
 * Runs a synchronous function with fused kernels used where the backend has them (`auto`), never (`off`), or always,
 * with an error where it has none (`force`).
 */
export function withFusion<T>(mode: FusionMode, fn: () => T): T {
  checkChoice("withFusion", "the mode", mode, ["auto", "off", "force"]);
  checkFunction("withFusion", fn);
  const before = fusion;
  fusion = mode;
  try {
    return fn();
  } finally {
    fusion = before;
  }
}

/**
 * The choke point: every operation on tensors passes here. Checks the operands, runs the operation (or its
 * decomposition), puts it on the tape if a gradient is wanted, and decides who ends the results.
 *
 * @param device where an operation without inputs runs; default the current one.
 */
export function apply<A>(
  op: Op<A>,
  inputs: readonly Tensor[],
  attributes: A,
  device?: Device,
): readonly Tensor[] {
  let home = device;
  let wanted = false;
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i] as Tensor;
    input.assertAlive(op.name);
    if (home === undefined) home = input.storage.device;
    else if (home !== input.storage.device) throw mixedBackends(op.name, home, input.storage.device);
    if (input.node !== undefined || input.leafGradient) wanted = true;
  }
  home ??= currentDevice();

  const outputs =
    op.decompose !== undefined && fusion === "off" ? undefined : op.forward(inputs, attributes, home);
  if (outputs === undefined) return decomposed(op, inputs, attributes, home);

  const gradient = op.gradient;
  if (wanted && gradient !== undefined && gradientsEnabled() && isFloat((outputs[0] as Tensor).dtype)) {
    const needs = new Array<boolean>(inputs.length);
    for (let i = 0; i < inputs.length; i++) needs[i] = (inputs[i] as Tensor).requiresGrad;
    record(op, attributes, inputs, outputs, gradient.save(inputs, outputs, needs, attributes));
  }
  for (let i = 0; i < outputs.length; i++) settle(outputs[i] as Tensor, inputs);
  return outputs;
}

function decomposed<A>(
  op: Op<A>,
  inputs: readonly Tensor[],
  attributes: A,
  device: Device,
): readonly Tensor[] {
  const decompose = op.decompose;
  if (decompose === undefined || fusion === "force") {
    throw new BackendError(
      `${op.name}: backend ${device.label} has no fused kernel for this call` +
        (fusion === "force" ? ', and withFusion("force") forbids the decomposition.' : "."),
      "NF_UNSUPPORTED",
    );
  }
  return composite(inputs, () => decompose.call(op, inputs, attributes));
}

/** Runs operations that make up one: temporaries end at once, results belong where those of a primitive would. */
export function composite<T>(inputs: readonly Tensor[], fn: () => T): T {
  return scopeWith(fn, (tensor) => settle(tensor, inputs), "it was a temporary of a composite operation");
}

/**
 * Decides who ends a new tensor: the scope that is running; else the graph it is part of; else the graph, batch or
 * scope that its operands belong to (what a metric computes from `logits` goes with them); else nobody.
 */
export function settle(tensor: Tensor, inputs: readonly Tensor[]): void {
  const scope = activeScope();
  if (scope !== undefined) {
    scope.adopt(tensor);
    scope.heir ??= graphOf(inputs);
  } else if (tensor.node !== undefined) tensor.node.graph.adopt(tensor);
  else {
    const owner = inheritedOwner(inputs);
    if (owner !== undefined) owner.adopt(tensor);
    else makeRoot(tensor);
  }
}

/** The graph that one of the tensors belongs to. */
function graphOf(inputs: readonly Tensor[]): Graph | undefined {
  for (let i = 0; i < inputs.length; i++) {
    const { owner } = inputs[i] as Tensor;
    if (owner instanceof Graph) return owner;
  }
  return undefined;
}

function inheritedOwner(inputs: readonly Tensor[]): Owner | undefined {
  let owner: Owner | undefined;
  for (let i = 0; i < inputs.length; i++) {
    const candidate = (inputs[i] as Tensor).owner;
    if (candidate instanceof Graph) return candidate;
    // A leaf answers for its gradient alone.
    if (!(candidate instanceof Root)) owner ??= candidate;
  }
  return owner;
}

/**
 * The operands of an operation that others make up, which would name themselves: tensors that live, on one backend.
 * @throws DTypeError, LifetimeError, BackendError
 */
export function together(op: string, inputs: readonly Tensor[]): readonly Tensor[] {
  for (const one of inputs) {
    checkTensor(op, one);
    const { device } = inputs[0] as Tensor;
    if (one.device !== device) throw mixedBackends(op, device, one.device);
  }
  return inputs;
}

function mixedBackends(op: string, first: Device, second: Device): BackendError {
  return new BackendError(
    `${op}: operands live on different backends (${first.label} and ${second.label}). Move one first: ` +
      "await x.to(y.backend), or await model.to(backend).",
    "NF_BACKEND_MIX",
  );
}
