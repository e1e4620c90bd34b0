import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { tensor, use } from "@nf/core";
import { download } from "@nf/data/node";
import { beforeAll, describe, expect, it } from "vitest";
import { type DownloadModelOptions, downloadModel, type HubProgress } from "../src/hub/index.ts";
import { encodeSafetensors, openWeights } from "../src/index.ts";
import { temporaryFolder } from "./support/files.ts";
import { withUnknown } from "./support/options.ts";
import { entry, startHub, type TestHub } from "./support/server.ts";

const MODEL = "owner/small-model";
let weights: Uint8Array;

beforeAll(async () => {
  await use(cpu());
  weights = await encodeSafetensors({ w: tensor(Array.from({ length: 2000 }, (_, i) => i)) });
});

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function setUp(): Promise<{ hub: TestHub; cacheFolder: string; options: DownloadModelOptions }> {
  const hub = await startHub(MODEL, {
    "config.json": text(`{"model_type":"llama"}`),
    "model.safetensors": weights,
    "consolidated.safetensors": weights,
    "README.md": text("read me"),
    "onnx/config.json": text("{}"),
  });
  const cacheFolder = temporaryFolder();
  return { hub, cacheFolder, options: { download, cacheFolder, hubUrl: hub.url } };
}

describe("downloadModel", () => {
  it("fetches what a model needs, and works without network from then on", async () => {
    const { hub, options } = await setUp();
    const progress: HubProgress[] = [];
    const folder = await downloadModel(MODEL, {
      ...options,
      accessToken: "hf_x",
      onProgress: (one) => progress.push(one),
    });
    expect(readdirSync(folder).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
    const file = await openWeights(folder);
    expect([file.tensors.get("w")?.shape, file.config?.["model_type"]]).toEqual([[2000], "llama"]);
    await file.close();
    const total = weights.length + 22;
    expect(progress.at(-1)).toEqual({ path: "model.safetensors", received: total, total });
    expect(progress.every(({ received }, i) => i === 0 || received >= progress[i - 1].received)).toBe(true);
    expect(new Set(hub.tokens)).toEqual(new Set(["Bearer hf_x"]));

    const asked = hub.seen.length;
    expect(await downloadModel(MODEL, options)).toBe(folder);
    // The hub is asked what main is; files are there already.
    expect(hub.seen.slice(asked).every((path) => path.startsWith("/api/"))).toBe(true);
    expect(await downloadModel(MODEL, { ...options, revision: hub.commit })).toBe(folder);
    hub.close();
    expect(await downloadModel(MODEL, { ...options, offline: true })).toBe(folder);
    expect(await downloadModel(MODEL, { ...options, revision: hub.commit })).toBe(folder);
    await expect(downloadModel(MODEL, options)).rejects.toMatchObject({
      code: "NF_DOWNLOAD",
      name: "HubError",
    });
  });

  it("resumes a large file that was cut off", async () => {
    const { hub, options } = await setUp();
    const path = `/${MODEL}/resolve/${hub.commit}/model.safetensors`;
    hub.handlers.set(path, (_, response) => {
      hub.handlers.delete(path);
      response.writeHead(200, { "content-length": weights.length });
      response.write(weights.subarray(0, 5000), () => setTimeout(() => response.destroy(), 20));
    });
    const folder = await downloadModel(MODEL, options);
    expect(hub.seen).toContain(`${path} bytes=5000-`);
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  });

  it("never uses a file with another checksum, small or large, nor one that was damaged later", async () => {
    const { options } = await setUp();
    const folder = await downloadModel(MODEL, options);
    const damaged = Uint8Array.from(weights);
    damaged[damaged.length - 1] ^= 1;
    await writeFile(join(folder, "model.safetensors"), damaged);
    await expect(downloadModel(MODEL, { ...options, offline: true })).rejects.toThrow(
      /not in the cache.*model\.safetensors/,
    );
    expect(await downloadModel(MODEL, { ...options, offline: true, verify: false })).toBe(folder);
    await downloadModel(MODEL, options);
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);

    for (const name of ["config.json", "model.safetensors"]) {
      const other = await setUp();
      const right = other.hub.files.get(name) as Uint8Array;
      other.hub.listed.set(name, entry(name, right));
      other.hub.files.set(
        name,
        right.map((byte) => byte ^ 1),
      );
      await expect(downloadModel(MODEL, other.options)).rejects.toMatchObject({ code: "NF_DOWNLOAD" });
      await expect(downloadModel(MODEL, { ...other.options, offline: true })).rejects.toMatchObject({
        code: "NF_DOWNLOAD",
      });
    }
  });

  it("refuses answers that are too long, too short or an error", async () => {
    for (const answer of [`{"model_type":"llama"}more`, `{"model`]) {
      const { hub, options } = await setUp();
      hub.handlers.set(`/${MODEL}/resolve/${hub.commit}/config.json`, (_, response) => {
        response.writeHead(200).end(answer);
      });
      await expect(downloadModel(MODEL, options)).rejects.toThrow(/longer than|ended after/);
    }
    const { hub, options } = await setUp();
    hub.handlers.set(`/api/models/${MODEL}/revision/main`, (_, response) => {
      response.writeHead(401, { "content-type": "application/json" }).end(`{"error":"gated"}`);
    });
    await expect(downloadModel(MODEL, options)).rejects.toThrow(/gated.*accessToken/s);
  });

  it.each([
    [
      "leads out of the folder",
      { type: "file", path: "../../model.safetensors", size: 1, oid: "0".repeat(40) },
    ],
    ["is absolute", { type: "file", path: "/tmp/model.safetensors", size: 1, oid: "0".repeat(40) }],
    ["has a backslash", { type: "file", path: "..\\model.safetensors", size: 1, oid: "0".repeat(40) }],
    ["has no checksum", { type: "file", path: "model.safetensors", size: 1 }],
    ["has a negative size", { type: "file", path: "model.safetensors", size: -1, oid: "0".repeat(40) }],
    ["is huge without SHA-256", { type: "file", path: "model.safetensors", size: 1e12, oid: "0".repeat(40) }],
  ])("refuses a listed file that %s", async (_, listed) => {
    const { hub, options } = await setUp();
    hub.listed.set("model.safetensors", listed);
    await expect(downloadModel(MODEL, { ...options, files: () => true })).rejects.toThrow(/no usable path/);
  });

  it("fetches the files that are asked for, and keeps those of earlier calls", async () => {
    const { options } = await setUp();
    const files = (path: string): boolean => path.startsWith("onnx/");
    const folder = await downloadModel(MODEL, { ...options, files });
    expect(readFileSync(join(folder, "onnx", "config.json"), "utf8")).toBe("{}");
    await downloadModel(MODEL, options);
    expect(await downloadModel(MODEL, { ...options, files, offline: true })).toBe(folder);
    await expect(downloadModel(MODEL, { ...options, files: () => false })).rejects.toThrow(
      /none of its files/,
    );
    const none = { ...options, files: (path: string) => path === "none", offline: true };
    await expect(downloadModel(MODEL, none)).rejects.toThrow(/none of its files/);
  });

  it("refuses names and options it does not know, and stops when told to", async () => {
    const { options } = await setUp();
    for (const name of ["../etc", "owner/..", "model", "a/b/c", "https://x/y"])
      await expect(downloadModel(name, options)).rejects.toMatchObject({ code: "NF_OPTION" });
    for (const revision of ["../main", "", "a//b"])
      await expect(downloadModel(MODEL, { ...options, revision })).rejects.toMatchObject({
        code: "NF_OPTION",
      });
    const unknown = { ...options, ...withUnknown({ token: "x" }) };
    await expect(downloadModel(MODEL, unknown)).rejects.toThrow(/unknown option "token"/);
    await expect(downloadModel(MODEL, { ...options, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
    await expect(downloadModel(MODEL, { ...options, offline: true })).rejects.toThrow(/never fetched whole/);
  });
});
