import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readCora, readImdbArchive, readImdbTable, readParallel, readSst2 } from "../src/index.ts";
import { cora, imdb, multi30k, sst2 } from "../src/node/index.ts";
import { archive, data, TestFolder, text, zipped } from "./folder.ts";

const folder = new TestFolder();

describe("IMDb", () => {
  const head = "id\tlabel\trating\ttext";
  const files = {
    "train/pos/0_9.txt": "so good",
    "train/neg/0_2.txt": "so\tbad",
    "train/pos/10_7.txt": "fine",
    "train/pos/2_10.txt": "the best",
    "test/pos/1_8.txt": "good",
    "test/neg/3_1.txt": "bad",
    "train/unsup/4_0.txt": "never read",
    "train/labeledBow.feat": "never read",
  };

  it("gives the same reviews from a table, from folders and from the archive", async () => {
    const rows = ["0\t1\t9\tso good", "0\t0\t2\tso bad", "2\t1\t10\tthe best", "10\t1\t7\tfine"];
    const other = ["1\t1\t8\tgood", "3\t0\t1\tbad"];
    const table = (lines: readonly string[]): Uint8Array => zipped(text(`${[head, ...lines].join("\n")}\n`));
    await folder.put({ "imdb/train.tsv.gz": table(rows), "imdb/test.tsv.gz": table(other) });
    const fromTable = await imdb({ folder: folder.path });
    expect(fromTable.train.texts).toEqual(["so good", "so bad", "the best", "fine"]);
    expect([...fromTable.train.labels]).toEqual([1, 0, 1, 1]);
    expect(fromTable.test.classCounts()).toEqual([1, 1]);
    expect(fromTable.train.get(1)).toMatchObject({ text: "so bad", label: { data: Int32Array.of(0) } });
    await rm(join(folder.path, "imdb"), { recursive: true });

    for (const prefix of ["aclImdb/", "imdb/aclImdb/"]) {
      await folder.put(
        Object.fromEntries(Object.entries(files).map(([name, body]) => [prefix + name, body])),
      );
      const { train, test } = await imdb({ folder: folder.path });
      expect([train.texts, test.texts]).toEqual([fromTable.train.texts, fromTable.test.texts]);
      await rm(join(folder.path, prefix), { recursive: true });
    }
    const packed = await archive(
      Object.fromEntries(Object.entries(files).map(([name, body]) => [`aclImdb/${name}`, text(body)])),
    );
    await folder.put({ "imdb/aclImdb_v1.tar.gz": packed });
    const { train, test } = await imdb({ folder: folder.path });
    expect([train.texts, test.texts]).toEqual([fromTable.train.texts, fromTable.test.texts]);
    expect(train.labels).toEqual(fromTable.train.labels);
  });

  it.each([
    ["other headings", "id\ttext\n", /line 1 is "id\\ttext"/],
    ["a label that does not fit the rating", `${head}\n1\t1\t2\tx\n`, /line 2/],
    ["a rating in the middle", `${head}\n1\t0\t5\tx\n`, /review 1 has the rating 5/],
    ["too few columns", `${head}\n1\t0\t2\tx\n2\t1\t9\n`, /line 3/],
    ["too many", `${head}\n1\t0\t2\tx\ty\n`, /line 2/],
  ])("refuses %s", async (_, contents, message) => {
    await expect(readImdbTable("train", text(contents))).rejects.toEqual(data(message));
  });

  it("refuses bytes that are no text, and an archive without reviews", async () => {
    const bytes = Uint8Array.of(...text(`${head}\n1\t1\t9\t`), 0xff);
    await expect(readImdbTable("test", bytes)).rejects.toEqual(data(/UTF-8/));
    await expect(readImdbArchive(await archive({ "aclImdb/README": text("x") }))).rejects.toEqual(
      data(/no reviews in train/),
    );
    const sound = await archive({ "aclImdb/train/pos/1_9.txt": text("x") });
    await expect(readImdbArchive(sound.subarray(0, 60))).rejects.toEqual(data(/aclImdb_v1/));
  });
});

