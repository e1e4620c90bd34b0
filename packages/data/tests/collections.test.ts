import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FileCollection } from "../src/files/collection.ts";
import { CIFAR10, IMDB } from "../src/index.ts";
import { findCollection } from "../src/node/collection.ts";
import { cifar10, cora, imdb, multi30k, sst2, tinyShakespeare } from "../src/node/index.ts";
import { data, TestFolder, text } from "./folder.ts";
import { cutAfter, startServer, type TestServer, whole } from "./server.ts";

const folder = new TestFolder();

const gone = vi.fn<typeof globalThis.fetch>(() => Promise.reject(new Error("the network was used")));

let server: TestServer;
beforeEach(async () => {
  server = await startServer();
  gone.mockClear();
});
afterEach(() => server.close());

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
      if (visit === 1) cutAfter(server, contents["a.tsv"], 7000)(request, response, visit);
      else whole(contents["a.tsv"])(request, response, visit);
    });
    server.on("/good/b.tsv", whole(contents["b.tsv"]));
    const mirrors = [`${server.url}/bad`, `${server.url}/good/`];
    const options = { cacheFolder: folder.path, mirrors, onProgress: server.onProgress };
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
    await writeFile(join(folder.path, "tiny", "b.tsv"), "c\t0\n");
    await expect(findCollection("tiny", collection, { ...options, fetch: gone })).rejects.toEqual(
      data(/no intact copy/),
    );
    expect(gone).not.toHaveBeenCalled();
  });

  it("takes the mirrors of every loader, and believes no file with another checksum", async () => {
    const forged = whole(text("forged"));
    const names = ["train.tsv", "input.txt", "ind.cora.x", "train.en.gz"];
    for (const name of names) server.on(`/${name}`, forged);
    const options = { cacheFolder: folder.path, mirrors: [server.url], download: true };
    for (const load of [sst2, tinyShakespeare, cora, multi30k])
      await expect(load(options)).rejects.toMatchObject({ code: "NF_DOWNLOAD" });
    const long = whole(new Uint8Array(200_000));
    server.on("/ind.cora.x", long);
    await expect(cora(options)).rejects.toThrow(/longer than the 22119 bytes/);
  });

  it("uses no network unasked, names every layout, and says where nothing is published", async () => {
    const options = { cacheFolder: folder.path, fetch: gone };
    for (const load of [cifar10, imdb, sst2, multi30k, tinyShakespeare, cora])
      await expect(load(options)).rejects.toEqual(data(/is not on this machine: NF_DATA_DIR is not set/));
    await expect(imdb(options)).rejects.toEqual(data(/84 MB.*imdb\/train\.tsv\.gz.*aclImdb\/train\/pos/));
    await expect(imdb({ folder: folder.path })).rejects.toEqual(
      data(/lacks aclImdb_v1\.tar\.gz \(and there is no imdb/),
    );
    await expect(cora(options)).rejects.toEqual(data(/ind\.cora\.test\.index; or cora\/cora\.json\.gz/));
    const unpublished: FileCollection = { ...collection, mirrors: [] };
    await expect(findCollection("tiny", unpublished, { ...options, download: true })).rejects.toEqual(
      data(/nobody publishes a\.tsv, b\.tsv/),
    );
    expect(gone).not.toHaveBeenCalled();
  });

  it("compares tinyshakespeare's checksum, where nothing else tells texts apart", async () => {
    await folder.put({ "tinyshakespeare/input.txt": "To be, or not to be." });
    await expect(tinyShakespeare({ folder: folder.path })).rejects.toEqual(
      data(/is not tinyshakespeare: its SHA-256 is/),
    );
  });

  it("refuses options that a loader does not know", async () => {
    const wrong: object = { dir: folder.path };
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
