import { cpu } from "@nf/backend-cpu";
import { wasm } from "@nf/backend-wasm";
import { runConformance, type Scorecard } from "@nf/conformance";

/** How to run the suite. */
export interface Run {
  readonly threads: number;
  readonly examples: number;
  readonly families?: readonly string[];
}

/** The whole suite on the backend. */
export function score({ threads, examples, families }: Run): Promise<Scorecard> {
  return runConformance(() => wasm({ threads }), {
    level: "complete",
    examples,
    ...(families === undefined ? {} : { families }),
    reference: () => cpu(),
    limited: (maxBytes) => wasm({ threads, maxBytes }),
  });
}
