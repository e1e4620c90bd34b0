import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { fromData, noGrad, quantize, use } from "@nf/core";
import { encodeGguf, openWeights, readValues, type StoredValues, type WeightFile } from "@nf/io";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LlamaFromFile, readLlama } from "../src/index.ts";
import { writeTiny } from "./tiny.ts";

const PARTS: Readonly<Record<string, string>> = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
};
const OUTER: Readonly<Record<string, string>> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};

function ggufName(name: string): string {
  const found = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  return found === null ? (OUTER[name] as string) : `blk.${found[1]}.${PARTS[found[2] as string]}.weight`;
}

/** Rows of each head of 8, of which the two of a pair lie half a head apart, as neighbours. */
function paired(values: ArrayLike<number>, width: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const [row, column] = [Math.floor(at / width), at % width];
    const within = row % 8;
    const target = row - within + (within < 4 ? 2 * within : 2 * (within - 4) + 1);
    result[target * width + column] = values[at] as number;
  }
  return result;
}

/** The file as llama.cpp would have it: matrices in blocks where their rows allow it. */
async function asGguf(file: WeightFile): Promise<Uint8Array> {
  const tensors = new Map<string, StoredValues>();
  for (const [name, { shape }] of file.tensors) {
    const width = shape.at(-1) as number;
    const values = Float32Array.from(await readValues(file, name));
    const rows = /[qk]_proj/.test(name) ? paired(values, width) : values;
    if (shape.length === 2 && width % 32 === 0) {
      const bytes = await quantize(rows, shape, "q8_0").bytes.data();
      tensors.set(ggufName(name), { dtype: "q8_0", shape, bytes: Uint8Array.from(bytes) });
    } else {
      tensors.set(ggufName(name), { dtype: "f32", shape, bytes: new Uint8Array(rows.buffer) });
    }
  }
  const u32 = (value: number) => ({ type: "u32", value }) as const;
  const f32 = (value: number) => ({ type: "f32", value }) as const;
  return encodeGguf(tensors, {
    metadata: {
      "general.architecture": { type: "string", value: "llama" },
      "llama.embedding_length": u32(32),
      "llama.feed_forward_length": u32(40),
      "llama.block_count": u32(2),
      "llama.attention.head_count": u32(4),
      "llama.attention.head_count_kv": u32(2),
      "llama.context_length": u32(128),
      "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
      "tokenizer.ggml.bos_token_id": u32(0),
      "tokenizer.ggml.eos_token_id": u32(1),
    },
  });
}

let folder: string;
beforeAll(async () => {
  await use(cpu());
  folder = await mkdtemp(join(tmpdir(), "nf-gguf-"));
  await writeTiny(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("a GGUF file is the same model as the folder that it was made from", async () => {
  const file = await openWeights(folder);
  const gguf = await openWeights(await asGguf(file));
  const [made, read]: LlamaFromFile[] = [await readLlama(file, { weights: "q8_0" }), await readLlama(gguf)];
  await file.close();
  await gguf.close();
  const { normEps, ...config } = (read as LlamaFromFile).config;
  const { normEps: eps, ...own } = (made as LlamaFromFile).config;
  expect(config).toEqual(own);
  expect(normEps).toBeCloseTo(eps, 9);
  expect(read).toMatchObject({ bosToken: 0, eosTokens: [1] });
  expect(read?.model.embedding.format).toBe("q8_0");
  const text = fromData(Int32Array.of(0, 9, 30, 12, 5, 5, 21), [1, 7]);
  const [want, got] = [made, read].map((one) => noGrad(() => (one as LlamaFromFile).model.forward(text)));
  const rows = Array.from((await got?.data()) ?? []);
  expect(rows).toHaveLength(7 * 36);
  const values = Array.from((await want?.data()) ?? []);
  const largest = Math.max(...values.map(Math.abs));
  rows.forEach((value, i) => {
    expect(Math.abs(value - (values[i] as number))).toBeLessThan(1e-5 * largest);
  });
});
