import { cpu } from "@nf/backend-cpu";
import { conformance } from "@nf/conformance";
import { describe, it } from "vitest";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";
import { FAMILIES } from "./families.ts";
import { WIDEN } from "./widen.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";
const missing = await provideAdapter("conformance on webgpu");

describe.skipIf(missing !== undefined)("webgpu", () => {
  conformance(() => webgpu(testOptions), {
    describe,
    it,
    level: "training",
    ...FAMILIES,
    widen: WIDEN,
    reference: () => cpu(),
    limited: (maxBytes) => webgpu({ ...testOptions, maxBytes }),
    examples: nightly ? 200 : 1,
  });
});
