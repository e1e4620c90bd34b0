import type { Tensor } from "../tensor/tensor.ts";
import type { Owner } from "./scope.ts";
import type { Storage } from "./storage.ts";

/*
 * Tensors that nobody owns live until they are disposed of. If the user drops one instead, the garbage collector
 * finds it some day: its block is then returned and counted as a leak. Finalizers only run when the event loop turns,
 * so this is a safety net, not a way of life.
 */

interface Lost {
  readonly storages: readonly (Storage | undefined)[];
  readonly saved: readonly (Storage | undefined)[];
  readonly birth: string | undefined;
}

let debug = false;
let onLeak: (message: string) => void = defaultReport;

function defaultReport(message: string): void {
  const host: { console?: { warn(message: string): void } } = globalThis;
  host.console?.warn(message);
}

const registry: FinalizationRegistry<Lost> = /* @__PURE__ */ new FinalizationRegistry(reclaim);

function reclaim(lost: Lost): void {
  let tensors = 0;
  for (const storage of lost.storages) {
    if (storage === undefined) continue;
    tensors++;
    storage.device.leaks++;
    storage.device.liveTensors--;
    storage.release();
  }
  for (const storage of lost.saved) storage?.release();
  if (debug && tensors > 0) {
    onLeak(
      `NanoFlux: ${tensors} tensor(s) were dropped without dispose(), scope or using. Born at:\n${lost.birth ?? "(before debugMemory)"}`,
    );
  }
}

function birth(): string | undefined {
  return debug ? new Error("birth").stack?.split("\n").slice(3).join("\n") : undefined;
}

/**
 * What a tensor that nobody owns leaves behind: its block, and that of its gradient. A leaf's gradients come and go
 * every step; they are entered here instead of being watched one by one.
 */
export class Root implements Owner, Lost {
  readonly storages: (Storage | undefined)[];
  readonly saved: readonly Storage[] = [];
  readonly birth: string | undefined = birth();

  constructor(storage: Storage) {
    this.storages = [storage];
  }

  /** @internal Takes in the gradient of the leaf. */
  adopt(gradient: Tensor): void {
    gradient.owner = this;
    this.storages[1] = gradient.storage;
  }

  /** @internal */
  abandon(gradient: Tensor): void {
    gradient.owner = undefined;
    this.storages[1] = undefined;
  }
}

/** Lets a tensor live on its own. */
export function makeRoot(tensor: Tensor): void {
  tensor.owner = undefined;
  tensor.node?.graph.pin();
  tensor.root = new Root(tensor.storage);
  registry.register(tensor, tensor.root, tensor);
}

/** Stops watching a root that was disposed of or adopted, or a group that ended. */
export function unwatch(watched: object): void {
  registry.unregister(watched);
}

/** Watches a group of tensors and saved values that lives and dies as one. The lists may change later. */
export function watchGroup(
  group: object,
  storages: readonly (Storage | undefined)[],
  saved: readonly (Storage | undefined)[],
): void {
  registry.register(group, { storages, saved, birth: birth() }, group);
}

/**
 * Switches leak reports with the place of birth on or off. Off by default, because a stack trace a tensor is slow.
 * @param report receives each report; default `console.warn`.
 */
export function debugMemory(on: boolean, report: (message: string) => void = defaultReport): void {
  debug = on;
  onLeak = report;
}
