/** What the examples have in common. */
export { Option } from "commander";
export { openBackend } from "./backend.ts";
export type { CallbackOptions } from "./callbacks.ts";
export { type ClassifierOptions, type ClassifierSpec, classifier, type Pictures } from "./classifier.ts";
export {
  type Caller,
  type Digits,
  digits,
  downloadOption,
  fetched,
  first,
  limitOption,
  loading,
  MNIST_PIXELS,
} from "./digits.ts";
export { UsageError } from "./errors.ts";
export {
  type CommonOptions,
  type ExampleContext,
  type ExampleSpec,
  type Outcome,
  runExample,
  type Surroundings,
} from "./example.ts";
export { main } from "./main.ts";
export { epochTable, table } from "./table.ts";
export { positiveNumber, wholeNumber } from "./values.ts";
