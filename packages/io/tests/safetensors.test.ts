import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { memory, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  encodeSafetensors,
  openSafetensors,
  openWeights,
  type StoredValues,
  toTensor,
  writeSafetensors,
} from "../src/index.ts";
import { rawSafetensors, temporaryFolder } from "./support/files.ts";
import { withUnknown } from "./support/options.ts";

beforeAll(() => use(cpu()));

const refused = { code: "NF_DATA", name: "WeightFileError" };
const entry = (dtype: string, shape: unknown, offsets: unknown): string =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });

describe("writeSafetensors and openSafetensors", () => {
  it.each(["f32", "f64", "f16", "bf16", "i32", "u32", "u8", "i8", "bool"] as const)(
    "keep %s exactly",
    async (dtype) => {
      const before = memory().liveTensors;
      const values =
        dtype === "bool"
          ? [
              [true, false],
              [false, true],
            ]
          : [
              [1, 0],
              [3, 100],
            ];
      const x = tensor(values, { dtype });
      const file = await openSafetensors(await encodeSafetensors({ x }));
      expect(file.tensors.get("x")).toMatchObject({ dtype, shape: [2, 2] });
      const back = await toTensor(file, "x");
      expect(back.dtype).toBe(dtype);
      expect(await back.toArray()).toEqual(await x.toArray());
      x.dispose();
      back.dispose();
      expect(memory().liveTensors).toBe(before);
    },
  );

  it("go through a file, replacing an older one, and leave nothing beside it", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "model.safetensors");
    await writeFile(path, "old");
    const weight = tensor([
      [1.5, -2],
      [0, 3],
    ]);
    const raw: StoredValues = {
      dtype: "i64",
      shape: [2],
      bytes: new Uint8Array(BigInt64Array.of(7n, -1n).buffer),
    };
    await writeSafetensors(
      path,
      new Map<string, typeof weight | StoredValues>([
        ["a.weight", weight],
        ["__proto__", raw],
      ]),
      {
        metadata: { format: "pt" },
      },
    );
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    const file = await openWeights(path);
    expect(file.metadata.get("format")).toBe("pt");
    expect([...file.tensors.keys()]).toEqual(["__proto__", "a.weight"]);
    expect(await (await toTensor(file, "a.weight")).toArray()).toEqual([
      [1.5, -2],
      [0, 3],
    ]);
    const integers = await toTensor(file, "__proto__");
    expect([integers.dtype, await integers.toArray()]).toEqual(["i32", [7, -1]]);
    await file.close();
  });

  it("lay wide types first, so that tensors are aligned", async () => {
    const bytes = await encodeSafetensors({ a: tensor([true]), b: tensor([1], { dtype: "f64" }) });
    const file = await openSafetensors(bytes);
    expect([...file.tensors.keys()]).toEqual(["b", "a"]);
    expect(new DataView(bytes.buffer).getBigUint64(0, true) % 8n).toBe(0n);
  });

  it("take empty tensors and scalars", async () => {
    const file = await openSafetensors(await encodeSafetensors({ none: tensor([]), one: tensor(4) }));
    expect(file.tensors.get("none")).toMatchObject({ shape: [0], bytes: 0 });
    expect(await (await toTensor(file, "one")).item()).toBe(4);
  });

  it("copy from file to file, a tensor at a time", async () => {
    const path = join(temporaryFolder(), "copy.safetensors");
    const from = await openSafetensors(await encodeSafetensors({ a: tensor([1, 2]), b: tensor([3]) }));
    const copies = [...from.tensors].map(([name, one]): [string, StoredValues] => [
      name,
      { ...one, bytes: () => from.read(name) },
    ]);
    await writeSafetensors(path, new Map(copies));
    const file = await openWeights(path);
    expect(await (await toTensor(file, "b")).toArray()).toEqual([3]);
    await file.close();
    const short = { dtype: "f32", shape: [2], bytes: () => new Uint8Array(4) } as const;
    await expect(writeSafetensors(path, { short })).rejects.toMatchObject({ code: "NF_SHAPE" });
    // What was there before is still there.
    await (await openWeights(path)).close();
  });

  it("refuse what the format cannot hold", async () => {
    const stored = (dtype: StoredValues["dtype"], bytes: number): StoredValues => ({
      dtype,
      shape: [2],
      bytes: new Uint8Array(bytes),
    });
    await expect(encodeSafetensors({ x: stored("f32", 7) })).rejects.toMatchObject({ code: "NF_SHAPE" });
    await expect(encodeSafetensors({ x: stored("q8_0", 34) })).rejects.toMatchObject({ code: "NF_OPTION" });
    await expect(encodeSafetensors({ __metadata__: tensor([1]) })).rejects.toMatchObject({
      code: "NF_OPTION",
    });
    await expect(encodeSafetensors({}, withUnknown({ format: "pt" }))).rejects.toMatchObject({
      code: "NF_OPTION",
    });
    await expect(writeSafetensors(join(temporaryFolder(), "no", "file"), {})).rejects.toMatchObject({
      code: "NF_DATA",
    });
  });

  it("reads a Blob in ranges", async () => {
    const file = await openSafetensors(
      new Blob([(await encodeSafetensors({ x: tensor([1, 2]) })) as Uint8Array<ArrayBuffer>]),
    );
    expect(await (await toTensor(file, "x")).toArray()).toEqual([1, 2]);
  });
});

