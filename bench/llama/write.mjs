import { writeGguf } from "@nf/io";

const BLOCKS = { q8_0: 34, q4_0: 18 };
const FILE_TYPES = { q8_0: 7, q4_0: 2, bf16: 32 };

/** What weights can be stored in. */
export const TYPES = Object.keys(FILE_TYPES);

/** Tensors of a model by llama.cpp's names: matrices as [rows, columns], norms as [size]. */
function tensorsOf({ vocabulary, hidden, inner, layers, heads, kvHeads, tied }) {
  const kv = (hidden / heads) * kvHeads;
  const tensors = new Map([["token_embd.weight", [vocabulary, hidden]]]);
  for (let layer = 0; layer < layers; layer++) {
    const parts = {
      attn_norm: [hidden],
      attn_q: [hidden, hidden],
      attn_k: [kv, hidden],
      attn_v: [kv, hidden],
      attn_output: [hidden, hidden],
      ffn_norm: [hidden],
      ffn_gate: [inner, hidden],
      ffn_up: [inner, hidden],
      ffn_down: [hidden, inner],
    };
    for (const [name, shape] of Object.entries(parts)) tensors.set(`blk.${layer}.${name}.weight`, shape);
  }
  tensors.set("output_norm.weight", [hidden]);
  if (!tied) tensors.set("output.weight", [vocabulary, hidden]);
  return tensors;
}

const sizeOf = (shape) => shape.reduce((product, size) => product * size, 1);

function bytesOf(shape, type) {
  if (shape.length === 1) return 4 * shape[0];
  return type === "bf16" ? 2 * sizeOf(shape) : (sizeOf(shape) / 32) * BLOCKS[type];
}

/** Bytes of the weights, and how many of them a step reads: all but the rows of an embedding that is not the head. */
export function weightBytes(shape, type) {
  let [all, read] = [0, 0];
  for (const [name, dimensions] of tensorsOf(shape)) {
    const bytes = bytesOf(dimensions, type);
    all += bytes;
    if (name !== "token_embd.weight" || shape.tied) read += bytes;
  }
  return { all, read };
}

/** Number of weights. */
export function parametersOf(shape) {
  return [...tensorsOf(shape).values()].reduce((sum, dimensions) => sum + sizeOf(dimensions), 0);
}

/** Random words, the same each time. Marsaglia 2003, xorshift. */
function randomWords(count, seed) {
  const words = new Uint32Array(count);
  let x = seed;
  for (let i = 0; i < count; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return words;
}

/** Random weights with a standard deviation of about 0.02. */
function weights(shape, type, seed) {
  const length = bytesOf(shape, type);
  const words = randomWords(Math.ceil(length / 4), seed);
  if (type === "bf16") {
    // Sign, mantissa and the last bit of the exponent stay random: 2^-7 to 2^-5.
    for (let i = 0; i < words.length; i++) words[i] = (words[i] & 0x80ff80ff) | 0x3c003c00;
    return new Uint8Array(words.buffer, 0, length);
  }
  const bytes = new Uint8Array(words.buffer, 0, length);
  // The scale of each block, a half: 0.02 over the deviation of a random byte or nibble.
  const scale = type === "q8_0" ? 0x0c7d : 0x1c72;
  for (let at = 0; at < length; at += BLOCKS[type]) {
    bytes[at] = scale & 255;
    bytes[at + 1] = scale >> 8;
  }
  return bytes;
}

/** Writes a model with random weights, and a vocabulary without meaning. `onProgress` is told of the share that is done. */
export async function writeModel(path, shape, type, onProgress) {
  const { vocabulary, hidden, inner, layers, heads, kvHeads, positions } = shape;
  const { all } = weightBytes(shape, type);
  let done = 0;
  const tensors = new Map();
  for (const [name, dimensions] of tensorsOf(shape)) {
    const seed = 1 + 7919 * tensors.size;
    const vector = dimensions.length === 1;
    const bytes = () => {
      done += bytesOf(dimensions, type);
      onProgress(done / all);
      if (vector) return new Uint8Array(new Float32Array(dimensions[0]).fill(1).buffer);
      return weights(dimensions, type, seed);
    };
    tensors.set(name, { dtype: vector ? "f32" : type, shape: dimensions, bytes });
  }
  const u32 = (value) => ({ type: "u32", value });
  const special = ["<unk>", "<s>", "</s>"];
  const byteNames = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const named = [...special, ...byteNames];
  const tokens = Array.from({ length: vocabulary }, (_, id) => named[id] ?? `\u2581w${id}`);
  const kinds = tokens.map((_, id) => (id === 0 ? 2 : id < special.length ? 3 : id < named.length ? 6 : 1));
  await writeGguf(path, tensors, {
    metadata: {
      "general.architecture": { type: "string", value: "llama" },
      "general.name": { type: "string", value: `random, shaped like ${shape.like}` },
      "general.file_type": u32(FILE_TYPES[type]),
      "llama.vocab_size": u32(vocabulary),
      "llama.context_length": u32(positions),
      "llama.embedding_length": u32(hidden),
      "llama.feed_forward_length": u32(inner),
      "llama.block_count": u32(layers),
      "llama.attention.head_count": u32(heads),
      "llama.attention.head_count_kv": u32(kvHeads),
      "llama.rope.dimension_count": u32(hidden / heads),
      "llama.rope.freq_base": { type: "f32", value: 10000 },
      "llama.attention.layer_norm_rms_epsilon": { type: "f32", value: 1e-5 },
      "tokenizer.ggml.model": { type: "string", value: "llama" },
      "tokenizer.ggml.tokens": { type: "list", of: "string", value: tokens },
      "tokenizer.ggml.scores": { type: "list", of: "f32", value: tokens.map((_, id) => -id) },
      "tokenizer.ggml.token_type": { type: "list", of: "i32", value: kinds },
      "tokenizer.ggml.bos_token_id": u32(1),
      "tokenizer.ggml.eos_token_id": u32(2),
      "tokenizer.ggml.unknown_token_id": u32(0),
    },
  });
}
