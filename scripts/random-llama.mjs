// Writes a folder in Hugging Face's layout with a random Llama of TinyLlama-1.1B's shape, for tests of size and speed:
//
//   node scripts/random-llama.mjs FOLDER [--dtype bf16|f16|f32] [--layers N] [--seed N] [--tokenizer FOLDER] [--gguf FORMAT]
//
// --gguf q8_0 (or q4_0, bf16, f16, f32; several times) writes model-FORMAT.gguf with the same values beside, for llama.cpp;
// it needs the built packages and the tokenizer's GGUF.
//
// The tokenizer is the real one where NF_DATA_DIR (or --tokenizer) has it. Values are drawn once and repeat after a prime
// number of them, so that no two rows are equal and gigabytes take seconds.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

const SHAPE = { hidden: 2048, intermediate: 5632, heads: 32, kvHeads: 4, vocabulary: 32000, positions: 2048 };
const STD = 0.02;
/** A prime, so that it has no common factor with the length of a row. */
const PERIOD = 4_194_301;
const BYTES = { f32: 4, bf16: 2, f16: 2 };
const NAMES = { f32: "F32", bf16: "BF16", f16: "F16" };
const GGUF_FORMATS = ["q8_0", "q4_0", "bf16", "f16", "f32"];
const TORCH_NAMES = { f32: "float32", bf16: "bfloat16", f16: "float16" };

function fail(message) {
  process.stderr.write(`random-llama: ${message}\n`);
  process.exit(2);
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        dtype: { type: "string", default: "bf16" },
        layers: { type: "string", default: "22" },
        seed: { type: "string", default: "1" },
        tokenizer: { type: "string" },
        gguf: { type: "string", multiple: true, default: [] },
      },
    });
    const [layers, seed] = [Number(values.layers), Number(values.seed)];
    if (positionals.length !== 1) fail("expected one folder to write to.");
    if (!Object.hasOwn(BYTES, values.dtype)) fail(`--dtype must be ${Object.keys(BYTES).join(", ")}.`);
    for (const format of values.gguf)
      if (!GGUF_FORMATS.includes(format)) fail(`--gguf must be ${GGUF_FORMATS.join(", ")}.`);
    if (!Number.isInteger(layers) || layers < 1) fail("--layers must be a whole number from 1.");
    if (!Number.isInteger(seed) || seed < 0) fail("--seed must be a whole number from 0.");
    const data = process.env.NF_DATA_DIR;
    const tokenizer = values.tokenizer ?? (data === undefined ? undefined : join(data, "llama-tokenizer"));
    return { folder: positionals[0], dtype: values.dtype, gguf: values.gguf, layers, seed, tokenizer };
  } catch (error) {
    return fail(error.message);
  }
}

/** Name and shape of each tensor, in the order they are written. */
function tensorsOf(layers) {
  const { hidden, intermediate, heads, kvHeads, vocabulary } = SHAPE;
  const keys = (hidden / heads) * kvHeads;
  const list = [["model.embed_tokens.weight", [vocabulary, hidden]]];
  for (let layer = 0; layer < layers; layer++) {
    const add = (name, shape) => list.push([`model.layers.${layer}.${name}.weight`, shape]);
    add("input_layernorm", [hidden]);
    add("self_attn.q_proj", [hidden, hidden]);
    add("self_attn.k_proj", [keys, hidden]);
    add("self_attn.v_proj", [keys, hidden]);
    add("self_attn.o_proj", [hidden, hidden]);
    add("post_attention_layernorm", [hidden]);
    add("mlp.gate_proj", [intermediate, hidden]);
    add("mlp.up_proj", [intermediate, hidden]);
    add("mlp.down_proj", [hidden, intermediate]);
  }
  list.push(["model.norm.weight", [hidden]], ["lm_head.weight", [vocabulary, hidden]]);
  return list;
}

