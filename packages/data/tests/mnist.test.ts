import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  DataLoader,
  embeddedMnist,
  type ImageCollection,
  MNIST,
  type RemoteFile,
  readImages,
} from "../src/index.ts";
import {
  type DownloadProgress,
  defaultCacheFolder,
  fashionMnist,
  loadImages,
  mnist,
} from "../src/node/index.ts";
import { startServer, type TestServer, whole } from "./server.ts";

function idx(shape: readonly number[], values: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + values.length);
  bytes.set([0, 0, 8, shape.length]);
  shape.forEach((length, axis) => {
    new DataView(bytes.buffer).setUint32(4 + 4 * axis, length);
  });
  bytes.set(values, 4 + 4 * shape.length);
  return new Uint8Array(gzipSync(bytes));
}

const contents: Record<string, Uint8Array> = {
  "a-images.gz": idx(
    [6, 3, 2],
    Uint8Array.from({ length: 36 }, (_, i) => i * 7),
  ),
  "a-labels.gz": idx([6], Uint8Array.of(0, 1, 2, 0, 1, 2)),
  "b-images.gz": idx(
    [2, 3, 2],
    Uint8Array.from({ length: 12 }, (_, i) => 255 - i),
  ),
  "b-labels.gz": idx([2], Uint8Array.of(2, 0)),
};

