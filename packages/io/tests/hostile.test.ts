import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cpu } from "@nf/backend-cpu";
import { NanoFluxError, tensor, use } from "@nf/core";
import { build } from "esbuild";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import {
  encodeSafetensors,
  loadTokenizer,
  openGguf,
  openLlama2c,
  openSafetensors,
  openWeights,
  type WeightFile,
} from "../src/index.ts";
import { llama2cCheckpoint, llama2cVocabulary, rawSafetensors, temporaryFolder } from "./support/files.ts";
import { gguf, Writer } from "./support/gguf.ts";

const runs = process.env["NF_NIGHTLY"] === "1" ? 10_000 : 200;

beforeAll(() => use(cpu()));

/** What may be done to a file. */
type Damage = (bytes: Uint8Array) => Uint8Array;

const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const place = (bytes: Uint8Array, where: number): number => Math.floor(where * bytes.length);
const truncation: fc.Arbitrary<Damage> = at.map((where) => (bytes) => bytes.slice(0, place(bytes, where)));
const flips: fc.Arbitrary<Damage> = fc
  .array(fc.tuple(at, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 })
  .map((list) => (bytes) => {
    const damaged = bytes.slice();
    for (const [where, mask] of list) if (bytes.length > 0) damaged[place(bytes, where)] ^= mask;
    return damaged;
  });
const hugeCount: fc.Arbitrary<Damage> = fc
  .tuple(
    at,
    fc.constantFrom(2n ** 64n - 1n, 2n ** 63n, 2n ** 53n, 2n ** 40n, 2n ** 31n, 2n ** 24n, 0n),
    fc.constantFrom(4, 8),
  )
  .map(([where, count, size]) => (bytes) => {
    const damaged = bytes.slice();
    const start = place(bytes, where);
    for (let i = 0; i < size && start + i < damaged.length; i++)
      damaged[start + i] = Number((count >> BigInt(8 * i)) & 255n);
    return damaged;
  });
const repetition: fc.Arbitrary<Damage> = fc.tuple(at, at).map(([from, to]) => (bytes) => {
  const [start, end] = [place(bytes, from), place(bytes, to)].sort((a, b) => a - b) as [number, number];
  return Uint8Array.from([...bytes.slice(0, end), ...bytes.slice(start)]);
});
const digits: fc.Arbitrary<Damage> = fc
  .tuple(at, fc.constantFrom("9", "-", "[", "]", "{", '"', "e", "\\"))
  .map(([where, sign]) => (bytes) => {
    const damaged = bytes.slice();
    if (bytes.length > 0) damaged[place(bytes, where)] = sign.charCodeAt(0);
    return damaged;
  });
const damage = fc.oneof(truncation, flips, hugeCount, repetition, digits);

async function useFile(file: WeightFile): Promise<void> {
  for (const name of file.tensors.keys()) await file.read(name);
  await file.close();
}

const f32 = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
const CASES: Readonly<
  Record<string, readonly [() => Promise<Uint8Array>, (bytes: Uint8Array) => Promise<unknown>]>
> = {
  safetensors: [
    () =>
      encodeSafetensors(
        {
          a: tensor([
            [1, 2],
            [3, 4],
          ]),
          b: tensor([1, 0], { dtype: "bool" }),
        },
        { metadata: { format: "pt" } },
      ),
    async (bytes) => useFile(await openSafetensors(bytes)),
  ],
  gguf: [
    async () =>
      gguf(
        [
          ["general.architecture", [8, "llama"]],
          ["list", [9, [8, ["a", "bc", "def"]]]],
          ["numbers", [9, [4, [1, 2, 3]]]],
          ["count", [10, 12]],
        ],
        [
          { name: "a", sizes: [2, 2], type: 0, bytes: f32 },
          { name: "b", sizes: [4], type: 0, bytes: f32 },
        ],
      ),
    async (bytes) => useFile(await openGguf(bytes)),
  ],
  "llama2.c": [
    async () => llama2cCheckpoint([4, 2, 1, 1, 1, 3, 2]),
    async (bytes) => useFile(await openLlama2c(bytes)),
  ],
  "whatever it is": [
    async () => llama2cCheckpoint([4, 2, 1, 1, 1, 3, 2]),
    async (bytes) => useFile(await openWeights(bytes)),
  ],
  "a llama2.c vocabulary": [
    async () =>
      llama2cVocabulary([
        ["a", -1],
        ["ab", -2],
        ["b", -3],
      ]),
    async (bytes) => (await loadTokenizer(bytes)).encode("ab"),
  ],
  "a GGUF vocabulary": [
    async () =>
      gguf([
        ["tokenizer.ggml.model", [8, "llama"]],
        ["tokenizer.ggml.tokens", [9, [8, ["<unk>", "<s>", "</s>", "a", "b", "ab"]]]],
        ["tokenizer.ggml.scores", [9, [6, [0, 0, 0, -1, -2, -0.5]]]],
        ["tokenizer.ggml.token_type", [9, [5, [2, 3, 3, 1, 1, 1]]]],
        ["tokenizer.ggml.bos_token_id", [4, 1]],
      ]),
    async (bytes) => (await loadTokenizer(bytes)).encode("ab"),
  ],
  "a tokenizer.json": [
    async () =>
      new TextEncoder().encode(
        JSON.stringify({
          added_tokens: [{ id: 0, content: "<s>", special: true }],
          normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }] },
          pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
          post_processor: { type: "ByteLevel" },
          decoder: { type: "ByteLevel" },
          model: { type: "BPE", vocab: { "<s>": 0, a: 1, b: 2, ab: 3 }, merges: ["a b"] },
        }),
      ),
    async (bytes) => {
      const tokenizer = await loadTokenizer(bytes);
      return tokenizer.decode(tokenizer.encode("ab"));
    },
  ],
};

