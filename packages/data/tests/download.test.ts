import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DownloadOptions, type DownloadProgress, download } from "../src/node/index.ts";
import { cutAfter, startServer, type TestServer, whole } from "./server.ts";

const body = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31 + (i >> 8)) & 255);
const sha256 = createHash("sha256").update(body).digest("hex");

let server: TestServer;
let folder: string;
let file: string;
let options: DownloadOptions;

beforeEach(async () => {
  server = await startServer();
  folder = await mkdtemp(join(tmpdir(), "nf-download-"));
  file = join(folder, "deep", "data.bin");
  options = { file, sha256, onProgress: server.onProgress };
});

afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const get = (path = "/data.bin", more: Partial<DownloadOptions> = {}): Promise<string> =>
  download(`${server.url}${path}`, { ...options, ...more });
/** As JavaScript may call it. */
const call = (...args: readonly unknown[]): Promise<string> => Reflect.apply(download, undefined, args);
const filesThere = (): Promise<string[]> => readdir(join(folder, "deep"));
const expectWhole = async (): Promise<void> => {
  // toEqual would take half a second for this many elements.
  expect(Buffer.compare(await readFile(file), body)).toBe(0);
  expect(await filesThere()).toEqual(["data.bin"]);
};
const ranges = (): (string | undefined)[] => server.seen.map(({ range }) => range);
const offline: typeof globalThis.fetch = () => Promise.reject(new Error("the network was used"));