function remote(name: string): RemoteFile {
  const bytes = contents[name] as Uint8Array;
  return { name, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

const tiny: ImageCollection = {
  name: "tiny",
  title: "Tiny",
  classes: ["a", "b", "c"],
  mirrors: [],
  files: {
    trainImages: remote("a-images.gz"),
    trainLabels: remote("a-labels.gz"),
    testImages: remote("b-images.gz"),
    testLabels: remote("b-labels.gz"),
  },
};

let server: TestServer;
let folder: string;
const offline: typeof globalThis.fetch = () => Promise.reject(new Error("the network was used"));

beforeEach(async () => {
  server = await startServer();
  folder = await mkdtemp(join(tmpdir(), "nf-mnist-"));
  for (const [name, bytes] of Object.entries(contents)) server.on(`/files/${name}`, whole(bytes));
  vi.stubEnv("NF_DATA_DIR", "");
});

afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function fill(root: string, change: Record<string, Uint8Array> = {}): Promise<void> {
  await mkdir(join(root, "tiny"), { recursive: true });
  for (const [name, bytes] of Object.entries({ ...contents, ...change }))
    await writeFile(join(root, "tiny", name), bytes);
}

describe("loadImages", () => {
  it("reads a folder, and the one of NF_DATA_DIR", async () => {
    await fill(folder);
    const { train, test } = await loadImages(tiny, { folder });
    expect(train.images.shape).toEqual([6, 1, 3, 2]);
    expect(train.source).toBe(`Tiny from ${join(folder, "tiny")}, train set`);
    expect(test.name).toBe("tiny/test");
    expect([...test.labels]).toEqual([2, 0]);
    expect(test.get(1).image.data[0]).toBeCloseTo(249 / 255, 7);
    vi.stubEnv("NF_DATA_DIR", folder);
    expect((await loadImages(tiny)).train.labels).toEqual(train.labels);
  });

  it("uses no network unasked, and says what to do", async () => {
    const error = await loadImages(tiny, {
      cacheFolder: folder,
      mirrors: [server.url],
      fetch: offline,
    }).catch(String);
    expect(error).toContain("NF_DATA_DIR is not set");
    expect(error).toContain(join(folder, "tiny"));
    expect(error).toContain("download: true");
    expect(error).toContain("tiny/a-images.gz");
    vi.stubEnv("NF_DATA_DIR", join(folder, "elsewhere"));
    await expect(loadImages(tiny, { cacheFolder: folder })).rejects.toThrow(
      join(folder, "elsewhere", "tiny"),
    );
    expect(server.seen).toEqual([]);
  });

  it("insists on a folder that was named", async () => {
    const request = loadImages(tiny, {
      folder,
      download: true,
      mirrors: [`${server.url}/files`],
      cacheFolder: folder,
    });
    await expect(request).rejects.toMatchObject({
      code: "NF_DATA",
      message: expect.stringContaining("a-images.gz"),
    });
    expect(server.seen).toEqual([]);
  });

  it("downloads on request, from the next mirror if need be, and works offline from then on", async () => {
    const progress: DownloadProgress[] = [];
    const options = { cacheFolder: folder, mirrors: [`${server.url}/gone/`, `${server.url}/files/`] };
    const first = await loadImages(tiny, {
      ...options,
      download: true,
      onProgress: (one) => progress.push(one),
    });
    expect(new Set(progress.map(({ file }) => file)).size).toBe(4);
    const visits = server.seen.length;
    const second = await loadImages(tiny, { ...options, fetch: offline });
    const third = await loadImages(tiny, { ...options, fetch: offline, download: true });
    expect(server.seen).toHaveLength(visits);
    for (const { train } of [second, third]) expect(train.images.data).toEqual(first.train.images.data);
  });

  it("never uses a broken file of the cache", async () => {
    const options = { cacheFolder: folder, mirrors: [`${server.url}/files`] };
    await loadImages(tiny, { ...options, download: true });
    // A whole, valid file, but not the published one: only the checksum can tell.
    await writeFile(join(folder, "tiny", "a-labels.gz"), idx([6], Uint8Array.of(2, 1, 0, 2, 1, 0)));
    const broken = await readFile(join(folder, "tiny", "a-labels.gz"));
    await expect(loadImages(tiny, options)).rejects.toMatchObject({ code: "NF_DATA" });
    // Looking is not writing.
    expect(await readFile(join(folder, "tiny", "a-labels.gz"))).toEqual(broken);
    expect([...(await loadImages(tiny, { ...options, download: true })).train.labels]).toEqual([
      0, 1, 2, 0, 1, 2,
    ]);
  });

  it.each([
    ["is damaged", { "a-images.gz": Uint8Array.of(0x1f, 0x8b, 8, 0, 1) }, /Tiny, a-images\.gz: .*damaged/],
    [
      "has another rank",
      { "a-labels.gz": idx([6, 1], new Uint8Array(6)) },
      /a-labels\.gz: expected bytes of rank 1/,
    ],
    ["does not fit the other", { "a-labels.gz": idx([5], new Uint8Array(5)) }, /\[6, 1, 3, 2\] and 5 labels/],
    ["has an unknown class", { "b-labels.gz": idx([2], Uint8Array.of(0, 3)) }, /label 3 of image 1/],
  ])("names the file that %s", async (_, change, message) => {
    await fill(folder, change);
    await expect(loadImages(tiny, { folder })).rejects.toMatchObject({
      code: "NF_DATA",
      message: expect.stringMatching(message),
    });
  });

  it("reads from anywhere, for browsers", async () => {
    const response = (file: RemoteFile): Promise<Response> => fetch(`${server.url}/files/${file.name}`);
    const { test } = await readImages(
      tiny,
      async (file) => new Uint8Array(await (await response(file)).arrayBuffer()),
    );
    expect(test.source).toBe("Tiny, test set");
    expect(test.length).toBe(2);
  });

  it("refuses options it does not know", async () => {
    const wrong = Object.assign({ folder }, { dir: folder });
    for (const [name, load] of Object.entries({ mnist, fashionMnist })) {
      const message = expect.stringMatching(new RegExp(`^${name}: unknown option "dir"`));
      await expect(load(wrong)).rejects.toMatchObject({ code: "NF_OPTION", message });
    }
    for (const more of [{ folder: 3 }, { cacheFolder: null }, { mirrors: "https://example.org" }]) {
      const options: object = more;
      await expect(loadImages(tiny, options)).rejects.toMatchObject({ code: "NF_OPTION" });
    }
  });

  it("caches where the system keeps caches, or where NF_CACHE_DIR says", () => {
    vi.stubEnv("NF_CACHE_DIR", "");
    expect(defaultCacheFolder()).toMatch(/nanoflux/);
    vi.stubEnv("NF_CACHE_DIR", "elsewhere");
    expect(defaultCacheFolder()).toBe("elsewhere");
  });
});

const root = process.env["NF_DATA_DIR"];
const present = (collection: string): boolean => {
  const there = root !== undefined && existsSync(join(root, collection, MNIST.files.trainImages.name));
  if (!there) console.log(`skipped: NF_DATA_DIR (${root ?? "not set"}) has no folder ${collection}`);
  return there;
};

describe.skipIf(!present("mnist"))("full MNIST", () => {
  const load = (): ReturnType<typeof mnist> => mnist({ folder: root as string });

  it("has the published counts", async () => {
    const { train, test } = await load();
    expect(train.classCounts()).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    expect(test.classCounts()).toEqual([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    expect([...train.labels.subarray(0, 5)]).toEqual([5, 0, 4, 1, 9]);
    expect(new DataLoader(train, { batchSize: 64 }).length).toBe(938);
  });

  it("has the checksums this package demands of downloads", async () => {
    for (const { name, bytes, sha256 } of Object.values(MNIST.files)) {
      const file = await readFile(join(root as string, "mnist", name));
      expect([file.length, createHash("sha256").update(file).digest("hex")]).toEqual([bytes, sha256]);
    }
  });

  it("begins with the embedded digits, which is why those never score a model trained on it", async () => {
    const { train } = await load();
    const first = new Set(
      Array.from({ length: 10_000 }, (_, i) =>
        Buffer.from(train.images.data.subarray(i * 784, (i + 1) * 784)).toString("latin1"),
      ),
    );
    const embedded = await embeddedMnist();
    for (const { images, length } of [embedded.train, embedded.test]) {
      for (let i = 0; i < length; i++) {
        expect(
          first.delete(Buffer.from(images.data.subarray(i * 784, (i + 1) * 784)).toString("latin1")),
        ).toBe(true);
      }
    }
    expect(first.size).toBe(0);
  });
});

describe.skipIf(!present("fashion-mnist"))("Fashion-MNIST", () => {
  it("has 6,000 and 1,000 pictures of each class", async () => {
    const { train, test } = await fashionMnist({ folder: root as string });
    expect(train.classCounts()).toEqual(Array(10).fill(6000));
    expect(test.classCounts()).toEqual(Array(10).fill(1000));
    expect(train.classes[train.labels[0] as number]).toBe("ankle boot");
  });
});
