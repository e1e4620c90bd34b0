import { cpu } from "@nf/backend-cpu";
import { type ConformanceOptions, conformance } from "@nf/conformance";
import { type Backend, validate } from "@nf/core";
import { describe, it } from "vitest";
import { type WasmOptions, wasm } from "../src/index.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";

/** The suite under options of the backend. */
function suite(
  name: string,
  backend: WasmOptions,
  options: Partial<ConformanceOptions>,
  wrap: (made: Backend) => Backend = (made) => made,
): void {
  describe(name, () => {
    conformance(async () => wrap(await wasm(backend)), {
      describe,
      it,
      reference: () => cpu(),
      limited: async (maxBytes) => wrap(await wasm({ ...backend, maxBytes })),
      ...options,
    });
  });
}

suite("wasm on 2 threads", { threads: 2 }, { examples: nightly ? 10_000 : 200 });
// The kernels meet 200 examples of each property above. One thread leaves out how work is shared, and validate looks at
// calls: the fixed cases send every kind of both.
suite("wasm on 1 thread", { threads: 1 }, { examples: nightly ? 200 : 5 });
suite("validate(wasm)", { threads: 2 }, { examples: nightly ? 200 : 5 }, validate);
