import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createGzip } from "node:zlib";
import { createTarPacker } from "modern-tar";
import { describe, expect, it } from "vitest";
import { readArchive } from "../src/files/archive.ts";
import { inflate } from "../src/gunzip.ts";
import { readCifar10, readCifar10Archive, readImdbArchive } from "../src/index.ts";
import { cifar10 } from "../src/node/index.ts";
import { archive, data, TestFolder, text, zipped } from "./folder.ts";

const folder = new TestFolder();

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
      await folder.put(under(prefix));
      const { train, test } = await cifar10({ folder: folder.path });
      expect([...train.labels]).toEqual([0, 1, 2, 3, 4]);
      expect([...test.labels]).toEqual([9, 8]);
      expect(test.get(0).image.data[2048]).toBeCloseTo(0.2, 6);
    },
  );

  it("reads the published archive, and an excerpt, which it says", async () => {
    await folder.put({ "cifar10/cifar-10-binary.tar.gz": await archive(under("cifar-10-batches-bin/")) });
    expect((await cifar10({ folder: folder.path })).train.length).toBe(5);
    await rm(join(folder.path, "cifar10"), { recursive: true });
    await folder.put({
      "cifar10/train_4000.bin.gz": zipped(record(1, 0, 0, 0)),
      "cifar10/test_1000.bin.gz": zipped(record(2, 0, 0, 0)),
    });
    const { train, test } = await cifar10({ folder: folder.path });
    expect([train.length, test.length]).toEqual([1, 1]);
    expect(train.source).toContain("an excerpt");
  });
});
