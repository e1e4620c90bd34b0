import { cpu } from "@nf/backend-cpu";
import { type ConformanceOptions, conformance } from "@nf/conformance";
import { type Backend, validate } from "@nf/core";
import { describe, it } from "vitest";
import { type NativeOptions, native } from "../src/index.ts";
import { missing } from "./built.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";
/** Under AddressSanitizer, which is some ten times slower, few examples already take every way through the kernels. */
const sanitized = process.env["NF_SANITIZED"] === "1";

/** The suite under options of the backend. */
function suite(
  name: string,
  backend: NativeOptions,
  options: Partial<ConformanceOptions>,
  wrap: (made: Backend) => Backend = (made) => made,
): void {
  describe.skipIf(missing !== undefined)(name, () => {
    conformance(async () => wrap(await native(backend)), {
      describe,
      it,
      reference: () => cpu(),
      limited: async (maxBytes) => wrap(await native({ ...backend, maxBytes })),
      ...options,
    });
  });
}

suite("native on 2 threads", { threads: 2 }, { examples: nightly ? 10_000 : sanitized ? 5 : 100 });
suite("native on 1 thread", { threads: 1 }, { examples: nightly ? 200 : 5 });
suite("validate(native)", { threads: 2 }, { examples: nightly ? 200 : 5 }, validate);
