/// <reference types="@webgpu/types" />

import { cpu } from "@nf/backend-cpu";
import { webgpu } from "@nf/backend-webgpu";
import { runConformance, type Scorecard, type SuiteOptions } from "@nf/conformance";
import { shareDevice } from "./shared.ts";

const here = Reflect.get(globalThis, "navigator") as { readonly gpu: GPU };
Object.defineProperty(here, "gpu", { value: shareDevice(here.gpu) });

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
