import { OptionError } from "@nf/core";
import { show } from "../check.ts";

/** Something with a `forward`: a module. */
interface Forwarding {
  forward(...inputs: never[]): unknown;
}

/** Looks at the inputs of a module before its `forward` runs; inputs that it returns take their place. */
export type ForwardPreHook<M extends Forwarding> = (
  module: M,
  inputs: Parameters<M["forward"]>,
) => readonly unknown[] | undefined;

/** Looks at what a module's `forward` took and gave; a result that it returns takes the result's place. */
export type ForwardHook<M extends Forwarding> = (
  module: M,
  inputs: Parameters<M["forward"]>,
  output: ReturnType<M["forward"]>,
) => ReturnType<M["forward"]> | undefined;

/** Hooks as they are kept: each registration is a place of its own, also of the same function twice. */
interface Hooks {
  readonly before: Map<symbol, (module: unknown, inputs: unknown[]) => unknown>;
  readonly after: Map<symbol, (module: unknown, inputs: unknown[], output: unknown) => unknown>;
  /** Takes the observer of `forward` away. */
  readonly remove: () => void;
}

const observed: WeakMap<object, Hooks> = new WeakMap();

/** Registers a hook and returns what removes it. Modules without hooks run their own `forward`, at no cost. */
export function addHook(module: Forwarding, when: "before" | "after", hook: unknown): () => void {
  if (typeof hook !== "function") {
    const method = when === "before" ? "registerForwardPreHook" : "registerForwardHook";
    throw new OptionError(`${method}: expected a function, got ${show(hook)}.`);
  }
  const hooks = observed.get(module) ?? observe(module);
  const place = Symbol(when);
  hooks[when].set(place, hook as () => unknown);
  return () => {
    hooks[when].delete(place);
    if (hooks.before.size + hooks.after.size > 0 || observed.get(module) !== hooks) return;
    observed.delete(module);
    hooks.remove();
  };
}

/** Puts an observer before a module's `forward`, which callers reach as a property of the object. */
function observe(module: Forwarding): Hooks {
  const own = module.forward;
  const hooks: Hooks = {
    before: new Map(),
    after: new Map(),
    remove: replaceForward(module, (...given: unknown[]): unknown => {
      let inputs = given;
      for (const hook of hooks.before.values()) {
        const replaced = hook(module, inputs);
        if (replaced === undefined) continue;
        if (!Array.isArray(replaced))
          throw new OptionError(
            `forward pre-hook: return the inputs as an array, or nothing, got ${show(replaced)}.`,
          );
        inputs = replaced;
      }
      let output: unknown = Reflect.apply(own, module, inputs);
      for (const hook of hooks.after.values()) output = hook(module, inputs, output) ?? output;
      return output;
    }),
  };
  observed.set(module, hooks);
  return hooks;
}

/** Replaces `forward` of one object, out of sight of `Object.entries`. Returns what puts its own back. */
export function replaceForward(module: Forwarding, forward: (...inputs: unknown[]) => unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(module, "forward");
  Object.defineProperty(module, "forward", { value: forward, configurable: true, writable: true });
  return () => {
    if (before === undefined) Reflect.deleteProperty(module, "forward");
    else Object.defineProperty(module, "forward", before);
  };
}
