import { WeightFileError } from "../errors.ts";
import { type ByteSource, type FileInput, openSource } from "../files/source.ts";
import { type StoredTensor, storedTensor, type WeightFile } from "../weight-file.ts";

/** The seven numbers at the start of a llama2.c checkpoint. */
export interface Llama2cHeader {
  readonly dim: number;
  readonly hiddenDim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabularySize: number;
  readonly maxSequenceLength: number;
  /** Whether the output projection is the token embedding. */
  readonly tied: boolean;
}

const HEADER_BYTES = 28;
/** "ak42", by which later versions of the format begin. */
const LATER_VERSIONS = 0x616b3432;
/** More layers than any model has, few enough to list. */
const MOST_LAYERS = 4096;

/** A tensor, where it begins, and for query and key weights their head size. */
interface Placed extends StoredTensor {
  readonly offset: number;
  readonly headSize: number | undefined;
}

/**
 * Opens a llama2.c checkpoint (version 0, float32: seven i32, then the weights of each kind for all layers).
 *
 * Tensors have the names and the layout of Hugging Face's Llama: llama2.c rotates neighbouring values of a head, so
 * `read` reorders the rows of query and key weights such that the two values of a pair lie half a head apart. Attention
 * scores are the same sums in another order. `config` holds what `config.json` would.
 *
 * @throws WeightFileError if the header is not plausible, or the size of the file is not what it says.
 */
