import type { ConformanceOptions, SuiteOptions } from "@nf/conformance";

const NIGHTLY = process.env["NF_NIGHTLY"] === "1";

/**
 * What `npm test` takes of the suite in Node. A software adapter compiles for some tenths of a second at each check, so the
 * rest, whose programs the families `kernels` and `fused` and this package's tests meet as well, is for the nightly run.
 */
const QUICK = [
  ...["capabilities", "transfer", "kernels", "faults", "errors", "fused", "transforms", "layers", "models"],
  ...["reduce", "products", "convolution", "pooling", "normalise", "softmax", "attention", "cells", "losses"],
  ...["random", "scan", "optimisers"],
];
/** Of these all checks: every kernel in every dtype on views of every kind, fused ones with first and second gradients. */
const WHOLE = new Set(["kernels", "fused", "capabilities", "transfer", "faults", "errors"]);
/**
 * Checks of other families that are for the nightly run: an operation's kernels read and write other dtypes as they do in the
 * families above, and second gradients are made of the programs of first ones.
 */
const LATER = / (second gradient|f16|bf16|i32|u32|i8|u8)( |$)/;

/**
 * The same in Chromium, whose driver is that of Node: every kernel, forward and backward, in models and layers, but not on
 * every kind of view.
 */
const QUICK_IN_PAGE = [
  ...["capabilities", "transfer", "faults", "models", "layers", "random", "scan", "optimisers"],
];

const among = (families: readonly string[]): Pick<SuiteOptions, "families"> => (NIGHTLY ? {} : { families });

/** Options of the suite that say which families to run in Node. */
export const FAMILIES: Pick<SuiteOptions, "families"> = among(QUICK);
/** Options of the suite that say which families to run in a page. */
export const FAMILIES_IN_PAGE: Pick<SuiteOptions, "families"> = among(QUICK_IN_PAGE);

type Runner = Pick<ConformanceOptions, "describe" | "it">;

/** A test runner that is told of those checks alone that `npm test` takes. */
export function quick({ describe, it }: Runner): Runner {
  if (NIGHTLY) return { describe, it };
  let family = "";
  return {
    describe: (name, body) =>
      describe(name, () => {
        family = name;
        body();
      }),
    it: (name, body) => (!WHOLE.has(family) && LATER.test(name) ? undefined : it(name, body)),
  };
}
