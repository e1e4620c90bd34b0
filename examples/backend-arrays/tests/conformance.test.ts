import { createBackend as createReference } from "@nf/backend-cpu";
import { conformance } from "@nf/conformance";
import { describe, expect, it } from "vitest";
import { createBackend } from "../src/index.ts";

const reasons = new Set<string>();

conformance(createBackend, {
  describe,
  it,
  level: "complete",
  // The default is 200. Here the fixed cases of every operation matter; the nightly run looks for rare ones. 25 find what
  // a common shape or value shows, and add a twentieth to the time of this run; 200 would add half.
  examples: process.env["NF_NIGHTLY"] === "1" ? 200 : 25,
  limited: (maxBytes) => createBackend({ maxBytes }),
  reference: createReference,
  onNotApplicable: (_check, reason) => reasons.add(reason),
});

it("leaves nothing out but what is optional and not declared: fused kernels, epilogues, 16-bit weights", () => {
  const optional = /^no fused \w+|^matmul takes no program|^matmulWeights does not declare/;
  const others = [...reasons].filter((reason) => !optional.test(reason));
  expect(others).toEqual([]);
});
