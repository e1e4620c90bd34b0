import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createGzip, gzipSync } from "node:zlib";
import { createTarPacker, packTar } from "modern-tar";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readArchive } from "../src/files/archive.ts";
import type { FileCollection } from "../src/files/collection.ts";
import { inflate } from "../src/gunzip.ts";
import {
  CIFAR10,
  IMDB,
  readCifar10,
  readCifar10Archive,
  readCora,
  readImdbArchive,
  readImdbTable,
  readParallel,
  readSst2,
} from "../src/index.ts";
import { findCollection } from "../src/node/collection.ts";
import { cifar10, cora, imdb, multi30k, sst2, tinyShakespeare } from "../src/node/index.ts";
import { cutAfter, startServer, type TestServer, whole } from "./server.ts";

const data = (message: string | RegExp): unknown =>
  expect.objectContaining({ code: "NF_DATA", message: expect.stringMatching(message) });
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const zipped = (bytes: Uint8Array): Uint8Array => new Uint8Array(gzipSync(bytes));
const gone = vi.fn<typeof globalThis.fetch>(() => Promise.reject(new Error("the network was used")));

/** A gzipped archive of files. */
async function archive(files: Record<string, Uint8Array>): Promise<Uint8Array> {
  const entries = Object.entries(files).map(([name, body]) => ({
    header: { name, size: body.length, type: "file" as const },
    body,
  }));
  return zipped(await packTar(entries));
}

let folder: string;
let server: TestServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "nf-readers-"));
  server = await startServer();
  vi.stubEnv("NF_DATA_DIR", "");
  gone.mockClear();
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

async function put(files: Record<string, Uint8Array | string>): Promise<void> {
  for (const [path, contents] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), contents);
  }
}

describe("inflating", () => {
  it("stops at the limit, however much a file would become", async () => {
    const bomb = zipped(new Uint8Array(50_000_000));
    expect(bomb.length).toBeLessThan(60_000);
    await expect(inflate("bomb", bomb, 1_000_000)).rejects.toEqual(data(/^bomb: .*1000000 bytes/));
    await expect(inflate("plain", new Uint8Array(11), 10)).rejects.toEqual(data(/^plain/));
    expect(await inflate("fits", zipped(new Uint8Array(10)), 10)).toEqual(new Uint8Array(10));
    await expect(inflate("cut", bomb.subarray(0, 1000), 1e9)).rejects.toEqual(data(/^cut: .*damaged/));
    const tarBomb = await archive({ "a.bin": new Uint8Array(20_000_000), "b.bin": new Uint8Array(10) });
    const limits = { inflated: 3e7, file: 3e7, kept: 3e7, files: 2 };
    for (const wanted of [true, false]) {
      await expect(readArchive("tar", tarBomb, { ...limits, inflated: 1e6 }, () => wanted)).rejects.toEqual(
        data(/^tar: .*more than the 1000000 bytes/),
      );
    }
    expect([...(await readArchive("tar", tarBomb, limits, (name) => name === "b.bin")).keys()]).toEqual([
      "b.bin",
    ]);
  });

  it("stops at the header of a file that is larger than any there should be", async () => {
    const limits = { inflated: 1e9, file: 1000, kept: 1500, files: 3 };
    const read = async (files: Record<string, Uint8Array>): Promise<string[]> => [
      ...(await readArchive("tar", await archive(files), limits, (name) => name.endsWith(".bin"))).keys(),
    ];
    const some = (size: number): Uint8Array => new Uint8Array(size);
    expect(await read({ "a.bin": some(1000), "b.txt": some(5000), "c.bin": some(500) })).toEqual([
      "a.bin",
      "c.bin",
    ]);
    await expect(read({ "a.bin": some(1001) })).rejects.toEqual(data(/^tar: a.bin has 1001 .*the 1000 that/));
    await expect(read({ "a.bin": some(999), "b.bin": some(999) })).rejects.toEqual(
      data(/b.bin have 1998 bytes.*1500/),
    );
    const four = Object.fromEntries(["a", "b", "c", "d"].map((name) => [`${name}.bin`, some(1)]));
    await expect(read(four)).rejects.toEqual(data(/d.bin is file 4 .*the 3 that/));
    await expect(read({ [`${"x".repeat(2000)}.bin`]: some(1) })).rejects.toEqual(data(/name .*2004/));
  });

  it("does not read the body of such a file", async () => {
    // 300 MB of zeros in 0.3 MB; kept whole they would show in the memory that typed arrays take.
    const { readable, controller } = createTarPacker();
    controller.add({ name: "aclImdb/train/pos/1_9.txt", size: 3e8 });
    const header = (await readable.getReader().read()).value;
    const zeros = new Uint8Array(1e6);
    const tar = Readable.from([header, ...new Array(301).fill(zeros)]);
    const bomb = new Uint8Array(await buffer(tar.pipe(createGzip())));
    expect(bomb.length).toBeLessThan(400_000);
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }, 1);
    await expect(readImdbArchive(bomb)).rejects.toEqual(data(/1_9.txt has 300000000 bytes.*1048576/));
    clearInterval(watch);
    expect(most).toBeLessThan(5e7);
  });
});

