import { assign, full, noGrad, type Tensor } from "@nf/core";

/** Writes one value over a parameter. */
export function fill(parameter: Tensor, value: number): void {
  const { dtype, backend } = parameter;
  noGrad(() => assign(parameter, full([], value, { dtype, backend })));
}
