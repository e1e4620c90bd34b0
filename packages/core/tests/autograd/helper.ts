import { cpu } from "@nf/backend-cpu";
import * as core from "../../src/index.ts";

/** Puts a validated cpu backend of its own to use. */
export async function open(): Promise<core.Backend> {
  return await core.use(core.validate(await cpu()));
}

/** A float64 leaf that wants a gradient. */
export function leaf(data: core.Nested): core.Tensor {
  return core.tensor(data, { dtype: "f64", requiresGrad: true });
}

/** A float64 constant. */
export function fixed(data: core.Nested): core.Tensor {
  return core.tensor(data, { dtype: "f64" });
}

/** Values, row-major; null where there is no tensor. */
export function values(x: core.Tensor | null | undefined): number[] | null {
  return x === null || x === undefined ? null : Array.from(x.dataSync());
}
