import { existsSync } from "node:fs";
import { join } from "node:path";
import { createBackend } from "@nf/backend-cpu";
import { crossEntropy, div, manualSeed, mul, sum, type Tensor, unsqueeze, use } from "@nf/core";
import {
  collatePadded,
  DataLoader,
  type Dataset,
  int32,
  mapDataset,
  type NdArray,
  type Padded,
  subset,
  type Tensors,
} from "@nf/data";
import { sst2 } from "@nf/data/node";
import { loadTokenizer, type Tokenizer } from "@nf/io";
import { Embedding, Linear, Module } from "@nf/nn";
import { AdamW } from "@nf/optim";
import { describe, expect, it } from "vitest";
import { accuracy, fit } from "../src/index.ts";

/* A trained byte pair encoding as the vocabulary of a data set: from tokenizer.json to a model that has learned. */

await use(createBackend());

const folder = process.env["NF_DATA_DIR"] ?? "";
const TRAINED = "llama-tokenizer/tokenizer.json";
const missing = [TRAINED, "sst2/train.tsv"].filter(
  (path) => folder === "" || !existsSync(join(folder, path)),
);
if (missing.length > 0)
  console.log(`skipped: NF_DATA_DIR (${folder || "not set"}) has no ${missing.join(" and no ")}`);

/** Says whether what stands in a text is good, from the mean of its tokens. */
class Bag extends Module {
  readonly embedding: Embedding;
  readonly head = new Linear(16, 2);

  constructor(tokens: number) {
    super();
    this.embedding = new Embedding(tokens, 16);
  }

  forward(ids: Tensor, mask: Tensor): Tensor {
    const counts = unsqueeze(mask.cast("f32"), 2);
    const rows = mul(this.embedding.forward(ids), counts);
    return this.head.forward(div(sum(rows, { axis: 1 }), sum(counts, { axis: 1 })));
  }
}

type Batch = Tensors<{ ids: Padded; label: NdArray }>;

async function learned(
  texts: Dataset<{ text: string; label: NdArray }>,
  tokenizer: Tokenizer,
): Promise<number> {
  manualSeed(1);
  const encoded = mapDataset(texts, ({ text, label }) => ({ ids: tokenizer.encode(text), label }));
  const collate = collatePadded({ ids: { value: 0 } });
  const model = new Bag(tokenizer.vocabularySize);
  const result = await fit(model, {
    data: new DataLoader(encoded, { batchSize: 16, shuffle: true, seed: 1, collate }),
    forward: (net, { ids }: Batch) => net.forward(ids.values, ids.mask),
    loss: (logits, { label }) => crossEntropy(logits, label),
    metrics: { accuracy: (logits, { label }) => accuracy(logits, label) },
    optimizer: new AdamW(model.parameters(), { lr: 0.02 }),
    epochs: 6,
  });
  return result.history.at(-1)?.train["accuracy"] as number;
}

/** Eight merges over the letters of a few words. */
const MERGES = ["g o", "go o", "goo d", "b a", "ba d", "▁ good", "▁ bad", "▁ a"];
const PIECES = ["<unk>", ..."▁abdgofilmns", ...MERGES.map((merge) => merge.replace(" ", ""))];
const small = {
  version: "1.0",
  added_tokens: [{ id: 0, content: "<unk>", special: true }],
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    unk_token: "<unk>",
    vocab: Object.fromEntries(PIECES.map((piece, id) => [piece, id])),
    merges: MERGES,
  },
};

it("a tokenizer.json encodes a data set, and a model learns from it", async () => {
  const tokenizer = await loadTokenizer(new TextEncoder().encode(JSON.stringify(small)));
  expect(tokenizer.vocabularySize).toBe(PIECES.length);
  const good = tokenizer.encode("a good film");
  expect(good.map((id) => tokenizer.tokenOf(id))).toEqual(["▁a", "▁good", "▁", "f", "i", "l", "m"]);
  expect(tokenizer.decode(good)).toBe("a good film");
  const texts: Dataset<{ text: string; label: NdArray }> = {
    length: 64,
    get: (index) => {
      const label = index % 2;
      const films = ["film", "a film", "films", "man"][Math.floor(index / 2) % 4] as string;
      return { text: `${films} is ${label === 1 ? "good" : "bad"}`, label: int32(label) };
    },
  };
  expect(await learned(texts, tokenizer)).toBe(1);
});

describe.skipIf(missing.length > 0)("TinyLlama's vocabulary", () => {
  it("encodes SST-2 and gives its sentences back", async () => {
    const tokenizer = await loadTokenizer(join(folder, TRAINED));
    expect(tokenizer.vocabularySize).toBe(32_000);
    const { train } = await sst2({ folder });
    const some = subset(
      train,
      Array.from({ length: 160 }, (_, i) => i),
    );
    for (let index = 0; index < 20; index++) {
      const { text } = await some.get(index);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
    const labelled = mapDataset(some, ({ text, label }) => ({ text, label }));
    expect(await learned(labelled, tokenizer)).toBeGreaterThan(0.9);
  }, 60_000);
});
