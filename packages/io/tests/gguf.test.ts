import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { dequantize, memory, quantizedMatmul, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  encodeGguf,
  type GgufEntry,
  huggingFaceLayout,
  openGguf,
  openWeights,
  type StoredType,
  toQuantized,
  toTensor,
  writeGguf,
} from "../src/index.ts";
import { dataFolder } from "./support/data.ts";
import { temporaryFolder } from "./support/files.ts";
import { type Entry, type GgufTensor, gguf, Writer } from "./support/gguf.ts";
import { withUnknown } from "./support/options.ts";

beforeAll(() => use(cpu()));

const refused = { code: "NF_DATA", name: "WeightFileError" };
const f32 = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const one: GgufTensor = { name: "a", sizes: [2, 3], type: 0, bytes: f32(1, 2, 3, 4, 5, 6) };

/** Blocks with random bytes, and what the reference implementation (gguf-py, `quants.dequantize`) makes of them. */
const blocks = JSON.parse(readFileSync(new URL("fixtures/blocks.json", import.meta.url), "utf8")) as Record<
  string,
  { bytes: string; values: string }
>;
const base64 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "base64"));
const TYPES: Record<string, readonly [type: number, values: number]> = {
  q4_0: [2, 32],
  q8_0: [8, 32],
  q4_k: [12, 256],
  q6_k: [14, 256],
};

function blockFile(format: string): Uint8Array {
  const [type, values] = TYPES[format] as readonly [number, number];
  return gguf([], [{ name: "w", sizes: [values, 3], type, bytes: base64(blocks[format].bytes) }]);
}

