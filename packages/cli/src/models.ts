import { LENET, lenet } from "@nf/models";
import type { ModelName } from "./options.ts";

/** A model that the command knows by name. */
export interface ModelEntry {
  /** Name for people. */
  readonly title: string;
  /** Shape of one input, without the batch. */
  readonly input: readonly number[];
  readonly create: typeof lenet;
}

/** The models, by the name they have on the command line. */
export const MODELS: Readonly<Record<ModelName, ModelEntry>> = {
  lenet: { title: "LeNet-5", input: LENET.input, create: lenet },
};