describe("SST-2, Multi30k and Cora", () => {
  it("read tables of sentences, and refuse malformed lines by their number", async () => {
    const set = await readSst2("dev", text("a fine film\t1\na bore , though\t0\n"));
    expect([set.texts, [...set.labels], set.classes[1]]).toEqual([
      ["a fine film", "a bore , though"],
      [1, 0],
      "positive",
    ]);
    for (const wrong of ["good\n", "good\t2\n", "\t1\n", "good\tx\t1\n"])
      await expect(readSst2("dev", text(`fine\t1\n${wrong}`))).rejects.toEqual(data(/line 2/));
    await folder.put({ "sst2/train.tsv": "a\t1\n", "sst2/dev.tsv": "b\t0\n", "sst2/test.tsv": "c\t1\n" });
    const { train, validation, test } = await sst2({ folder: folder.path });
    expect([train, validation, test].map(({ texts, name }) => [texts[0], name])).toEqual([
      ["a", "sst2/train"],
      ["b", "sst2/validation"],
      ["c", "sst2/test"],
    ]);
  });

  it("read sentences side by side", async () => {
    const set = await readParallel("pairs", text("one\n\nthree\n"), zipped(text("eins\nzwei\ndrei")));
    expect([set.length, set.get(2), set.get(1)]).toEqual([
      3,
      { source: "three", target: "drei" },
      { source: "", target: "zwei" },
    ]);
    await expect(readParallel("pairs", text("a\nb\n"), text("a\n"))).rejects.toEqual(
      data(/2 sentences .* and 1/),
    );
    const parts = ["train", "val", "test_2016_flickr"];
    await folder.put(
      Object.fromEntries(
        parts.flatMap((part) =>
          ["en", "de", "fr"].map((language) => [
            `multi30k/${part}.${language}.gz`,
            zipped(text(`${part} ${language}\n`)),
          ]),
        ),
      ),
    );
    const { validation, test } = await multi30k({ folder: folder.path, languages: ["fr", "en"] });
    expect(validation.get(0)).toEqual({ source: "val fr", target: "val en" });
    expect((await multi30k({ folder: folder.path })).train.get(0)).toEqual({
      source: "train en",
      target: "train de",
    });
    expect(test.source).toContain("test set");
    for (const languages of [["en", "en"], ["en", "it"], ["en"]])
      await expect(
        multi30k({ folder: folder.path, languages: languages as ["en", "de"] }),
      ).rejects.toMatchObject({
        code: "NF_OPTION",
      });
  });

  const graph = {
    ...{ numNodes: 4, numFeatures: 3, numClasses: 2 },
    featureIndices: [[0, 2], [], [1], [2]],
    labels: [0, 1, 1, 0],
    ...{
      edges: [
        [0, 1],
        [1, 3],
      ],
      train: [0],
      val: [1],
      test: [2, 3],
    },
  };
  const json = (change: object): Uint8Array => text(JSON.stringify({ ...graph, ...change }));

  it("read a graph", async () => {
    const { features, labels, edges, train, validation, test } = await readCora(zipped(json({})));
    expect([features.shape, [...features.data]]).toEqual([
      [4, 3],
      [1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1],
    ]);
    expect([[...labels.data], edges.shape, [...edges.data]]).toEqual([
      [0, 1, 1, 0],
      [2, 2],
      [0, 1, 1, 3],
    ]);
    expect([train, validation, test]).toEqual([Int32Array.of(0), Int32Array.of(1), Int32Array.of(2, 3)]);
    await folder.put({ "cora/cora.json.gz": zipped(json({})) });
    expect((await cora({ folder: folder.path })).numNodes).toBe(4);
  });

  it.each([
    ["numNodes", { numNodes: 0 }],
    ["numNodes", { numNodes: "4" }],
    ["more than the", { numNodes: 1e6, numFeatures: 1e6 }],
    [
      "characters of JSON",
      { numNodes: 1, numFeatures: 2 ** 26, featureIndices: [[]], labels: [0], edges: [], val: [], test: [] },
    ],
    ["featureIndices must", { featureIndices: [[0]] }],
    ["featureIndices\\[1\\]", { featureIndices: [[0], [3], [], []] }],
    ["featureIndices\\[0\\]", { featureIndices: [5, [], [], []] }],
    ["labels", { labels: [0, 1, 2, 0] }],
    ["labels", { labels: [0, null, 1, 0] }],
    ["edges\\[0\\]", { edges: [[0, 4]] }],
    ["edges\\[0\\]", { edges: [[1, 1]] }],
    ["edges\\[0\\]", { edges: [[0, 1, 2]] }],
    ["more than once", { val: [0] }],
    ["test must", { test: {} }],
  ])("refuse a graph with a wrong field: %s", async (message, change) => {
    await expect(readCora(json(change))).rejects.toEqual(data(new RegExp(message)));
  });

  it("refuse a graph that is no JSON", async () => {
    await expect(readCora(text("{"))).rejects.toEqual(data(/no JSON/));
    await expect(readCora(text("[1]"))).rejects.toEqual(data(/no JSON object/));
  });
});
