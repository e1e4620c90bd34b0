import { cpu } from "@nf/backend-cpu";
import { webgpu } from "@nf/backend-webgpu";
import { runConformance, type Scorecard, type SuiteOptions } from "@nf/conformance";

/** The whole suite on the backend. */
function score(options: Pick<SuiteOptions, "examples" | "families" | "widen">): Promise<Scorecard> {
  return runConformance(() => webgpu(), {
    level: "training",
    ...options,
    reference: () => cpu(),
    limited: (maxBytes) => webgpu({ maxBytes }),
  });
}

Reflect.set(globalThis, "run", { score });
