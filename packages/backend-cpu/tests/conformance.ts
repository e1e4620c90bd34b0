import { type ConformanceOptions, conformance } from "@nf/conformance";
import type { Backend } from "@nf/core";
import { describe, expect, it } from "vitest";
import { type CpuOptions, cpu } from "../src/index.ts";

/** Examples of each property: those of a change, or many in the nightly run. */
export function examples(usual: number, nightly: number): number {
  return process.env["NF_NIGHTLY"] === "1" ? nightly : usual;
}

/** The suite on cpu, or on what is put around it, with a last test that nothing was passed over. */
export function suite(
  name: string,
  options: Partial<ConformanceOptions>,
  wrap: (backend: Backend) => Backend = (backend) => backend,
  codegen: CpuOptions["codegen"] = "auto",
): void {
  describe(name, () => {
    const passedOver: string[] = [];
    conformance(async () => wrap(await cpu({ codegen })), {
      describe,
      it,
      reference: () => cpu(),
      limited: async (maxBytes) => wrap(await cpu({ codegen, maxBytes })),
      onNotApplicable: ({ family, name: check }, reason) =>
        passedOver.push(`${family} > ${check}: ${reason}`),
      ...options,
    });
    it("applies in full", () => {
      expect(passedOver).toEqual([]);
    });
  });
}
