import { describe, expect, it } from "vitest";
import { capabilities } from "../src/capabilities.ts";
import { makeContext } from "../src/context.ts";
import { makeKernels } from "../src/kernels/table.ts";

describe("capabilities of the cpu backend", () => {
  it("declare every kernel of its table: core never runs one that is not declared", () => {
    const kernels = Object.keys(makeKernels(makeContext(true)));
    const { dtypes } = capabilities(1024);
    const undeclared = kernels.filter((kernel) => !Object.keys(dtypes).includes(kernel));
    expect(undeclared, "add each to packages/backend-cpu/src/capabilities.ts").toEqual([]);
    const missing = Object.keys(dtypes).filter((kernel) => !kernels.includes(kernel));
    expect(missing, "add each to packages/backend-cpu/src/kernels/table.ts").toEqual([]);
  });

  it("give each kernel a dtype at least", () => {
    for (const [kernel, dtypes] of Object.entries(capabilities(1024).dtypes))
      expect([kernel, dtypes.length > 0]).toEqual([kernel, true]);
  });
});
