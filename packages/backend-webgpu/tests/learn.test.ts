import { describe, expect, it } from "vitest";
import { provideAdapter } from "./adapter.ts";
import { learn } from "./browser/pages/app/learn.ts";
import { expectLearnt } from "./learnt.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";
const missing = nightly ? await provideAdapter("learning on webgpu") : undefined;

// What the page of the browser tests runs, which is why it is left to the nightly run here.
describe.skipIf(!nightly || missing !== undefined)("WebGPU in Node", () => {
  it("learns 2,000 digits, and predicts the same on cpu", async () => {
    const learnt = await learn(2000, 2);
    expectLearnt(learnt);
    expect(learnt.losses).toHaveLength(200);
  });
});