/** One record of CIFAR-10: every pixel of a plane the same. */
const record = (label: number, red: number, green: number, blue: number): Uint8Array =>
  Uint8Array.of(label, ...[red, green, blue].flatMap((value) => new Array(1024).fill(value)));

describe("CIFAR-10", () => {
  const names = [1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`);
  const six = Object.fromEntries([
    ...names.map((name, index) => [name, record(index, 10 * index, 1, 2)] as const),
    ["test_batch.bin", new Uint8Array([...record(9, 255, 0, 51), ...record(8, 0, 0, 0)])] as const,
  ]);
  const under = (prefix: string): Record<string, Uint8Array> =>
    Object.fromEntries(Object.entries(six).map(([name, bytes]) => [`${prefix}${name}`, bytes]));

  it("reads records, plain and gzipped, one file after the other, normalised for each channel", async () => {
    const files = [record(3, 0, 51, 255), zipped(record(4, 255, 255, 255))];
    const normalize = { mean: [0, 0.2, 0.5], std: [1, 1, 0.5] };
    const set = await readCifar10("train", files, { normalize });
    expect([...set.labels]).toEqual([3, 4]);
    expect(set.classes[3]).toBe("cat");
    const { image } = set.get(0);
    expect(image.shape).toEqual([3, 32, 32]);
    expect([0, 1024, 2048].map((at) => image.data[at])).toEqual([0, expect.closeTo(0, 6), 1]);
  });

  it("refuses other files", async () => {
    await expect(readCifar10("train", [new Uint8Array(3072)])).rejects.toEqual(
      data(/3072 bytes are no whole/),
    );
    await expect(readCifar10("train", [new Uint8Array(0)])).rejects.toEqual(data(/0 bytes/));
    await expect(readCifar10("test", [record(10, 0, 0, 0)])).rejects.toEqual(data(/label 10 of image 0/));
    await expect(
      readCifar10("test", [record(1, 0, 0, 0)], { normalize: { mean: [0, 0], std: [1, 1] } }),
    ).rejects.toMatchObject({ code: "NF_OPTION" });
    await expect(
      readCifar10Archive(await archive({ "x/data_batch_1.bin": record(1, 0, 0, 0) })),
    ).rejects.toEqual(data(/lacks data_batch_2\.bin/));
    await expect(readCifar10Archive(zipped(text("no archive at all")))).rejects.toEqual(
      data(/cifar-10-binary/),
    );
  });

  it.each(["cifar10/", "cifar10/cifar-10-batches-bin/", "cifar-10-batches-bin/"])(
    "reads the files in %s",
    async (prefix) => {
      await put(under(prefix));
      const { train, test } = await cifar10({ folder });
      expect([...train.labels]).toEqual([0, 1, 2, 3, 4]);
      expect([...test.labels]).toEqual([9, 8]);
      expect(test.get(0).image.data[2048]).toBeCloseTo(0.2, 6);
    },
  );

  it("reads the published archive, and an excerpt, which it says", async () => {
    await put({ "cifar10/cifar-10-binary.tar.gz": await archive(under("cifar-10-batches-bin/")) });
    expect((await cifar10({ folder })).train.length).toBe(5);
    await rm(join(folder, "cifar10"), { recursive: true });
    await put({
      "cifar10/train_4000.bin.gz": zipped(record(1, 0, 0, 0)),
      "cifar10/test_1000.bin.gz": zipped(record(2, 0, 0, 0)),
    });
    const { train, test } = await cifar10({ folder });
    expect([train.length, test.length]).toEqual([1, 1]);
    expect(train.source).toContain("an excerpt");
  });
});

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
    await put({ "imdb/train.tsv.gz": table(rows), "imdb/test.tsv.gz": table(other) });
    const fromTable = await imdb({ folder });
    expect(fromTable.train.texts).toEqual(["so good", "so bad", "the best", "fine"]);
    expect([...fromTable.train.labels]).toEqual([1, 0, 1, 1]);
    expect(fromTable.test.classCounts()).toEqual([1, 1]);
    expect(fromTable.train.get(1)).toMatchObject({ text: "so bad", label: { data: Int32Array.of(0) } });
    await rm(join(folder, "imdb"), { recursive: true });

    for (const prefix of ["aclImdb/", "imdb/aclImdb/"]) {
      await put(Object.fromEntries(Object.entries(files).map(([name, body]) => [prefix + name, body])));
      const { train, test } = await imdb({ folder });
      expect([train.texts, test.texts]).toEqual([fromTable.train.texts, fromTable.test.texts]);
      await rm(join(folder, prefix), { recursive: true });
    }
    const packed = await archive(
      Object.fromEntries(Object.entries(files).map(([name, body]) => [`aclImdb/${name}`, text(body)])),
    );
    await put({ "imdb/aclImdb_v1.tar.gz": packed });
    const { train, test } = await imdb({ folder });
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
    await put({ "sst2/train.tsv": "a\t1\n", "sst2/dev.tsv": "b\t0\n", "sst2/test.tsv": "c\t1\n" });
    const { train, validation, test } = await sst2({ folder });
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
    await put(
      Object.fromEntries(
        parts.flatMap((part) =>
          ["en", "de", "fr"].map((language) => [
            `multi30k/${part}.${language}.gz`,
            zipped(text(`${part} ${language}\n`)),
          ]),
        ),
      ),
    );
    const { validation, test } = await multi30k({ folder, languages: ["fr", "en"] });
    expect(validation.get(0)).toEqual({ source: "val fr", target: "val en" });
    expect((await multi30k({ folder })).train.get(0)).toEqual({ source: "train en", target: "train de" });
    expect(test.source).toContain("test set");
    for (const languages of [["en", "en"], ["en", "it"], ["en"]])
      await expect(multi30k({ folder, languages: languages as ["en", "de"] })).rejects.toMatchObject({
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
    await put({ "cora/cora.json.gz": zipped(json({})) });
    expect((await cora({ folder })).numNodes).toBe(4);
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

describe("finding, downloading and keeping files", () => {
  const contents = { "a.tsv": text("a\t1\n".repeat(5000)), "b.tsv": text("b\t0\n") };
  const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  const collection: FileCollection = {
    name: "tiny",
    title: "Tiny",
    mirrors: [],
    files: Object.fromEntries(
      Object.entries(contents).map(([name, bytes]) => [
        name,
        { name, bytes: bytes.length, sha256: hash(bytes) },
      ]),
    ),
  };

  it("resumes, goes on to the next mirror, and is offline from then on", async () => {
    server.on("/bad/a.tsv", (_, response) => void response.writeHead(404).end());
    server.on("/good/a.tsv", (request, response, visit) => {
      if (visit === 1) cutAfter(contents["a.tsv"], 7000)(request, response, visit);
      else whole(contents["a.tsv"])(request, response, visit);
    });
    server.on("/good/b.tsv", whole(contents["b.tsv"]));
    const options = { cacheFolder: folder, mirrors: [`${server.url}/bad`, `${server.url}/good/`] };
    await expect(findCollection("tiny", collection, options)).rejects.toEqual(
      data(/download: true \(0\.02 MB\)/),
    );
    const { read } = await findCollection("tiny", collection, { ...options, download: true });
    expect(new Uint8Array(await read("a.tsv"))).toEqual(contents["a.tsv"]);
    expect(server.seen.some(({ path, range }) => path === "/good/a.tsv" && range === "bytes=7000-")).toBe(
      true,
    );
    for (const download of [true, false])
      await findCollection("tiny", collection, { ...options, download, fetch: gone });
    await writeFile(join(folder, "tiny", "b.tsv"), "c\t0\n");
    await expect(findCollection("tiny", collection, { ...options, fetch: gone })).rejects.toEqual(
      data(/no intact copy/),
    );
    expect(gone).not.toHaveBeenCalled();
  });

  it("takes the mirrors of every loader, and believes no file with another checksum", async () => {
    const forged = whole(text("forged"));
    const names = ["train.tsv", "input.txt", "cora.json.gz", "train.en.gz"];
    for (const name of names) server.on(`/${name}`, forged);
    const options = { cacheFolder: folder, mirrors: [server.url], download: true };
    for (const load of [sst2, tinyShakespeare, cora, multi30k])
      await expect(load(options)).rejects.toMatchObject({ code: "NF_DOWNLOAD" });
    const long = whole(new Uint8Array(200_000));
    server.on("/cora.json.gz", long);
    await expect(cora(options)).rejects.toThrow(/longer than the 96675 bytes/);
  });

  it("uses no network unasked, names every layout, and says where nothing is published", async () => {
    const options = { cacheFolder: folder, fetch: gone };
    for (const load of [cifar10, imdb, sst2, multi30k, tinyShakespeare, cora])
      await expect(load(options)).rejects.toEqual(data(/is not on this machine: NF_DATA_DIR is not set/));
    await expect(imdb(options)).rejects.toEqual(data(/84 MB.*imdb\/train\.tsv\.gz.*aclImdb\/train\/pos/));
    await expect(imdb({ folder })).rejects.toEqual(data(/lacks aclImdb_v1\.tar\.gz \(and there is no imdb/));
    await expect(cora({ ...options, download: true })).rejects.toEqual(
      data(/nobody publishes cora\.json\.gz/),
    );
    expect(gone).not.toHaveBeenCalled();
  });

  it("compares tinyshakespeare's checksum, where nothing else tells texts apart", async () => {
    await put({ "tinyshakespeare/input.txt": "To be, or not to be." });
    await expect(tinyShakespeare({ folder })).rejects.toEqual(data(/is not tinyshakespeare: its SHA-256 is/));
  });

  it("refuses options that a loader does not know", async () => {
    const wrong: object = { dir: folder };
    for (const load of [cifar10, imdb, sst2, multi30k, tinyShakespeare, cora])
      await expect(load(wrong)).rejects.toMatchObject({ code: "NF_OPTION" });
  });

  it("knows the archives by the checksums that others publish too", () => {
    expect(CIFAR10.files.archive).toMatchObject({ bytes: 170052171 });
    expect(IMDB.files.archive).toMatchObject({ bytes: 84125825 });
    for (const { sha256 } of [CIFAR10.files.archive, IMDB.files.archive])
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
  });
});