/** Normal values by Box and Muller from a 32-bit generator (Mulberry32): plenty for weights that mean nothing. */
function normals(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = STD * Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** Values as a file stores them. None here is too large for a half, and those too small become 0. */
function encode(values, dtype) {
  if (dtype === "f32") return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(values.length);
  for (let i = 0; i < codes.length; i++) {
    const word = bits[i];
    if (dtype === "bf16") {
      codes[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    } else {
      const exponent = ((word >>> 23) & 255) - 112;
      const magnitude = exponent > 0 ? (exponent << 10) + (((word & 0x7fffff) + 0x1000) >>> 13) : 0;
      codes[i] = ((word >>> 16) & 0x8000) | magnitude;
    }
  }
  return Buffer.from(codes.buffer);
}

function headerOf(tensors, dtype) {
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [name, shape] of tensors) {
    const bytes = shape.reduce((product, size) => product * size, BYTES[dtype]);
    header[name] = { dtype: NAMES[dtype], shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = JSON.stringify(header);
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return { bytes: Buffer.concat([length, text]), total: offset };
}

async function writeWeights(path, tensors, dtype, seed) {
  const { bytes: header, total } = headerOf(tensors, dtype);
  const random = encode(normals(PERIOD, seed), dtype);
  const file = await open(path, "w");
  try {
    await file.writeFile(header);
    let at = 0;
    for (const [, shape] of tensors) {
      let left = shape.reduce((product, size) => product * size, BYTES[dtype]);
      if (shape.length === 1) {
        await file.writeFile(encode(new Float32Array(shape[0]).fill(1), dtype));
        continue;
      }
      while (left > 0) {
        const part = random.subarray(at, Math.min(random.length, at + left));
        await file.writeFile(part);
        left -= part.length;
        at = (at + part.length) % random.length;
      }
    }
  } finally {
    await file.close();
  }
  return total;
}

const GGUF_PARTS = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};
const GGUF_OUTER = { "model.embed_tokens": "token_embd", "model.norm": "output_norm", lm_head: "output" };

function ggufName(name) {
  const [, layer, part] = /^(?:model\.layers\.(\d+)\.)?(.+)\.weight$/.exec(name);
  return layer === undefined ? `${GGUF_OUTER[part]}.weight` : `blk.${layer}.${GGUF_PARTS[part]}.weight`;
}

/** Rows of a head as llama.cpp rotates them: the two of a pair, half a head apart, become neighbours. */
function paired(values, width, headDim) {
  const result = new Float32Array(values.length);
  for (let row = 0; row < values.length / width; row++) {
    const within = row % headDim;
    const pair = within % (headDim / 2);
    const target = row - within + 2 * pair + (within < headDim / 2 ? 0 : 1);
    result.set(values.subarray(row * width, (row + 1) * width), target * width);
  }
  return result;
}

/** The vocabulary's entries; readers insist on these types. */
function vocabularyOf(metadata) {
  const lists = {
    "tokenizer.ggml.tokens": "string",
    "tokenizer.ggml.scores": "f32",
    "tokenizer.ggml.token_type": "i32",
  };
  const entries = {};
  for (const [key, value] of metadata) {
    if (!key.startsWith("tokenizer.")) continue;
    if (Object.hasOwn(lists, key)) entries[key] = { type: "list", of: lists[key], value };
    else if (typeof value === "string") entries[key] = { type: "string", value };
    else if (typeof value === "boolean") entries[key] = { type: "bool", value };
    else if (typeof value === "number") entries[key] = { type: "u32", value };
  }
  return entries;
}

async function writeForLlamaCpp(folder, format, tensors, vocabulary) {
  const { openGguf, openSafetensors, readValues, writeGguf } = await import("@nf/io");
  const { quantize, use } = await import("@nf/core");
  const { cpu } = await import("@nf/backend-cpu");
  const backend = await use(cpu());
  const source = await openSafetensors(join(folder, "model.safetensors"));
  const words = await openGguf(vocabulary);
  const { hidden, intermediate, heads, kvHeads, positions } = SHAPE;
  const isBlocks = format === "q8_0" || format === "q4_0";
  const bytesOf = async (name, shape) => {
    const values = await readValues(source, name);
    const rows = /[qk]_proj/.test(name) ? paired(values, shape[1], hidden / heads) : values;
    if (!isBlocks || shape.length === 1) return encode(rows, shape.length === 1 ? "f32" : format);
    const { bytes } = quantize(rows, shape, format);
    const blocks = await bytes.data();
    bytes.dispose();
    return blocks;
  };
  const entries = tensors.map(([name, shape]) => [
    ggufName(name),
    { dtype: shape.length === 1 ? "f32" : format, shape, bytes: () => bytesOf(name, shape) },
  ]);
  const u32 = (value) => ({ type: "u32", value });
  const metadata = {
    "general.architecture": { type: "string", value: "llama" },
    "general.name": { type: "string", value: "random" },
    "llama.block_count": u32(tensors.filter(([name]) => name.includes("q_proj")).length),
    "llama.context_length": u32(positions),
    "llama.embedding_length": u32(hidden),
    "llama.feed_forward_length": u32(intermediate),
    "llama.attention.head_count": u32(heads),
    "llama.attention.head_count_kv": u32(kvHeads),
    "llama.attention.layer_norm_rms_epsilon": { type: "f32", value: 1e-5 },
    "llama.rope.dimension_count": u32(hidden / heads),
    "llama.rope.freq_base": { type: "f32", value: 10000 },
    "llama.vocab_size": u32(SHAPE.vocabulary),
    ...vocabularyOf(words.metadata),
  };
  await writeGguf(join(folder, `model-${format}.gguf`), new Map(entries), { metadata });
  await Promise.all([source.close(), words.close()]);
  await backend.dispose();
}

const { folder, dtype, gguf, layers, seed, tokenizer } = readArguments();
const { hidden, intermediate, heads, kvHeads, vocabulary, positions } = SHAPE;
mkdirSync(folder, { recursive: true });
const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: vocabulary,
  hidden_size: hidden,
  intermediate_size: intermediate,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kvHeads,
  max_position_embeddings: positions,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  rope_scaling: null,
  hidden_act: "silu",
  attention_bias: false,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: TORCH_NAMES[dtype],
};
writeFileSync(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
if (tokenizer !== undefined && existsSync(join(tokenizer, "tokenizer.json"))) {
  // Contents alone: the original may be read-only.
  const copy = (from, to) => writeFileSync(join(folder, to), readFileSync(join(tokenizer, from)));
  copy("tokenizer.json", "tokenizer.json");
  const special = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };
  writeFileSync(join(folder, "tokenizer_config.json"), `${JSON.stringify(special, null, 2)}\n`);
  if (existsSync(join(tokenizer, "tinyllama-chat_template.jinja")))
    copy("tinyllama-chat_template.jinja", "chat_template.jinja");
} else {
  process.stderr.write(
    "random-llama: no tokenizer.json: set NF_DATA_DIR or pass --tokenizer to have one copied.\n",
  );
}
const bytes = await writeWeights(join(folder, "model.safetensors"), tensorsOf(layers), dtype, seed);
process.stdout.write(`${folder}: ${layers} layers, ${(bytes / 1e9).toFixed(2)} GB as ${dtype}\n`);
for (const format of gguf) {
  const vocabulary = join(tokenizer ?? "", "ggml-vocab-llama-spm.gguf");
  if (!existsSync(vocabulary)) fail("--gguf needs ggml-vocab-llama-spm.gguf in the tokenizer's folder.");
  await writeForLlamaCpp(folder, format, tensorsOf(layers), vocabulary);
  process.stdout.write(`${join(folder, `model-${format}.gguf`)}\n`);
}
