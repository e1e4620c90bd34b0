import { conformance } from "@nf/conformance";
import {
  type Backend,
  BackendDecorator,
  type Call,
  type DType,
  type SoftmaxCall,
  type Support,
  softmax,
  tensor,
  use,
  withFusion,
} from "@nf/core";
import { describe, expect, it } from "vitest";
import { createBackend } from "../src/index.ts";
import { readAll, writeAll } from "../src/walk.ts";

/** The fused kernel: rows of the last dimension, shifted by their maximum so that nothing overflows. */
function softmaxKernel({ inputs, outputs: [out], attributes: { pass, log } }: SoftmaxCall): void {
  const width = out.shape.at(-1) ?? 1;
  const [first, second] = inputs.map(readAll);
  const results: number[] = [];
  for (let start = 0; start < first.length; start += width) {
    const row = first.slice(start, start + width);
    if (pass === "forward") {
      const greatest = row.reduce((a, b) => Math.max(a, b));
      const total = row.reduce((sum, x) => sum + Math.exp(x - greatest), 0);
      for (const x of row)
        results.push(log ? x - greatest - Math.log(total) : Math.exp(x - greatest) / total);
    } else {
      const y = second.slice(start, start + width);
      const total = row.reduce((sum, g, i) => sum + (log ? g : g * y[i]), 0);
      row.forEach((g, i) => {
        results.push(log ? g - Math.exp(y[i]) * total : y[i] * (g - total));
      });
    }
  }
  writeAll(results, out);
}

const SOFTMAX_DTYPES: readonly DType[] = ["f32", "f64"];

/** The arrays backend with a fused kernel more. */
class WithSoftmax extends BackendDecorator {
  constructor(wrapped: Backend) {
    const { capabilities } = wrapped;
    const dtypes = { ...capabilities.dtypes, softmax: SOFTMAX_DTYPES };
    super("softmax", wrapped, { ...capabilities, dtypes });
  }

  override supports(call: Call): Support {
    if (call.kernel !== "softmax") return super.supports(call);
    const { dtype } = call.outputs[0];
    return SOFTMAX_DTYPES.includes(dtype) ? "yes" : { reason: `softmax computes no ${dtype} here` };
  }

  override execute(call: Call): void {
    if (call.kernel === "softmax") softmaxKernel(call);
    else super.execute(call);
  }
}

const create = async (): Promise<Backend> => new WithSoftmax(await createBackend());

describe("a fused kernel", () => {
  it("is used where it is declared, and composed where it is declined", async () => {
    await use(create());
    const x = tensor([[1, 2, 3]]);
    expect(withFusion("force", () => softmax(x)).shape).toEqual([1, 3]);
    expect(() => withFusion("force", () => softmax(x.cast("f16")))).toThrow(/softmax/);
    const [values, halves] = [await softmax(x).data(), await softmax(x.cast("f16")).cast("f32").data()];
    values.forEach((value, i) => {
      expect(halves[i]).toBeCloseTo(value as number, 3);
    });
  });
});

// Fewer examples than the default 200: each row of a fused kernel has fixed cases of its own in both families.
conformance(create, { describe, it, families: ["fused", "softmax"], examples: 25 });