describe("openGguf", () => {
  it("reads metadata of every type and tensors, outermost dimension first", async () => {
    const entries: [string, Entry][] = [
      ["text", [8, "h\u00e9"]],
      ["u8", [0, 200]],
      ["f32", [6, 0.5]],
      ["bool", [7, 1]],
      ["u64", [10, 2n ** 60n]],
      ["i64", [11, -5n]],
      [
        "list",
        [
          9,
          [
            9,
            [
              [4, [1, 2]],
              [8, ["x"]],
            ],
          ],
        ],
      ],
      ["__proto__", [8, "harmless"]],
      ["general.alignment", [4, 32]],
    ];
    const file = await openWeights(gguf(entries, [one, { ...one, name: "b", sizes: [6] }]));
    expect([...file.metadata]).toEqual([
      ["text", "h\u00e9"],
      ["u8", 200],
      ["f32", 0.5],
      ["bool", true],
      ["u64", 2n ** 60n],
      ["i64", -5],
      ["list", [[1, 2], ["x"]]],
      ["__proto__", "harmless"],
      ["general.alignment", 32],
    ]);
    expect(file.tensors.get("a")).toMatchObject({ dtype: "f32", shape: [3, 2], bytes: 24 });
    expect(await (await toTensor(file, "b")).toArray()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await (await toTensor(file, "a")).toArray()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  const nested = (depth: number): unknown => (depth === 1 ? [4, [1]] : [9, [nested(depth - 1)]]);
  const header = (version: number, ...counts: (number | bigint)[]): Writer => {
    const writer = new Writer().u32(0x46554747).u32(version);
    for (const count of counts) writer.u64(count);
    return writer;
  };
  const text = (length: number | bigint): Uint8Array =>
    header(3, 0, 1).u64(length).raw(new Uint8Array(64)).bytes();

  it.each([
    ["too short", new Uint8Array([0x47, 0x47, 0x55, 0x46])],
    ["version 1", header(1, 0, 0).bytes()],
    ["big-endian", new Uint8Array([0x47, 0x47, 0x55, 0x46, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0])],
    ["a huge count of tensors", header(3, 2n ** 63n, 0).bytes()],
    ["a count of tensors that cannot fit", header(3, 1000, 0).raw(new Uint8Array(100)).bytes()],
    [
      "a huge count of entries",
      header(3, 0, 2n ** 40n)
        .raw(new Uint8Array(100))
        .bytes(),
    ],
    ["a huge length of a key", text(2n ** 62n)],
    ["a key past the end", text(100)],
    ["a key longer than allowed", header(3, 0, 1).u64(70_000).raw(new Uint8Array(80_000)).bytes()],
    ["a truncated value", gguf([["a", [10, 5]]]).subarray(0, -3)],
    ["a truncated text", gguf([["a", [8, "hello"]]]).subarray(0, -1)],
    ["an unknown type", gguf([["a", [13, 0]]])],
    [
      "a repeated key",
      gguf([
        ["a", [4, 1]],
        ["a", [4, 1]],
      ]),
    ],
    [
      "a repeated __proto__",
      gguf([
        ["__proto__", [4, 1]],
        ["__proto__", [4, 1]],
      ]),
    ],
    [
      "a list longer than the file",
      header(3, 0, 1)
        .string("a")
        .u32(9)
        .u32(0)
        .u64(2n ** 40n)
        .raw(new Uint8Array(64))
        .bytes(),
    ],
    ["lists that are nested too deep", gguf([["a", [9, nested(5)]]])],
    ["an alignment that is no power of two", gguf([["general.alignment", [4, 24]]], [one])],
    ["an alignment that is a text", gguf([["general.alignment", [8, "x"]]], [one])],
    ["a repeated tensor", gguf([], [one, one])],
    ["an offset past the end", gguf([], [{ ...one, offset: 64 }])],
    ["a huge offset", gguf([], [{ ...one, offset: 2n ** 64n - 32n }])],
    ["an offset that is not aligned", gguf([], [{ ...one, offset: 4 }])],
    ["an overlap", gguf([], [one, { ...one, name: "b", offset: 0 }])],
    ["five dimensions", gguf([], [{ ...one, sizes: [1, 1, 1, 2, 3] }])],
    ["an overflowing shape", gguf([], [{ ...one, sizes: [2n ** 32n, 2n ** 32n] }])],
    ["rows that are no whole blocks", gguf([], [{ ...one, type: 8, sizes: [33] }])],
    ["a type that is not read", gguf([], [{ ...one, type: 19 }])],
    ["a tensor larger than the file", gguf([], [{ ...one, sizes: [2, 300] }])],
  ])("refuses %s", async (_, bytes) => {
    await expect(openGguf(bytes)).rejects.toMatchObject(refused);
  });
});

describe("blocks", () => {
  it.each(Object.keys(TYPES))("%s have the values of the reference, bit by bit", async (format) => {
    const file = await openGguf(blockFile(format));
    const [, count] = TYPES[format] as readonly [number, number];
    const x = await toTensor(file, "w");
    expect([x.dtype, x.shape]).toEqual(["f32", [3, count]]);
    expect(await x.data()).toEqual(new Float32Array(base64(blocks[format].values).buffer));
    x.dispose();
  });

  it.each(["q8_0", "q4_0"])("%s stay as they are where they are computed with", async (format) => {
    const before = memory().liveTensors;
    const file = await openGguf(blockFile(format));
    const kept = await toQuantized(file, "w");
    const values = dequantize(kept);
    expect(await values.data()).toEqual(new Float32Array(base64(blocks[format].values).buffer));
    const x = tensor([Array.from({ length: 32 }, (_, i) => i - 16)]);
    const y = quantizedMatmul(x, kept);
    expect(y.shape).toEqual([1, 3]);
    for (const t of [values, x, y, kept.bytes]) t.dispose();
    expect(memory().liveTensors).toBe(before);
  });

  it("that are not converted say so", async () => {
    const q5 = gguf([], [{ name: "w", sizes: [32], type: 6, bytes: new Uint8Array(22) }]);
    await expect(toTensor(await openGguf(q5), "w")).rejects.toMatchObject({ code: "NF_DTYPE" });
    await expect(toQuantized(await openGguf(blockFile("q4_k")), "w")).rejects.toMatchObject({
      code: "NF_DTYPE",
    });
  });
});

describe("writeGguf", () => {
  const metadata: Record<string, GgufEntry> = {
    "general.architecture": { type: "string", value: "llama" },
    flag: { type: "bool", value: true },
    tokens: { type: "list", of: "string", value: ["a", "h\u00e9"] },
    scores: { type: "list", of: "f32", value: [0, -1.5] },
    ...Object.fromEntries(
      (["u8", "i8", "u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64"] as const).map((type) => [
        type,
        { type, value: type.startsWith("u") ? 200 : -3 },
      ]),
    ),
    big: { type: "u64", value: 2n ** 63n },
  };

  it("writes what openGguf reads, to a file or to bytes", async () => {
    const path = join(temporaryFolder(), "model.gguf");
    const x = tensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { dtype: "bf16" },
    );
    const q = { dtype: "q4_k", shape: [3, 256], bytes: () => base64(blocks["q4_k"].bytes) } as const;
    await writeGguf(path, { x, q }, { metadata });
    const written = readFileSync(path);
    expect(written.equals(await encodeGguf({ x, q }, { metadata }))).toBe(true);
    const file = await openGguf(path);
    expect(Object.fromEntries(file.metadata)).toEqual(
      Object.fromEntries(Object.entries(metadata).map(([key, { value }]) => [key, value])),
    );
    expect(await (await toTensor(file, "x")).toArray()).toEqual(await x.toArray());
    expect(await file.read("q")).toEqual(base64(blocks["q4_k"].bytes));
    await file.close();
  });

  it.each<[string, GgufEntry]>([
    ["a number too large", { type: "u8", value: 256 }],
    ["a broken integer", { type: "i32", value: 0.5 }],
    ["a negative u64", { type: "u64", value: -1 }],
    ["an i64 that is not exact", { type: "i64", value: 2 ** 60 }],
    ["a text for a number", { type: "f32", value: "1" as never }],
    ["a number for a text", { type: "string", value: 1 as never }],
    ["a number for a bool", { type: "bool", value: 1 as never }],
    ["an unknown type", { type: "toString" as "f32", value: 1 }],
    ["a wrong value in a list", { type: "list", of: "u8", value: [1, 300] }],
  ])("refuses %s", async (_, entry) => {
    await expect(encodeGguf({}, { metadata: { entry } })).rejects.toMatchObject({ code: "NF_OPTION" });
  });

  it("refuses tensors that the format does not hold", async () => {
    const stored = (dtype: StoredType, shape: readonly number[], bytes: number) => ({
      dtype,
      shape,
      bytes: new Uint8Array(bytes),
    });
    for (const x of [stored("u8", [1], 1), stored("f32", [1, 1, 1, 1, 1], 4), stored("q8_0", [33], 34)])
      await expect(encodeGguf({ x }, { metadata })).rejects.toMatchObject({ code: "NF_OPTION" });
    await expect(encodeGguf({ x: stored("f32", [2], 4) }, { metadata })).rejects.toMatchObject({
      code: "NF_SHAPE",
    });
    await expect(encodeGguf({}, { metadata, ...withUnknown({ alignment: 64 }) })).rejects.toThrow(
      /unknown option/,
    );
  });
});

describe("huggingFaceLayout", () => {
  const entries = (architecture: string): [string, Entry][] => [
    ["general.architecture", [8, architecture]],
    ...(["embedding_length", "feed_forward_length", "block_count", "context_length"] as const).map(
      (key, i): [string, Entry] => [`${architecture}.${key}`, [4, [4, 8, 1, 16][i]]],
    ),
    [`${architecture}.attention.head_count`, [4, 1]],
    [`${architecture}.attention.layer_norm_rms_epsilon`, [6, 0.5]],
    [`${architecture}.vocab_size`, [4, 9]],
  ];
  const rows = Float32Array.from({ length: 16 }, (_, i) => Math.floor(i / 4));
  const q: GgufTensor = {
    name: "blk.0.attn_q.weight",
    sizes: [4, 4],
    type: 0,
    bytes: new Uint8Array(rows.buffer),
  };

  it("renames tensors, puts query rows back and writes the configuration", async () => {
    const file = huggingFaceLayout(
      await openGguf(
        gguf(entries("llama"), [q, { ...q, name: "output_norm.weight" }, { ...q, name: "what" }]),
      ),
    );
    expect([...file.tensors.keys()]).toEqual([
      "model.layers.0.self_attn.q_proj.weight",
      "model.norm.weight",
      "what",
    ]);
    const x = new Float32Array((await file.read("model.layers.0.self_attn.q_proj.weight")).buffer);
    expect([x[0], x[4], x[8], x[12]]).toEqual([0, 2, 1, 3]);
    expect(file.config).toMatchObject({
      model_type: "llama",
      hidden_size: 4,
      intermediate_size: 8,
      num_key_value_heads: 1,
      head_dim: 4,
      vocab_size: 9,
      rope_theta: 10000,
      tie_word_embeddings: true,
    });
  });

  it("leaves the rows of Qwen2 where they are, and refuses others", async () => {
    const file = huggingFaceLayout(await openGguf(gguf(entries("qwen2"), [q])));
    expect(new Float32Array((await file.read("model.layers.0.self_attn.q_proj.weight")).buffer)).toEqual(
      rows,
    );
    const gemma = await openGguf(gguf(entries("gemma"), [q]));
    expect(() => huggingFaceLayout(gemma)).toThrow(/translates GGUF files of llama, qwen2/);
    const bare = await openGguf(gguf(entries("llama").slice(0, 2), [q]));
    expect(() => huggingFaceLayout(bare)).toThrow(/llama\.attention\.head_count is undefined/);
  });
});

const folder = dataFolder("llama-tokenizer");

describe.skipIf(folder === undefined)("real vocabularies", () => {
  it("are read whole", async () => {
    const file = await openGguf(`${folder}/ggml-vocab-gpt-2.gguf`);
    expect(file.tensors.size).toBe(0);
    expect(file.metadata.get("tokenizer.ggml.tokens")).toHaveLength(50257);
    await file.close();
  });
});
