import {
  type Backend,
  cast,
  checkChoice,
  DTYPES,
  type DType,
  NanoFluxError,
  noGrad,
  type QuantizedFormat,
  quantize,
  type Shape,
  sizeOf,
} from "@nf/core";
import { readValues, type StoredTensor, toQuantized, toTensor, type WeightFile } from "@nf/io";
import type { LlamaConfig } from "./config.ts";
import type { LlamaWeight } from "./model.ts";

/**
 * What matrices are kept in. `auto`: as they are stored; but f32 for blocks that are not computed with, and for 16 bits
 * where the backend would widen them at each product.
 */
export type LlamaWeightFormat = "auto" | "f32" | "bf16" | "f16" | QuantizedFormat;

/** All of {@link LlamaWeightFormat}. */
export const WEIGHT_FORMATS: readonly LlamaWeightFormat[] = ["auto", "f32", "bf16", "f16", "q8_0", "q4_0"];

/** A weight of a model. */
export interface LlamaTensor {
  /** Name in the model: `blocks.0.attention.q.weight`. */
  readonly name: string;
  /** Name in Hugging Face's files: `model.layers.0.self_attn.q_proj.weight`. */
  readonly stored: string;
  readonly shape: Shape;
}

/** A weight file that does not fit a model; lists everything that is wrong with it. Nothing was loaded. */
export class LlamaWeightsError extends NanoFluxError {
  /** Names that the model needs and the file lacks. */
  readonly missing: readonly string[];
  /** Names that the file has and the model has no place for. */
  readonly unexpected: readonly string[];
  /** One line for each tensor of another shape. */
  readonly misshaped: readonly string[];

  constructor(
    file: string,
    missing: readonly string[],
    unexpected: readonly string[],
    misshaped: readonly string[],
  ) {
    const lines = [`${file} does not fit the configuration. Nothing was loaded.`];
    if (missing.length > 0) lines.push(`  missing: ${some(missing)}`);
    if (unexpected.length > 0) lines.push(`  unexpected: ${some(unexpected)}`);
    for (const line of misshaped.slice(0, SHOWN)) lines.push(`  shape of ${line}`);
    if (misshaped.length > SHOWN) lines.push(`  and ${misshaped.length - SHOWN} other shapes`);
    super("NF_DATA", lines.join("\n"));
    this.missing = missing;
    this.unexpected = unexpected;
    this.misshaped = misshaped;
  }
}

/** Names shown of each kind; the lists on the error have all. */
const SHOWN = 12;

