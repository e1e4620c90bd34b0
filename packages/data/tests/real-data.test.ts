import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  CORA,
  multi30kCollection,
  type PlanetoidFiles,
  readCora,
  readPlanetoid,
  SST2,
} from "../src/index.ts";
import { cifar10, cora, imdb, multi30k, sst2, tinyShakespeare } from "../src/node/index.ts";

const folder = process.env["NF_DATA_DIR"] ?? "";
const present = (path: string): boolean => {
  const there = folder !== "" && existsSync(join(folder, path));
  if (!there) console.log(`skipped: NF_DATA_DIR (${folder || "not set"}) has no ${path}`);
  return there;
};

describe.skipIf(!present("cifar10/train_4000.bin.gz"))("CIFAR-10", () => {
  it("has the first pictures of the published files", async () => {
    const { train, test } = await cifar10({ folder });
    // All of them, or the excerpt.
    expect([
      [50_000, 10_000],
      [4000, 1000],
    ]).toContainEqual([train.length, test.length]);
    expect([...train.labels.subarray(0, 10)]).toEqual([6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    expect([...test.labels.subarray(0, 10)]).toEqual([3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
    // The first picture's first pixel: red of the first row, then green and blue.
    const { data } = train.images;
    expect([data[0], data[1024], data[2048]]).toEqual([59, 62, 63]);
    expect(Math.min(...train.classCounts())).toBeGreaterThan(300);
  });
});

describe.skipIf(!present("imdb/train.tsv.gz"))("IMDb", () => {
  it("has its reviews, half of them good", async () => {
    const { train, test } = await imdb({ folder });
    expect([train.length, test.length]).toEqual([24_996, 24_996]);
    expect([train.classCounts(), test.classCounts()]).toEqual([
      [12_498, 12_498],
      [12_500, 12_496],
    ]);
    expect(train.texts[0]).toMatch(/^Story of a man who has unnatural feelings for a pig\./);
    expect(train.labels[0]).toBe(0);
    expect(train.texts[1]).toMatch(/^If you like adult comedy cartoons, like South Park/);
    expect(train.labels[1]).toBe(1);
  });
});

describe.skipIf(!present("sst2/train.tsv"))("SST-2", () => {
  it("has its sentences, and the published files", async () => {
    const { train, validation, test } = await sst2({ folder });
    expect([train, validation, test].map((part) => part.classCounts())).toEqual([
      [3310, 3610],
      [428, 444],
      [912, 909],
    ]);
    expect(train.texts[0]).toMatch(/^a stirring , funny and finally transporting/);
    for (const { name, bytes, sha256 } of Object.values(SST2.files)) {
      const file = await readFile(join(folder, "sst2", name));
      expect([file.length, createHash("sha256").update(file).digest("hex")]).toEqual([bytes, sha256]);
    }
  });
});

describe.skipIf(!present("multi30k/train.en.gz"))("Multi30k", () => {
  it("has its sentences, and the published files", async () => {
    const { train, validation, test } = await multi30k({ folder });
    expect([train.length, validation.length, test.length]).toEqual([29_000, 1014, 1000]);
    expect(train.get(0)).toEqual({
      source: "Two young, White males are outside near many bushes.",
      target: "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    });
    expect((await multi30k({ folder, languages: ["de", "fr"] })).test.length).toBe(1000);
    for (const { name, bytes, sha256 } of Object.values(multi30kCollection(["en", "de", "fr"]).files)) {
      const file = await readFile(join(folder, "multi30k", name));
      expect([file.length, createHash("sha256").update(file).digest("hex")]).toEqual([bytes, sha256]);
    }
  });
});

describe.skipIf(!present("tinyshakespeare/input.txt"))("tinyshakespeare", () => {
  it("has its characters", async () => {
    const { text } = await tinyShakespeare({ folder });
    expect([text.length, new Set(text).size]).toEqual([1_115_394, 65]);
    expect(text).toMatch(/^First Citizen:\nBefore we proceed any further, hear me speak\.\n/);
  });
});

describe.skipIf(!present("cora/cora.json.gz"))("Cora", () => {
  it("has its papers, words, citations and split", async () => {
    const graph = await cora({ folder });
    expect([graph.numNodes, graph.numFeatures, graph.numClasses]).toEqual([2708, 1433, 7]);
    expect(graph.features.data.reduce((sum, value) => sum + value, 0)).toBe(49_216);
    expect(graph.edges.shape).toEqual([5278, 2]);
    expect([graph.train.length, graph.validation.length, graph.test.length]).toEqual([140, 500, 1000]);
    // Planetoid's training set has twenty papers of each subject.
    const counts = new Array(7).fill(0);
    for (const node of graph.train) counts[graph.labels.data[node] as number]++;
    expect(counts).toEqual(new Array(7).fill(20));
    expect([...graph.edges.data.subarray(0, 2)]).toEqual([0, 633]);
  });

  const published = Object.values(CORA.files).every(({ name }) => present(`cora/${name}`));
  it.skipIf(!published)("is the same from Planetoid's files and from JSON", async () => {
    const read = (name: string): Promise<Buffer> => readFile(join(folder, "cora", name));
    const parts = Object.entries(CORA.files).map(async ([part, { name, bytes, sha256 }]) => {
      const contents = await read(name);
      expect([contents.length, createHash("sha256").update(contents).digest("hex")]).toEqual([bytes, sha256]);
      return [part, contents];
    });
    const files = Object.fromEntries(await Promise.all(parts)) as PlanetoidFiles<Uint8Array>;
    const { features, ...rest } = readPlanetoid(files, "Cora");
    const { features: expected, ...others } = await readCora(await read("cora.json.gz"), "Cora");
    expect(rest).toEqual(others);
    expect(features.shape).toEqual(expected.shape);
    expect(Buffer.from(features.data.buffer).equals(Buffer.from(expected.data.buffer))).toBe(true);
  });
});