export async function openLlama2c(input: FileInput): Promise<WeightFile> {
  const source = await openSource(input);
  try {
    const header = readHeader(source, await source.read(0, Math.min(HEADER_BYTES, source.size)));
    return new Llama2cFile(source, header);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/**
 * Whether these first bytes are a llama2.c checkpoint's: `whole` if its version is read and the file has the size that they
 * ask for, else `refused`: `openLlama2c` says why.
 */
export function llama2cKind(source: ByteSource, start: Uint8Array): "whole" | "refused" | undefined {
  let header: Llama2cHeader;
  if (isLater(start)) return "refused";
  try {
    header = readNumbers(source, start);
  } catch (error) {
    if (error instanceof WeightFileError) return undefined;
    throw error;
  }
  return bytesOf(header) === source.size ? "whole" : "refused";
}

/** Reads the header and holds it against the size of the file, so that no count in it can be too large. */
function readHeader(source: ByteSource, start: Uint8Array): Llama2cHeader {
  const header = readNumbers(source, start);
  const { name, size } = source;
  const expected = bytesOf(header);
  if (expected === size) return header;
  const apart =
    size < expected
      ? `${expected - size} are missing. It is truncated: fetch it again.`
      : `${size - expected} too many. It is damaged, or another kind of file.`;
  throw new WeightFileError(
    `${name}: a llama2.c checkpoint with ${JSON.stringify(header)} has ${expected} bytes, this file ${size}: ${apart}`,
  );
}

/** Bytes of a checkpoint with this header. */
function bytesOf(header: Llama2cHeader): number {
  return HEADER_BYTES + 4 * sections(header).reduce((sum, { count }) => sum + count, 0);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isLater(start: Uint8Array): boolean {
  return start.length >= HEADER_BYTES && viewOf(start).getUint32(0, true) === LATER_VERSIONS;
}

function readNumbers({ name, size }: ByteSource, start: Uint8Array): Llama2cHeader {
  if (start.length < HEADER_BYTES)
    throw new WeightFileError(`${name}: ${size} bytes are no llama2.c checkpoint.`);
  const view = viewOf(start);
  if (isLater(start)) {
    throw new WeightFileError(
      `${name}: a llama2.c checkpoint of version ${view.getInt32(4, true)}; version 0 (without magic number) is read. ` +
        "Export it with version 0, or to Hugging Face's format.",
    );
  }
  const [dim, hiddenDim, layers, heads, kvHeads, vocabulary, maxSequenceLength] = Array.from(
    { length: 7 },
    (_, index) => view.getInt32(4 * index, true),
  ) as [number, number, number, number, number, number, number];
  const header = {
    dim,
    hiddenDim,
    layers,
    heads,
    kvHeads,
    vocabularySize: Math.abs(vocabulary),
    maxSequenceLength,
    tied: vocabulary > 0,
  };
  const positive = Object.values(header).every((value) => typeof value === "boolean" || value > 0);
  if (!positive || layers > MOST_LAYERS || dim % (2 * heads) !== 0 || heads % kvHeads !== 0) {
    throw new WeightFileError(
      `${name}: no llama2.c checkpoint: its header says ${JSON.stringify(header)}, which no model can have.`,
    );
  }
  return header;
}

/** One kind of weight: its values for all layers, one after the other. */
interface Section {
  /** Name in Hugging Face's layout, `N` for the layer; undefined for what is not a weight. */
  readonly name: string | undefined;
  /** Shape in one layer. */
  readonly shape: readonly number[];
  /** Values in all layers; a float64, so exact wherever it can equal a file's size. */
  readonly count: number;
  readonly rotated?: boolean;
}

function sections(header: Llama2cHeader): readonly Section[] {
  const { dim, hiddenDim, layers, heads, kvHeads, vocabularySize, maxSequenceLength, tied } = header;
  const kvDim = (dim / heads) * kvHeads;
  const part = (
    name: string | undefined,
    shape: readonly number[],
    times: number,
    rotated = false,
  ): Section => ({
    name,
    shape,
    count: shape.reduce((product, size) => product * size, times),
    rotated,
  });
  const each = (name: string, shape: readonly number[], rotated = false): Section =>
    part(`model.layers.N.${name}.weight`, shape, layers, rotated);
  return [
    part("model.embed_tokens.weight", [vocabularySize, dim], 1),
    each("input_layernorm", [dim]),
    each("self_attn.q_proj", [dim, dim], true),
    each("self_attn.k_proj", [kvDim, dim], true),
    each("self_attn.v_proj", [kvDim, dim]),
    each("self_attn.o_proj", [dim, dim]),
    each("post_attention_layernorm", [dim]),
    each("mlp.gate_proj", [hiddenDim, dim]),
    each("mlp.down_proj", [dim, hiddenDim]),
    each("mlp.up_proj", [hiddenDim, dim]),
    part("model.norm.weight", [dim], 1),
    // Tables of sines and cosines that no reader uses.
    part(undefined, [maxSequenceLength, dim / heads], 1),
    ...(tied ? [] : [part("lm_head.weight", [vocabularySize, dim], 1)]),
  ];
}

class Llama2cFile implements WeightFile {
  readonly format = "llama2.c";
  readonly name: string;
  readonly tensors: ReadonlyMap<string, Placed>;
  readonly metadata: ReadonlyMap<string, number | boolean>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly #source: ByteSource;

  constructor(source: ByteSource, header: Llama2cHeader) {
    this.#source = source;
    this.name = source.name;
    this.metadata = new Map<string, number | boolean>(Object.entries(header));
    this.config = configOf(header);
    const tensors = new Map<string, Placed>();
    let offset = HEADER_BYTES;
    for (const { name, shape, count, rotated } of sections(header)) {
      const bytes = 4 * shape.reduce((product, size) => product * size, 1);
      const headSize = rotated === true ? header.dim / header.heads : undefined;
      for (let layer = 0; name !== undefined && layer < (4 * count) / bytes; layer++) {
        const placed: Placed = { dtype: "f32", shape, bytes, offset: offset + layer * bytes, headSize };
        tensors.set(name.replace("N", String(layer)), placed);
      }
      offset += 4 * count;
    }
    this.tensors = tensors;
  }

  async read(name: string): Promise<Uint8Array> {
    const { offset, bytes, headSize, shape } = storedTensor(this, name);
    const stored = await this.#source.read(offset, bytes);
    return headSize === undefined ? stored : splitHalves(stored, shape[0] as number, headSize);
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}

function configOf(header: Llama2cHeader): Readonly<Record<string, unknown>> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: header.dim,
    intermediate_size: header.hiddenDim,
    num_hidden_layers: header.layers,
    num_attention_heads: header.heads,
    num_key_value_heads: header.kvHeads,
    vocab_size: header.vocabularySize,
    max_position_embeddings: header.maxSequenceLength,
    tie_word_embeddings: header.tied,
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: "float32",
  };
}

/** Reorders the rows of each head from pairs side by side (0, 1, 2, 3 …) to pairs half a head apart (0, 2 …, 1, 3 …). */
export function splitHalves(bytes: Uint8Array, rows: number, headSize: number): Uint8Array {
  const row = bytes.length / rows;
  const result = new Uint8Array(bytes.length);
  for (let at = 0; at < rows; at++) {
    const within = at % headSize;
    const target = at - within + (within % 2) * (headSize / 2) + (within >> 1);
    result.set(bytes.subarray(at * row, (at + 1) * row), target * row);
  }
  return result;
}
