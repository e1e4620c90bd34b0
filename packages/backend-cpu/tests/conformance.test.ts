import { examples, suite } from "./conformance.ts";

suite("cpu", { examples: examples(200, 10_000) });
