import { cpu } from "@nf/backend-cpu";
import {
  type Backend,
  BackendDecorator,
  BackendError,
  type Call,
  type Capabilities,
  type DType,
  type Support,
} from "@nf/core";
import { describe, expect, it } from "vitest";
import { formatScorecard, runConformance } from "../src/index.ts";

const NUMBERS: readonly DType[] = ["f32", "i32", "u32"];
const ALL: readonly DType[] = [...NUMBERS, "bool"];

/** What every backend must declare, and nothing more. */
const REQUIRED: Capabilities["dtypes"] = {
  map: ALL,
  reduce: ALL,
  argReduce: NUMBERS,
  matmul: NUMBERS,
  gather: ALL,
  scatter: ALL,
  scan: NUMBERS,
  sort: NUMBERS,
};

/** A backend that declares less than the one inside, and refuses what it does not declare. */
class Narrow extends BackendDecorator {
  constructor(wrapped: Backend, dtypes: Capabilities["dtypes"]) {
    const { matmulWeights: _, ...rest } = wrapped.capabilities;
    super("narrow", wrapped, { ...rest, dtypes });
  }

  override supports(call: Call): Support {
    const reason = this.missing(call);
    return reason === undefined ? super.supports(call) : { reason };
  }

  override execute(call: Call): void {
    const reason = this.missing(call);
    if (reason !== undefined) throw new BackendError(reason, "NF_UNSUPPORTED");
    super.execute(call);
  }

  /** The dtype of any view that its kernel does not declare; positions are i32 for every kernel. */
  private missing({ kernel, inputs, outputs }: Call): string | undefined {
    const declared = this.capabilities.dtypes[kernel] ?? [];
    const position = kernel === "mapMany" ? undefined : "i32";
    // Capabilities of a fused kernel tell the dtypes of what it computes; others of its operands are its own affair.
    const found = [...(kernel in REQUIRED ? inputs : []), ...outputs].find(
      ({ dtype }) => dtype !== position && !declared.includes(dtype),
    );
    const none = declared.length === 0 ? `there is no kernel "${kernel}"` : undefined;
    return found === undefined ? none : `${kernel} declares no ${found.dtype}`;
  }
}

/** The whole suite takes longer than a test usually may. */
const LONG = 300_000;

async function complete(dtypes: Capabilities["dtypes"], families?: readonly string[]) {
  const narrow = async (): Promise<Backend> => new Narrow(await cpu(), dtypes);
  return runConformance(narrow, { examples: 1, ...(families !== undefined && { families }) });
}

describe("a backend that declares the required dtypes and no others", () => {
  it("passes: what it does not declare is not applicable", { timeout: LONG }, async () => {
    const card = await complete(REQUIRED);
    expect(card.failed, formatScorecard(card)).toBe(0);
    expect(card.skipped).toBe(0);
    expect(card.passed).toBeGreaterThan(700);
  });

  it("passes with fused kernels of one float dtype", { timeout: LONG }, async () => {
    const f32: readonly DType[] = ["f32"];
    const dtypes: Capabilities["dtypes"] = {
      ...REQUIRED,
      conv: f32,
      pool: f32,
      softmax: f32,
      norm: f32,
      attention: f32,
      rope: f32,
      crossEntropy: f32,
      embeddingGrad: f32,
      quantizedMatmul: f32,
      mapMany: f32,
    };
    const card = await complete(dtypes, ["capabilities", "products", "fused", "optimisers"]);
    expect(card.failed, formatScorecard(card)).toBe(0);
    const fused = card.families.find(({ family }) => family === "fused");
    expect(fused?.passed).toBeGreaterThan(10);
  });
});
