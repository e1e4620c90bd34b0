import { cpu } from "@nf/backend-cpu";
import { conformance } from "@nf/conformance";
import { describe, it } from "vitest";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";
import { shareDevice } from "./browser/pages/suite/shared.ts";
import { FAMILIES, quick } from "./families.ts";
import { WIDEN } from "./widen.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";
const missing = await provideAdapter("conformance on webgpu");
if (missing === undefined) {
  const { create } = await import("webgpu");
  Object.defineProperty(globalThis, "navigator", { value: { gpu: shareDevice(create([])) } });
}

describe.skipIf(missing !== undefined)("webgpu", () => {
  conformance(() => webgpu(testOptions), {
    ...quick({ describe, it }),
    level: "training",
    ...FAMILIES,
    widen: WIDEN,
    reference: () => cpu(),
    limited: (maxBytes) => webgpu({ ...testOptions, maxBytes }),
    examples: Number(process.env["NF_EXAMPLES"] ?? (nightly ? 200 : 1)),
  });
});
