import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Generator, mul, noGrad, type Tensor } from "@nf/core";
import { writeSafetensors } from "@nf/io";
import { Llama, llamaConfig, llamaTensors } from "../src/index.ts";

const LETTERS = [..." abcdefghijklmnopqrstuvwxyz.,!?\n"];
const SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>"];
const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}" +
  "{% if add_generation_prompt %}<|assistant|>{% endif %}";

/** What {@link writeTiny} may leave out or change. */
export interface TinyOptions {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly chatTemplate?: boolean;
  /** Changes the tensors before they are written. */
  readonly change?: (tensors: Map<string, Tensor>) => void;
}

/** Writes a folder in Hugging Face's layout: a random model of 36 letters and marks, rows of 32 values. */
export async function writeTiny(folder: string, options: TinyOptions = {}): Promise<void> {
  const vocabulary = [...SPECIAL, ...LETTERS];
  const sizes = { vocabSize: vocabulary.length, hiddenSize: 32, intermediateSize: 40, layers: 2, heads: 4 };
  const config = llamaConfig({ ...sizes, kvHeads: 2 });
  const model = new Llama(config, { generator: new Generator(3) });
  // Wide enough that what was said before has its effect.
  const wide = (parameter: Tensor): Tensor => noGrad(() => mul(parameter, parameter.rank === 2 ? 12 : 1));
  const own = new Map(model.namedParameters().map(([name, parameter]) => [name, wide(parameter)]));
  for (const parameter of model.parameters()) parameter.dispose();
  const tensors = new Map(llamaTensors(config).map(({ name, stored }) => [stored, own.get(name) as Tensor]));
  options.change?.(tensors);
  await mkdir(folder, { recursive: true });
  const json = (name: string, value: unknown): Promise<void> =>
    writeFile(join(folder, name), JSON.stringify(value, null, 2));
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  for (const tensor of own.values()) tensor.dispose();
  await json("config.json", {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: vocabulary.length,
    hidden_size: 32,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 128,
    bos_token_id: 0,
    eos_token_id: 1,
    ...options.config,
  });
  await json("tokenizer.json", {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
    },
    decoder: { type: "Fuse" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges: [],
      unk_token: null,
      byte_fallback: false,
    },
  });
  await json("tokenizer_config.json", {
    bos_token: "<s>",
    eos_token: "</s>",
    ...(options.chatTemplate !== false && { chat_template: TEMPLATE }),
  });
}