describe("download", () => {
  it("fetches, reports progress, and leaves one file", async () => {
    server.on("/data.bin", whole(body));
    const progress: DownloadProgress[] = [];
    expect(await get("/data.bin", { onProgress: (one) => progress.push(one) })).toBe(file);
    await expectWhole();
    expect(progress[0]).toEqual({ file, url: `${server.url}/data.bin`, received: 0, total: body.length });
    expect(progress.at(-1)?.received).toBe(body.length);
    const received = progress.map((one) => one.received);
    expect(received).toEqual(received.toSorted((a, b) => a - b));
  });

  it("works offline once the file is there", async () => {
    server.on("/data.bin", whole(body));
    await get();
    await get("/data.bin", { fetch: offline });
    expect(server.seen).toHaveLength(1);
    await expectWhole();
  });

  it("replaces a file with another checksum once there is a right one, and not before", async () => {
    server.on("/data.bin", whole(body));
    await get();
    await writeFile(file, body.with(1000, 77));
    await get();
    await expectWhole();
    await writeFile(file, body.subarray(0, 5));
    await expect(get("/data.bin", { fetch: offline })).rejects.toMatchObject({ code: "NF_DOWNLOAD" });
    expect(await filesThere()).toEqual(["data.bin"]);
    expect(await readFile(file)).toEqual(Buffer.from(body.subarray(0, 5)));
    const mistyped = sha256.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    await expect(get("/data.bin", { sha256: mistyped })).rejects.toThrow(/not the right one/);
    expect(await readFile(file)).toEqual(Buffer.from(body.subarray(0, 5)));
    expect(await filesThere()).toEqual(["data.bin"]);
  });

  it("goes on where a connection was cut", async () => {
    server.on("/data.bin", (request, response, visit) => {
      (visit < 3 ? cutAfter(server, body, 100_000) : whole(body))(request, response, visit);
    });
    await get();
    await expectWhole();
    expect(ranges()).toEqual([undefined, "bytes=100000-", "bytes=200000-"]);
  });

  it("sees a truncated body that claims no length, when it knows the size", async () => {
    server.on("/data.bin", (request, response, visit) => {
      if (visit > 1) whole(body)(request, response, visit);
      else response.writeHead(200, { connection: "close" }).end(body.subarray(0, 50_000));
    });
    await get("/data.bin", { bytes: body.length });
    await expectWhole();
    expect(ranges()).toEqual([undefined, "bytes=50000-"]);
  });

  it("starts over at a server without ranges", async () => {
    server.on("/data.bin", (request, response, visit) => {
      if (visit === 1) cutAfter(server, body, 120_000)(request, response, visit);
      else response.writeHead(200, { "content-length": body.length }).end(body);
    });
    await get();
    await expectWhole();
    expect(server.seen).toHaveLength(2);
  });

  it("does not append an answer of another range", async () => {
    server.on("/data.bin", (request, response, visit) => {
      if (visit === 1) cutAfter(server, body, 120_000)(request, response, visit);
      else if (visit === 2)
        response.writeHead(206, { "content-range": "bytes 7-99/300000" }).end(body.subarray(7, 100));
      else whole(body)(request, response, visit);
    });
    await get();
    await expectWhole();
    expect(ranges()).toEqual([undefined, "bytes=120000-", undefined]);
  });

  it("takes the next mirror after 404, wrong bytes, and a server that only fails", async () => {
    server.on("/wrong.bin", whole(body.with(3, 1)));
    server.on("/failing.bin", (_, response) => response.writeHead(503).end());
    server.on("/good.bin", whole(body));
    await download(
      ["/missing.bin", "/wrong.bin", "/failing.bin", "/good.bin"].map((path) => `${server.url}${path}`),
      options,
    );
    await expectWhole();
    const visits = server.seen.map(({ path }) => path);
    expect(visits).toEqual([
      "/missing.bin",
      "/wrong.bin",
      "/failing.bin",
      "/failing.bin",
      "/failing.bin",
      "/good.bin",
    ]);
    expect(ranges()).toEqual(visits.map(() => undefined));
  });

  it("names every address and what was wrong with it", async () => {
    server.on("/wrong.bin", whole(Uint8Array.of(1)));
    const error = await download([`${server.url}/missing.bin`, `${server.url}/wrong.bin`], options).catch(
      String,
    );
    expect(error).toContain("/missing.bin: HTTP 404");
    expect(error).toContain("/wrong.bin: the file is not the right one");
    expect(error).toContain(sha256);
    expect(await filesThere()).toEqual([]);
  });

  it("breaks off an answer that is longer than the file", async () => {
    let open = true;
    server.on("/data.bin", (_, response) => {
      response.on("close", () => {
        open = false;
      });
      const pour = (): void => {
        while (open && response.write(body));
        if (open) response.once("drain", pour);
      };
      response.writeHead(200);
      pour();
    });
    await expect(get("/data.bin", { bytes: 1000 })).rejects.toThrow(/longer than the 1000 bytes/);
    await expect.poll(() => open).toBe(false);
  });

  it("resumes what an aborted download left", async () => {
    const controller = new AbortController();
    server.on("/data.bin", (request, response, visit) => {
      if (visit > 1) whole(body)(request, response, visit);
      else response.writeHead(200, { "content-length": body.length }).write(body.subarray(0, 80_000));
    });
    const stopped = get("/data.bin", {
      signal: controller.signal,
      onProgress: ({ received }) => received === 80_000 && controller.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
    const [part] = await filesThere();
    expect(part).toMatch(/^data\.bin\..*\.part$/);
    await get();
    await expectWhole();
    expect(ranges()).toEqual([undefined, "bytes=80000-"]);
  });

  it("resumes what a dead process left, and not what a living one writes", async () => {
    server.on("/data.bin", whole(body));
    await get();
    await rm(file);
    await writeFile(`${file}.999999999.0.part`, body.subarray(0, 200_000));
    await writeFile(`${file}.${process.ppid}.0.part`, body.subarray(0, 250_000));
    await get();
    expect(ranges()).toEqual([undefined, "bytes=200000-"]);
    expect(await filesThere()).toEqual(["data.bin", `data.bin.${process.ppid}.0.part`]);
  });

  it("uses a partial file that is whole without asking anybody", async () => {
    server.on("/data.bin", whole(body));
    await get();
    await rm(file);
    await writeFile(`${file}.999999999.0.part`, body);
    await get("/data.bin", { fetch: offline });
    await expectWhole();
  });

  it("starts over when the bytes left by an earlier run are wrong, or too many", async () => {
    server.on("/data.bin", whole(body));
    await get();
    for (const left of [
      body.subarray(0, 100_000).with(5, 1),
      new Uint8Array(body.length),
      new Uint8Array(400_000),
    ]) {
      await rm(file);
      await writeFile(`${file}.999999999.0.part`, left);
      await get();
      await expectWhole();
    }
  });

  it("gives an address up whose file is too short, whether it says so or not", async () => {
    server.on("/short.bin", whole(body.subarray(0, 500)));
    await expect(get("/short.bin", { bytes: 1000 })).rejects.toThrow(/has 500 bytes, expected 1000/);
    expect(server.seen).toHaveLength(1);
    server.on("/silent.bin", (request, response) => {
      // No length; asked for what is missing, it has nothing.
      if (request.headers.range === undefined) response.writeHead(200).end(body.subarray(0, 500));
      else response.writeHead(416).end();
    });
    await expect(get("/silent.bin", { bytes: 1000 })).rejects.toMatchObject({ code: "NF_DOWNLOAD" });
    expect(server.seen.length).toBeLessThan(8);
  });

  it("lets several downloads of one file run at a time", async () => {
    server.on("/data.bin", whole(body));
    await Promise.all([get(), get(), get()]);
    await expectWhole();
  });

  it("gives a silent connection up", async () => {
    server.on("/data.bin", (request, response, visit) => {
      if (visit > 1) whole(body)(request, response, visit);
      else response.writeHead(200, { "content-length": body.length }).write(body.subarray(0, 1000));
    });
    await get("/data.bin", { timeout: 200 });
    await expectWhole();
    expect(ranges()).toEqual([undefined, "bytes=1000-"]);
  });

  it("asks for the bytes of the file, not for a compressed transfer", async () => {
    let encoding: string | undefined;
    server.on("/data.bin", (request, response, visit) => {
      encoding = String(request.headers["accept-encoding"]);
      whole(body)(request, response, visit);
    });
    await get();
    expect(encoding).toBe("identity");
  });

  it("says what is wrong with the disk", async () => {
    server.on("/data.bin", whole(body));
    await writeFile(join(folder, "deep"), "a file where a folder should be");
    await expect(get()).rejects.toMatchObject({
      code: "NF_DOWNLOAD",
      message: expect.stringMatching(/could not be written: (EEXIST|ENOTDIR)/),
    });
  });

  it.skipIf(process.platform !== "linux")("gives up on a folder that cannot be made", async () => {
    await expect(get("/data.bin", { file: "/proc/nf-nothing/deep/data.bin" })).rejects.toMatchObject({
      code: "NF_DOWNLOAD",
    });
  });

  it("refuses options and addresses it cannot use", async () => {
    const bad = (more: object): Promise<string> =>
      download(`${server.url}/data.bin`, { ...options, ...more });
    const wrong = [
      { sha256: "abc" },
      { sha256: undefined },
      { checksum: "" },
      { file: undefined },
      { file: 3 },
      { file: "" },
      { bytes: -1 },
      { timeout: Number.NaN },
    ];
    for (const more of wrong) {
      await expect(bad(more)).rejects.toMatchObject({ code: "NF_OPTION" });
    }
    for (const urls of [[], "data.bin", "file:///etc/hosts", 3, undefined, [3]]) {
      await expect(call(urls, options)).rejects.toMatchObject({ code: "NF_OPTION" });
    }
    for (const nothing of [undefined, null, 3]) {
      await expect(call(`${server.url}/data.bin`, nothing)).rejects.toMatchObject({ code: "NF_OPTION" });
    }
    expect(server.seen).toEqual([]);
  });
});
