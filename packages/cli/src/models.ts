import type { DType } from "@nf/core";
import { Gpt, type GptSettings, LENET, type LeNet, lenet, NANOGPT } from "@nf/models";

/** A model that the command knows by name. */
export interface ModelEntry<Create> {
  /** Name for people. */
  readonly title: string;
  /** Shape of one input, without the batch. */
  readonly input: readonly number[];
  readonly dtype: DType;
  readonly create: Create;
}

/** The models, by the name they have on the command line. */
export const MODELS: {
  readonly lenet: ModelEntry<() => LeNet>;
  /** With settings that differ from nanoGPT's. */
  readonly nanogpt: ModelEntry<(settings?: Partial<GptSettings>) => Gpt>;
} = {
  lenet: { title: "LeNet-5", input: LENET.input, dtype: "f32", create: () => lenet() },
  nanogpt: {
    title: "nanoGPT",
    input: [NANOGPT.maxPositions],
    dtype: "i32",
    create: (settings = {}) => new Gpt({ ...NANOGPT, ...settings }),
  },
};
