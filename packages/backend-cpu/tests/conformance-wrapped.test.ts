import { profile, validate } from "@nf/core";
import { examples, suite } from "./conformance.ts";

// The kernels meet 200 examples of each property in their own run. What is looked at here is what lies around them: the
// fixed cases send it every kind of call, and random ones add few.
const few = examples(5, 200);

suite("cpu without generated code", { examples: few }, undefined, false);
suite("profile(cpu)", { examples: few }, (backend) => profile(backend));
// Calls run from a queue, so that faults come late and nothing can be read at once.
suite(
  "profile(cpu) that waits",
  { examples: few, families: ["transfer", "scan", "select", "convolution", "errors", "models"] },
  (backend) => profile(backend, { synchronize: true }),
);
suite("validate(cpu)", { examples: few }, (backend) => validate(backend));