function some(names: readonly string[]): string {
  const rest = names.length - SHOWN;
  return names.slice(0, SHOWN).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** Every weight of a model of a configuration, with its name here and in Hugging Face's files. */
export function llamaTensors(config: LlamaConfig): readonly LlamaTensor[] {
  const { vocabSize, hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, biases } = config;
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  const map = (name: string, stored: string, rows: number, columns: number, bias = false): LlamaTensor[] => [
    { name: `${name}.weight`, stored: `${stored}.weight`, shape: [rows, columns] },
    ...(bias ? [{ name: `${name}.bias`, stored: `${stored}.bias`, shape: [rows] }] : []),
  ];
  const norm = (name: string, stored: string): LlamaTensor => ({
    name,
    stored: `${stored}.weight`,
    shape: [hiddenSize],
  });
  const block = (layer: number): LlamaTensor[] => {
    const [here, there] = [`blocks.${layer}`, `model.layers.${layer}`];
    return [
      ...map(`${here}.attention.q`, `${there}.self_attn.q_proj`, queries, hiddenSize, biases.qkv),
      ...map(`${here}.attention.k`, `${there}.self_attn.k_proj`, keys, hiddenSize, biases.qkv),
      ...map(`${here}.attention.v`, `${there}.self_attn.v_proj`, keys, hiddenSize, biases.qkv),
      ...map(`${here}.attention.out`, `${there}.self_attn.o_proj`, hiddenSize, queries, biases.out),
      ...map(`${here}.feedForward.gate`, `${there}.mlp.gate_proj`, intermediateSize, hiddenSize, biases.mlp),
      ...map(`${here}.feedForward.up`, `${there}.mlp.up_proj`, intermediateSize, hiddenSize, biases.mlp),
      ...map(`${here}.feedForward.down`, `${there}.mlp.down_proj`, hiddenSize, intermediateSize, biases.mlp),
      norm(`${here}.attentionNorm`, `${there}.input_layernorm`),
      norm(`${here}.feedForwardNorm`, `${there}.post_attention_layernorm`),
    ];
  };
  return [
    ...map("embedding", "model.embed_tokens", vocabSize, hiddenSize),
    ...Array.from({ length: layers }, (_, layer) => block(layer)).flat(),
    norm("norm", "model.norm"),
    ...(config.tiedHead ? [] : map("head", "lm_head", vocabSize, hiddenSize)),
  ];
}

/** How a weight of a file is going to be kept. */
export interface PlannedWeight extends LlamaTensor {
  readonly source: StoredTensor;
  readonly format: DType | QuantizedFormat;
  /** Bytes that it will take on the backend. */
  readonly bytes: number;
}

const BLOCKS: Readonly<Record<QuantizedFormat, number>> = { q8_0: 34, q4_0: 18 };

/** What files may hold beside the weights: a tied head written out, and tables that older versions kept. */
function passedOver(name: string, config: LlamaConfig): boolean {
  return (config.tiedHead && name === "lm_head.weight") || name.endsWith(".rotary_emb.inv_freq");
}

/**
 * Holds a file against a configuration, and decides how each weight is kept. Matrices get `format`; those whose rows are
 * no whole number of blocks stay f32, and so do all vectors.
 *
 * @throws LlamaWeightsError listing all that is missing, unexpected or of another shape
 */
export function planWeights(
  file: WeightFile,
  config: LlamaConfig,
  format: LlamaWeightFormat,
  backend: Backend,
): readonly PlannedWeight[] {
  checkChoice("loadLlama", "weights", format, WEIGHT_FORMATS);
  const wanted = llamaTensors(config);
  const names = new Set(wanted.map(({ stored }) => stored));
  const missing = wanted.filter(({ stored }) => !file.tensors.has(stored)).map(({ stored }) => stored);
  const unexpected = [...file.tensors.keys()].filter((name) => !names.has(name) && !passedOver(name, config));
  const misshaped: string[] = [];
  const plan: PlannedWeight[] = [];
  for (const tensor of wanted) {
    const source = file.tensors.get(tensor.stored);
    if (source === undefined) continue;
    const { shape } = source;
    if (shape.length !== tensor.shape.length || shape.some((size, axis) => size !== tensor.shape[axis])) {
      misshaped.push(
        `${tensor.stored}: expected [${tensor.shape.join(", ")}], got [${source.shape.join(", ")}]`,
      );
      continue;
    }
    const kept = keptAs(tensor.shape, source, format, backend);
    plan.push({ ...tensor, source, format: kept, bytes: bytesOf(tensor.shape, kept) });
  }
  if (missing.length + unexpected.length + misshaped.length > 0)
    throw new LlamaWeightsError(file.name, missing, unexpected, misshaped);
  return plan;
}

function isBlocks(format: string): format is QuantizedFormat {
  return Object.hasOwn(BLOCKS, format);
}

function keptAs(
  shape: Shape,
  { dtype }: StoredTensor,
  format: LlamaWeightFormat,
  { capabilities }: Backend,
): DType | QuantizedFormat {
  if (shape.length === 1) return "f32";
  const halves =
    (dtype === "bf16" || dtype === "f16") && capabilities.matmulWeights?.includes(dtype) === true;
  const stored = halves || isBlocks(dtype) ? dtype : "f32";
  const wanted = format === "auto" ? stored : format;
  return isBlocks(wanted) && (shape[1] as number) % 32 !== 0 ? "f32" : wanted;
}

function bytesOf(shape: Shape, format: DType | QuantizedFormat): number {
  const size = sizeOf(shape);
  return isBlocks(format) ? (size / 32) * BLOCKS[format] : size * DTYPES[format].bytes;
}

/** Reads one weight the way it was planned. */
export async function readWeight(
  file: WeightFile,
  { stored, source, format, shape }: PlannedWeight,
  backend: Backend,
): Promise<LlamaWeight> {
  const { dtype } = source;
  if (!isBlocks(format)) {
    const loaded = await toTensor(file, stored, { dtype: format, backend });
    return loaded.dtype === format ? loaded : noGrad(() => cast(loaded, format));
  }
  if (dtype === format) return toQuantized(file, stored, { backend });
  return quantize(await readValues(file, stored), shape, format, { backend });
}

/** Host memory that reading one weight takes at its peak: the file's bytes, its values, and what is made of them. */
export function stagingBytes({ source, format, shape, bytes }: PlannedWeight): number {
  if (source.dtype === format) return source.bytes;
  return source.bytes + 4 * sizeOf(shape) + bytes;
}
