import { type Backend, BackendDecorator, type Call, program, type scalar as s, type View } from "@nf/core";
import { blank, runMap } from "./helper.ts";

const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);
/** Sides up to this many stay in f32. */
const FEW = 8;

/**
 * What `matmulPrecision: "bf16"` says, said once more: rounds f32 factors of products with more than 8 rows and columns to
 * bf16 and hands everything to a backend that computes in f32.
 */
export class RoundedFactors extends BackendDecorator {
  constructor(wrapped: Backend) {
    super("rounded", wrapped);
  }

  override execute(call: Call): void {
    const made: View[] = [];
    this.wrapped.execute(call.kernel === "matmul" ? this.rounded(call, made) : call);
    for (const { buffer } of made) this.wrapped.free(buffer);
  }

  private rounded(call: Extract<Call, { kernel: "matmul" }>, made: View[]): Call {
    const [a, b] = call.inputs as readonly [View, View];
    const sides = [a.shape.at(-2) as number, b.shape.at(-1) as number];
    if (a.dtype !== "f32" || sides.some((side) => side <= FEW)) return call;
    if (b.dtype !== "f32" && b.dtype !== "bf16") return call;
    const round = (view: View): View => {
      if (view.dtype === "bf16") return view;
      const [short, wide] = [
        blank(this.wrapped, "bf16", view.shape),
        blank(this.wrapped, "f32", view.shape),
      ] as const;
      made.push(short, wide);
      runMap(this.wrapped, copy, [view], [short]);
      runMap(this.wrapped, copy, [short], [wide]);
      return wide;
    };
    const inputs = [round(a), round(b), ...call.inputs.slice(2)];
    const buffers = [...new Set([...inputs, ...call.outputs].map(({ buffer }) => buffer))];
    return { ...call, inputs, buffers };
  }
}