describe("openSafetensors", () => {
  const f32 = entry("F32", [1], [0, 4]);

  it.each([
    ["no length", new Uint8Array(7)],
    ["a header longer than the file", new Uint8Array([200, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d])],
    ["a header longer than allowed", new Uint8Array([255, 255, 255, 255, 255, 255, 255, 255, 0x7b, 0x7d])],
    ["no JSON", rawSafetensors("{]")],
    ["a list", rawSafetensors("[]")],
    ["a repeated name", rawSafetensors(`{"a":${f32},"a":${f32}}`, 4)],
    [
      "a repeated field",
      rawSafetensors(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
    ],
    ["a further field", rawSafetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"b":1}}`, 4)],
    ["offsets past the end", rawSafetensors(`{"a":${entry("F32", [2], [0, 8])}}`, 4)],
    ["offsets that are reversed", rawSafetensors(`{"a":${entry("F32", [1], [4, 0])}}`, 4)],
    ["offsets of another size", rawSafetensors(`{"a":${entry("F32", [1], [0, 8])}}`, 8)],
    ["a hole", rawSafetensors(`{"a":${f32},"b":${entry("F32", [1], [8, 12])}}`, 12)],
    ["an overlap", rawSafetensors(`{"a":${f32},"b":${entry("F32", [1], [2, 6])}}`, 6)],
    ["bytes behind the last tensor", rawSafetensors(`{"a":${f32}}`, 5)],
    ["an overflowing shape", rawSafetensors(`{"a":${entry("F32", [2 ** 31, 2 ** 31, 4], [0, 4])}}`, 4)],
    ["a negative size", rawSafetensors(`{"a":${entry("F32", [-1], [0, 4])}}`, 4)],
    ["a broken size", rawSafetensors(`{"a":${entry("F32", [1.5], [0, 6])}}`, 6)],
    ["an unknown dtype", rawSafetensors(`{"a":${entry("Q9", [1], [0, 4])}}`, 4)],
    ["a dtype named like a method", rawSafetensors(`{"a":${entry("toString", [1], [0, 4])}}`, 4)],
    ["metadata that is no text", rawSafetensors(`{"__metadata__":{"a":1}}`)],
    ["deep nesting", rawSafetensors("[".repeat(100_000))],
  ])("refuses %s", async (_, bytes) => {
    await expect(openSafetensors(bytes)).rejects.toMatchObject(refused);
  });

  it("lets no name reach a prototype", async () => {
    const file = await openSafetensors(
      rawSafetensors(
        `{"__metadata__":{"__proto__":"x"},"constructor":${f32},"__proto__":${entry("F32", [0], [4, 4])}}`,
        4,
      ),
    );
    expect([...file.tensors.keys()]).toEqual(["constructor", "__proto__"]);
    expect(file.metadata.get("__proto__")).toBe("x");
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it("says that a file was closed, or became shorter", async () => {
    const path = join(temporaryFolder(), "a.safetensors");
    const bytes = await encodeSafetensors({ a: tensor([1, 2, 3]) });
    for (const input of [bytes, new Blob([bytes as Uint8Array<ArrayBuffer>])]) {
      const file = await openSafetensors(input);
      await file.close();
      await expect(file.read("a")).rejects.toThrow(/closed/);
    }
    await writeFile(path, bytes);
    const file = await openSafetensors(path);
    await truncate(path, bytes.length - 4);
    await expect(file.read("a")).rejects.toThrow(/was changed/);
    await file.close();
  });

  it("says that a path is not there, or is a folder", async () => {
    const folder = temporaryFolder();
    await expect(openSafetensors(join(folder, "none"))).rejects.toMatchObject(refused);
    await expect(openSafetensors(folder)).rejects.toThrow(/not a file/);
  });
});

describe("shards", () => {
  async function shards(index: unknown): Promise<string> {
    const folder = temporaryFolder();
    await writeSafetensors(join(folder, "model-00001-of-00002.safetensors"), { a: tensor([1]) });
    await writeSafetensors(join(folder, "model-00002-of-00002.safetensors"), {
      b: tensor([2]),
      c: tensor([3]),
    });
    await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
    return folder;
  }
  const map = {
    a: "model-00001-of-00002.safetensors",
    b: "model-00002-of-00002.safetensors",
    c: "model-00002-of-00002.safetensors",
  };

  it("open as one file, with the configuration beside them", async () => {
    const folder = await shards({ metadata: { total_size: 12 }, weight_map: map });
    await writeFile(join(folder, "config.json"), `{"model_type":"llama","__proto__":{"x":1}}`);
    const file = await openWeights(folder);
    expect([...file.tensors.keys()]).toEqual(["a", "b", "c"]);
    expect(await (await toTensor(file, "c")).toArray()).toEqual([3]);
    expect(file.config?.["model_type"]).toBe("llama");
    expect(file.config?.["x"]).toBeUndefined();
    await file.close();
    await expect(file.read("a")).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining("closed"),
    });
    await file.close();
  });

  it.each([
    ["../model-00001-of-00002.safetensors"],
    ["/etc/passwd"],
    ["..\\x.safetensors"],
    ["sub/x.safetensors"],
    [".safetensors"],
    [7],
  ])("stay inside the folder: %s", async (place) => {
    const folder = await shards({ weight_map: { ...map, a: place } });
    await expect(openWeights(folder)).rejects.toMatchObject(refused);
  });

  it("must agree with the index", async () => {
    const folder = await shards({ weight_map: { ...map, d: map.b, c: map.a } });
    await expect(openWeights(folder)).rejects.toThrow(
      /c \(model-00001.*d \(model-00002.*In the shards only: c \(model-00002/s,
    );
  });
});

describe("openWeights", () => {
  it("refuses numbers that no number can hold", async () => {
    const folder = temporaryFolder();
    await writeSafetensors(join(folder, "model.safetensors"), { a: tensor([1]) });
    await writeFile(join(folder, "generation_config.json"), '{"temperature": 1e999}');
    await expect(openWeights(folder)).rejects.toThrow(
      /generation_config\.json: no sound JSON: 1e999 is beyond the greatest/,
    );
  });

  it("refuses what it does not recognise, and folders that are ambiguous or empty", async () => {
    const folder = temporaryFolder();
    await expect(openWeights(folder)).rejects.toThrow(/holds no weights/);
    await expect(
      openWeights(new TextEncoder().encode("hello, this is a text and no weights")),
    ).rejects.toMatchObject(refused);
    await writeSafetensors(join(folder, "a.safetensors"), { a: tensor([1]) });
    expect((await openWeights(folder)).format).toBe("safetensors");
    await writeSafetensors(join(folder, "b.safetensors"), { a: tensor([1]) });
    await expect(openWeights(folder)).rejects.toThrow(/a\.safetensors, b\.safetensors/);
  });

  it("reads a file that Python's safetensors wrote", async () => {
    const file = await openWeights(await readFile(new URL("fixtures/python.safetensors", import.meta.url)));
    expect(
      Object.fromEntries([...file.tensors].map(([name, { dtype, shape }]) => [name, [dtype, shape]])),
    ).toEqual({
      bf16: ["bf16", [3]],
      e4m3: ["f8_e4m3", [3]],
      e5m2: ["f8_e5m2", [3]],
      i64: ["i64", [2]],
      u16: ["u16", [2]],
    });
    for (const name of ["bf16", "e4m3", "e5m2"])
      expect(await (await toTensor(file, name)).toArray()).toEqual([1.5, -0.015625, 448]);
    expect(await (await toTensor(file, "u16")).toArray()).toEqual([65535, 1]);
    await expect(toTensor(file, "i64")).rejects.toThrow(/i64 of.*3000000000/s);
    expect(await (await toTensor(file, "i64", { dtype: "f64" })).toArray()).toEqual([3e9, -1]);
    await expect(toTensor(file, "bf16", { dtype: "i32" })).rejects.toMatchObject({ code: "NF_DTYPE" });
  });
});