describe.each(Object.entries(CASES))("%s, damaged in any way", (_, [make, attempt]) => {
  it("is read, or refused with a typed error, within 3 s", async () => {
    const sound = await make();
    await attempt(sound);
    let refusals = 0;
    await fc.assert(
      fc.asyncProperty(damage, async (harm) => {
        const start = performance.now();
        try {
          await attempt(harm(sound));
        } catch (error) {
          expect(error).toBeInstanceOf(NanoFluxError);
          expect(error).toMatchObject({ code: "NF_DATA" });
          refusals++;
        }
        expect(performance.now() - start).toBeLessThan(3000);
      }),
      { numRuns: runs },
    );
    expect(refusals).toBeGreaterThan(runs / 4);
  });
});

/** Files that spend as much as they can before they are found out. */
const LARGE: Readonly<Record<string, () => Uint8Array>> = {
  "safetensors, 90 MB of lists": () => rawSafetensors(`{"a":[${"[],".repeat(30_000_000)}`),
  "safetensors, 90 MB of text": () => rawSafetensors(`{"${"x".repeat(90_000_000)}`),
  "safetensors, a million tensors": () =>
    rawSafetensors(
      `{${Array.from({ length: 1_000_000 }, (__, i) => `"t${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`).join(",")}`,
    ),
  "safetensors, ten thousand tensors that end wrong": () =>
    rawSafetensors(
      `{${Array.from({ length: 10_000 }, (__, i) => `"t${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`).join(",")}}`,
      1,
    ),
  "gguf, 60 MB of texts": () => list(8, 7_000_000, new Uint8Array(60_000_000)),
  "gguf, 60 MB of bytes": () => list(0, 60_000_000, new Uint8Array(60_000_000)),
  "gguf, a text of 60 MB": () => list(8, 1, new Writer().u64(59_999_000).bytes(), 60_000_000),
  "gguf, as many texts as it may have, then no end": () => list(8, 1_200_000, texts(1_200_000)),
  "llama2.c, as many layers as it may have": () => llama2cCheckpoint([2, 1, 4096, 1, 1, 1, 1]).slice(0, -4),
  "tokenizer.json, 45 MB of lists": () => new TextEncoder().encode(`{"a":[${"[],".repeat(15_000_000)}[]]}`),
  "tokenizer.json, nested without end": () => new TextEncoder().encode(`{"a":${"[".repeat(45_000_000)}`),
};

/** A GGUF file with one list; `total` adds zeros behind. */
function list(type: number, count: number, contents: Uint8Array, total = contents.length): Uint8Array {
  const head = new Writer()
    .u32(0x46554747)
    .u32(3)
    .u64(0)
    .u64(2)
    .string("list")
    .u32(9)
    .u32(type)
    .u64(count)
    .bytes();
  const bytes = new Uint8Array(head.length + total);
  bytes.set(head);
  bytes.set(contents, head.length);
  return bytes;
}

/** Texts of 8 letters, all different. */
function texts(count: number): Uint8Array {
  const bytes = new Uint8Array(count * 16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    view.setUint32(16 * i, 8, true);
    bytes.set(new TextEncoder().encode(String(i).padStart(8, "x")), 16 * i + 8);
  }
  return bytes;
}

describe("a large hostile file", () => {
  it("costs at most 128 MB and 3 s", async () => {
    const folder = temporaryFolder();
    const here = dirname(fileURLToPath(import.meta.url));
    await build({
      entryPoints: [join(here, "..", "src", "index.ts")],
      outfile: join(folder, "io.mjs"),
      bundle: true,
      format: "esm",
      platform: "browser",
      conditions: ["nf-source"],
      logLevel: "silent",
    });
    const script = join(folder, "main.mjs");
    await writeFile(
      script,
      `import { readFileSync } from "node:fs";
       // The system's own count of the greatest use; getrusage's includes that of the parent.
       const peak = () => {
         try {
           return Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
         } catch {
           return process.resourceUsage().maxRSS;
         }
       };
       const { openWeights, loadTokenizer } = await import("./io.mjs");
       const [, , path, kind] = process.argv;
       const open = kind === "tokenizer.json" ? loadTokenizer : openWeights;
       await open(new Uint8Array(40)).catch(() => {});
       const before = peak();
       const start = performance.now();
       let code = "none";
       try { await open(path); } catch (error) { code = error.code ?? String(error); }
       const megabytes = (peak() - before) / 1024;
       console.log(JSON.stringify({ code, megabytes, seconds: (performance.now() - start) / 1000 }));`,
    );
    for (const [name, make] of Object.entries(LARGE)) {
      const path = join(folder, "file");
      await writeFile(path, make());
      const kind = name.replace(/,.*/, "");
      const { stdout } = await promisify(execFile)(process.execPath, [script, path, kind]);
      const { code, megabytes, seconds } = JSON.parse(stdout) as {
        code: string;
        megabytes: number;
        seconds: number;
      };
      expect([name, code]).toEqual([name, "NF_DATA"]);
      expect([name, megabytes < 128 || megabytes]).toEqual([name, true]);
      expect([name, seconds < 3 || seconds]).toEqual([name, true]);
    }
  }, 120_000);
});
