import { showShape } from "../backend/geometry.ts";
import { ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { sigmoidExpr } from "./activations.ts";
import { composite } from "./apply.ts";
import { callElementwise, type Elementwise, elementwise } from "./elementwise.ts";
import { checkAxis, checkOptions, checkTensor } from "./options.ts";
import { split } from "./shape.ts";

const GLU: Elementwise = /* @__PURE__ */ elementwise({
  name: "glu",
  result: "float",
  body: ([value, gate]) => s.mul(value as Expr, sigmoidExpr(gate as Expr)),
});

/** The first half of an axis (default the last) times the sigmoid of the second. Dauphin et al. 2016. */
export function glu(x: Tensor, options: { readonly axis?: number } = {}): Tensor {
  checkTensor("glu", x);
  checkOptions("glu", options, ["axis"]);
  const axis = checkAxis("glu", options.axis ?? -1, x.rank);
  const size = x.shape[axis] as number;
  if (size % 2 !== 0)
    throw new ShapeError(
      `glu: dimension ${axis} of ${showShape(x.shape)} has no two halves: its size is odd.`,
    );
  return composite([x], () => callElementwise(GLU, split(x, [size / 2, size / 2], axis)));
}
