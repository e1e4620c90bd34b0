import * as table from "./method-table.ts";
import { markMethodsReady } from "./ready.ts";
import { Tensor } from "./tensor.ts";

/** A function of a tensor and more, as a method. */
type Method<F> = F extends (x: never, ...rest: infer R) => infer Out ? (...rest: R) => Out : never;

/** The operations of the table as methods: `add(a, b)` is `a.add(b)`. */
export type TensorMethods = { readonly [N in keyof typeof table]: Method<(typeof table)[N]> };

/**
 * Gives `Tensor` its operation methods. Done once, when the first backend is put to use, and not at import: the class
 * would have to import all operations, which import the class.
 */
export function installMethods(): void {
  if (Object.hasOwn(Tensor.prototype, "add")) return;
  for (const [name, operation] of Object.entries(table)) {
    const call = operation as (x: Tensor, ...rest: unknown[]) => unknown;
    Object.defineProperty(Tensor.prototype, name, {
      configurable: true,
      writable: true,
      value(this: Tensor, ...rest: unknown[]): unknown {
        return call(this, ...rest);
      },
    });
  }
  Object.defineProperty(Tensor.prototype, Symbol.for("nodejs.util.inspect.custom"), {
    configurable: true,
    value(this: Tensor): string {
      return this.toString();
    },
  });
  markMethodsReady();
}
