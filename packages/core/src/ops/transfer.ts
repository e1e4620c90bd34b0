import type { Backend } from "../backend/backend.ts";
import { GradientError } from "../errors.ts";
import { scope } from "../memory/scope.ts";
import { deviceOf } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { upload } from "./create.ts";
import { checkTensor } from "./options.ts";

/**
 * A copy on another backend (the tensor itself if it is there already). A leaf gives a leaf. A transfer carries no
 * gradient: the result of a differentiable operation must be detached first.
 */
export async function to<K>(x: Tensor<K>, backend: Backend): Promise<Tensor<K>> {
  checkTensor("to", x);
  refuseGraph("to", x);
  if (x.backend === backend) return x;
  const values = await x.data();
  const copy = upload("to", deviceOf(backend, "to"), values, x.shape, x.dtype);
  copy.leafGradient = x.leafGradient;
  return copy;
}

function refuseGraph(op: string, x: Tensor): void {
  if (x.node !== undefined) {
    throw new GradientError(
      `${op}: the result of "${x.origin}" is part of a graph, and a transfer carries no gradient. Use x.detach().${op}(…).`,
    );
  }
}

const companions = new WeakMap<Tensor, Tensor[]>();

/** Makes a tensor move along when another one does: an optimiser's moments with their parameter. */
export function follow(companion: Tensor, leader: Tensor): void {
  checkTensor("follow", companion);
  checkTensor("follow", leader);
  companions.set(leader, [...(companions.get(leader) ?? []).filter((one) => !one.isDisposed), companion]);
}

/**
 * Moves a leaf (a parameter, a buffer) to another backend in place, its gradient and the tensors that {@link follow}
 * it with it: whoever holds it holds the moved one.
 */
export async function moveTo(x: Tensor, backend: Backend): Promise<void> {
  checkTensor("moveTo", x);
  refuseGraph("moveTo", x);
  if (x.backend !== backend) {
    const values = await x.data();
    x.assertAlive("moveTo");
    // The copy's block is taken over; its handle ends inside the scope.
    scope(() => {
      const copy = upload(x.origin, deviceOf(backend, "moveTo"), values, x.shape, x.dtype);
      const { owner, root } = x;
      owner?.abandon(x);
      x.storage.device.liveTensors--;
      x.storage.release();
      x.storage = copy.storage.retain();
      x.view = copy.view;
      x.storage.device.liveTensors++;
      if (root !== undefined) root.storages[0] = x.storage;
      owner?.adopt(x);
    });
  }
  const along = [x.grad, ...(companions.get(x) ?? [])];
  for (const one of along) if (one !== null && !one.isDisposed) await moveTo(one, backend);
}
