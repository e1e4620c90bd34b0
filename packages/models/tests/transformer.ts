import { fromData, Generator, mul, noGrad, type Tensor } from "@nf/core";
import { Transformer, type TransformerSettings, transformerConfig } from "../src/index.ts";

/** A small Transformer. */
export const TINY: TransformerSettings = {
  sourceVocabSize: 7,
  targetVocabSize: 5,
  dModel: 8,
  nhead: 2,
  numEncoderLayers: 1,
  numDecoderLayers: 2,
  dimFeedforward: 16,
  maxPositions: 32,
};

/** Tokens of sequences of equal length, a row each. */
export const ids = (...rows: readonly (readonly number[])[]): Tensor =>
  fromData(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);

/** A random model whose logits are wide enough to prefer something. */
export function build(settings: Partial<TransformerSettings> = {}, seed = 1, gain = 3): Transformer {
  const model = new Transformer(transformerConfig({ ...TINY, ...settings }), {
    generator: new Generator(seed),
  });
  const head = model.head ?? model.targetEmbedding;
  noGrad(() => head.loadStateDict({ weight: mul(head.weight, gain) }));
  return model.eval();
}

/** The logits of each position. */
export const rowsOf = async (logits: Tensor): Promise<readonly (readonly number[])[]> => {
  const width = logits.shape.at(-1) as number;
  const values = await logits.data();
  return Array.from({ length: values.length / width }, (_, i) =>
    Array.from(values.slice(i * width, (i + 1) * width)),
  );
};
