import { WeightFileError } from "../errors.ts";
import { splitHalves } from "../llama2c/llama2c.ts";
import { type MetadataValue, type StoredTensor, storedTensor, type WeightFile } from "../weight-file.ts";

/** Names in a block of layers; query and key weights of some architectures are reordered. */
const BLOCK_NAMES: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const OUTER_NAMES: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};
/** Architectures, and whether their query and key rows lie as neighbouring pairs. */
const ARCHITECTURES: Readonly<Record<string, { readonly paired: boolean; readonly name: string }>> = {
  llama: { paired: true, name: "LlamaForCausalLM" },
  qwen2: { paired: false, name: "Qwen2ForCausalLM" },
};

/**
 * A GGUF file of a Llama (Mistral is one too) or Qwen2 with the names, the layout and the `config` of Hugging Face. In
 * Llama's files query and key rows are reordered for rotation of neighbouring values; `read` puts them back, blocks and
 * all, so nothing is converted.
 *
 * @throws WeightFileError for other architectures, and for metadata that lacks what a model needs.
 */
export function huggingFaceLayout(file: WeightFile): WeightFile {
  const architecture = file.metadata.get("general.architecture");
  const known = typeof architecture === "string" && Object.hasOwn(ARCHITECTURES, architecture);
  if (file.format !== "gguf" || !known) {
    throw new WeightFileError(
      `${file.name}: huggingFaceLayout translates GGUF files of ${Object.keys(ARCHITECTURES).join(", ")}, this is ${file.format} of ${String(architecture)}.`,
    );
  }
  const { paired } = ARCHITECTURES[architecture] as { paired: boolean };
  const config = configOf(file, architecture);
  const tensors = new Map<string, StoredTensor>();
  const sources = new Map<string, string>();
  for (const [name, tensor] of file.tensors) {
    const translated = translate(name);
    tensors.set(translated, tensor);
    sources.set(translated, name);
  }
  const layout: WeightFile = {
    format: file.format,
    name: file.name,
    metadata: file.metadata,
    tensors,
    config: { ...config, tie_word_embeddings: !tensors.has("lm_head.weight") },
    ...(file.generationConfig !== undefined && { generationConfig: file.generationConfig }),
    async read(name) {
      const { shape } = storedTensor(layout, name);
      const bytes = await file.read(sources.get(name) as string);
      return paired && /self_attn\.[qk]_proj\.(?:weight|bias)$/.test(name)
        ? splitHalves(bytes, shape[0] as number, config["head_dim"] as number)
        : bytes;
    },
    close: () => file.close(),
  };
  return layout;
}

function translate(name: string): string {
  const [, layer, part = "", kind = ""] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const names = layer === undefined ? OUTER_NAMES : BLOCK_NAMES;
  // What is not known keeps its name, for the model to call it unexpected.
  if (!Object.hasOwn(names, part)) return name;
  return `${layer === undefined ? "" : `model.layers.${layer}.`}${names[part]}.${kind}`;
}

function configOf(file: WeightFile, architecture: string): Readonly<Record<string, unknown>> {
  const get = (key: string): MetadataValue | undefined => file.metadata.get(`${architecture}.${key}`);
  const number = (key: string, fallback?: number): number => {
    const value = get(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw new WeightFileError(
      `${file.name}: ${architecture}.${key} is ${String(value)}; expected a number above 0.`,
    );
  };
  const hidden = number("embedding_length");
  const heads = number("attention.head_count");
  const headSize = number("attention.key_length", hidden / heads);
  const vocabulary = file.tensors.get("token_embd.weight")?.shape[0];
  const ids = (which: string): MetadataValue | undefined =>
    file.metadata.get(`tokenizer.ggml.${which}_token_id`);
  const scaling = get("rope.scaling.type");
  if (scaling !== undefined && scaling !== "none" && scaling !== "linear")
    throw new WeightFileError(
      `${file.name}: rope.scaling.type is ${String(scaling)}; none and linear are translated.`,
    );
  if (file.tensors.has("rope_freqs.weight"))
    throw new WeightFileError(
      `${file.name}: its rotation is scaled by a table (rope_freqs), which is not translated. Use the model's safetensors.`,
    );
  return {
    architectures: [ARCHITECTURES[architecture]?.name],
    model_type: architecture,
    hidden_size: hidden,
    intermediate_size: number("feed_forward_length"),
    num_hidden_layers: number("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: number("attention.head_count_kv", heads),
    head_dim: headSize,
    vocab_size: vocabulary ?? number("vocab_size"),
    max_position_embeddings: number("context_length"),
    rms_norm_eps: number("attention.layer_norm_rms_epsilon"),
    rope_theta: number("rope.freq_base", 10000),
    rope_scaling:
      scaling === "linear" ? { rope_type: "linear", factor: number("rope.scaling.factor") } : null,
    hidden_act: "silu",
    bos_token_id: ids("bos"),
    eos_token_id: ids("eos"),
  };
}
