import type { SuiteOptions } from "@nf/conformance";

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

/** The same in Chromium, whose driver is that of Node. */
const QUICK_IN_PAGE = ["capabilities", "transfer", "kernels", "faults", "models", "optimisers"];

const among = (families: readonly string[]): Pick<SuiteOptions, "families"> => (NIGHTLY ? {} : { families });

/** Options of the suite that say which families to run in Node. */
export const FAMILIES: Pick<SuiteOptions, "families"> = among(QUICK);
/** Options of the suite that say which families to run in a page. */
export const FAMILIES_IN_PAGE: Pick<SuiteOptions, "families"> = among(QUICK_IN_PAGE);
