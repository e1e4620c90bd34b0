import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend } from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { FASTEST, importerFrom, openBackend, openBestBackend, packageOf } from "../src/backends.ts";
import type { ImportModule } from "../src/index.ts";
import { lastLine, nf } from "./io.ts";

const refuse = (): never => {
  throw new Error("this backend computes nothing");
};

/** A backend that starts and tells what it can, and computes nothing. */
function idleBackend(name: string, disposed: string[] = []): Backend {
  const all = ["f32", "i32", "u32", "bool"] as const;
  return {
    name,
    capabilities: {
      dtypes: {
        map: [...all, "f16"],
        reduce: all,
        argReduce: all,
        matmul: ["f32"],
        gather: all,
        scatter: all,
        scan: all,
        sort: all,
      },
      readSync: false,
      threads: 3,
      maxBufferBytes: 1024,
      maxBuffersPerCall: 8,
    },
    allocate: refuse,
    free: refuse,
    write: refuse,
    read: refuse,
    execute: refuse,
    supports: refuse,
    synchronize: async () => {},
    async dispose() {
      disposed.push(name);
    },
  };
}

/** A machine on which these modules are installed. */
function installed(modules: Readonly<Record<string, unknown>>): ImportModule {
  return async (name) => {
    const found = modules[name];
    if (found instanceof Error) throw found;
    return found;
  };
}

const cpu = { createBackend: async () => idleBackend("cpu") };
const wasm = { createBackend: async () => idleBackend("wasm") };
const native = { createBackend: () => Promise.reject(new Error("no binary for this machine")) };

describe("opening a backend", () => {
  it("takes short names and package names", async () => {
    expect(packageOf("webgpu")).toBe("@nf/backend-webgpu");
    expect(packageOf("@acme/tpu")).toBe("@acme/tpu");
    const own = installed({
      "@nf/backend-cpu": cpu,
      "@acme/tpu": { createBackend: () => idleBackend("tpu") },
    });
    expect((await openBackend("cpu", own)).name).toBe("cpu");
    expect((await openBackend("@nf/backend-cpu", own)).name).toBe("cpu");
    expect((await openBackend("@acme/tpu", own)).name).toBe("tpu");
  });

  it("says how to install what is missing", async () => {
    await expect(openBackend("wasm", installed({}))).rejects.toThrow(
      'The backend "wasm" is not installed: npm install @nf/backend-wasm',
    );
    const { code, stderr } = await nf(["train", "lenet", "--backend", "native"]);
    expect(code).toBe(1);
    expect(stderr).toBe('error: The backend "native" is not installed: npm install @nf/backend-native\n');
  });

  it("says why one does not start, does not load, or is none", async () => {
    const odd = installed({
      "@nf/backend-native": native,
      "@nf/backend-wasm": new Error("bad WebAssembly"),
      lodash: { chunk() {} },
      impostor: { createBackend: () => ({ name: "impostor" }) },
      endless: { createBackend: () => ({ ...idleBackend("endless"), dispose: undefined }) },
    });
    await expect(openBackend("native", odd)).rejects.toThrow(
      '"native" does not start here: no binary for this machine',
    );
    await expect(openBackend("wasm", odd)).rejects.toThrow(
      "@nf/backend-wasm cannot be loaded: bad WebAssembly",
    );
    await expect(openBackend("lodash", odd)).rejects.toThrow("does not export the function createBackend");
    await expect(openBackend("impostor", odd)).rejects.toThrow("createBackend() gave something else");
    await expect(openBackend("endless", odd)).rejects.toThrow("createBackend() gave something else");
  });
});

describe("the best backend", () => {
  const notes: string[] = [];
  afterEach(() => {
    notes.length = 0;
  });
  const best = (modules: Readonly<Record<string, unknown>>) =>
    openBestBackend(installed(modules), (note) => notes.push(note));

  it("is wasm, then native, then cpu", async () => {
    const working = { createBackend: async () => idleBackend("native") };
    expect(
      (await best({ "@nf/backend-cpu": cpu, "@nf/backend-wasm": wasm, "@nf/backend-native": working })).name,
    ).toBe("wasm");
    expect((await best({ "@nf/backend-cpu": cpu, "@nf/backend-native": working })).name).toBe("native");
    expect((await best({ "@nf/backend-cpu": cpu })).name).toBe("cpu");
    expect(notes).toEqual([]);
  });

  it("is native, then wasm, then cpu where texts are written", async () => {
    const working = { createBackend: async () => idleBackend("native") };
    const all = { "@nf/backend-cpu": cpu, "@nf/backend-wasm": wasm, "@nf/backend-native": working };
    const fastest = async (modules: Readonly<Record<string, unknown>>) =>
      (await openBestBackend(installed(modules), (note) => notes.push(note), FASTEST)).name;
    expect(await fastest(all)).toBe("native");
    expect(await fastest({ ...all, "@nf/backend-native": native })).toBe("wasm");
    expect(notes).toEqual(['The backend "native" does not start here: no binary for this machine']);
    const { stdout } = await nf(["backends"], { importModule: installed(all) });
    expect(stdout).toContain("Used unless --backend says otherwise: wasm; by generate and chat: native");
  });

  it("passes over one that does not work, and says so", async () => {
    expect((await best({ "@nf/backend-cpu": cpu, "@nf/backend-native": native })).name).toBe("cpu");
    expect(notes).toEqual(['The backend "native" does not start here: no binary for this machine']);
  });

  it("is never a GPU that was not asked for", async () => {
    const webgpu = { createBackend: async () => idleBackend("webgpu") };
    await expect(best({ "@nf/backend-webgpu": webgpu })).rejects.toThrow("npm install @nf/backend-cpu");
  });
});

describe("nf backends", () => {
  const importModule = installed({ "@nf/backend-cpu": cpu, "@nf/backend-native": native });

  it("lists what works, and why the rest does not", async () => {
    const { code, stdout, stderr } = await nf(["backends"], { importModule });
    expect(code).toBe(0);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^cpu +yes +3 +f32 i32 u32 bool f16$/m);
    expect(stdout).toMatch(/^native +no .*no binary for this machine$/m);
    expect(stdout).toMatch(/^webgpu +no .*npm install @nf\/backend-webgpu$/m);
    expect(stdout).toContain("Used unless --backend says otherwise: cpu");
  });

  it("gives the same as JSON", async () => {
    const { code, stdout } = await nf(["backends", "--json"], { importModule });
    expect(code).toBe(0);
    const { default: used, defaultForTexts, backends } = JSON.parse(lastLine(stdout));
    expect([used, defaultForTexts]).toEqual(["cpu", "cpu"]);
    expect(
      backends.map(({ name, available }: { name: string; available: boolean }) => [name, available]),
    ).toEqual([
      ["native", false],
      ["wasm", false],
      ["cpu", true],
      ["webgpu", false],
    ]);
    expect(backends[2]).toEqual({
      name: "cpu",
      package: "@nf/backend-cpu",
      available: true,
      threads: 3,
      dtypes: ["f32", "i32", "u32", "bool", "f16"],
    });
    expect(backends[1].reason).toContain("npm install @nf/backend-wasm");
  });

  it("shows what a backend says of its hardware", async () => {
    const createBackend = async () => ({ ...(await idleBackend("webgpu")), description: "a GPU (64 MiB)" });
    const own = installed({ "@nf/backend-webgpu": { createBackend } });
    const { stdout } = await nf(["backends"], { importModule: own });
    expect(stdout).toMatch(/^webgpu +yes [\s\S]*^webgpu runs on a GPU \(64 MiB\)$/m);
    const json = await nf(["backends", "--json"], { importModule: own });
    expect(JSON.parse(lastLine(json.stdout)).backends[3].description).toBe("a GPU (64 MiB)");
  });

  it("closes what it opened", async () => {
    const disposed: string[] = [];
    const own = installed({ "@nf/backend-cpu": { createBackend: () => idleBackend("cpu", disposed) } });
    await nf(["backends"], { importModule: own });
    expect(disposed).toEqual(["cpu"]);
  });

  it("says what to install when there is nothing", async () => {
    const { code, stdout } = await nf(["backends"]);
    expect(code).toBe(0);
    expect(stdout).toContain("None is available: npm install @nf/backend-cpu");
  });
});

describe("importing", () => {
  let project: string;
  afterEach(() => rm(project, { recursive: true, force: true }));

  it("finds packages of the project that nf is used in, and tells absent from broken", async () => {
    project = await mkdtemp(join(tmpdir(), "nf-cli-"));
    const write = async (name: string, source: string) => {
      const folder = join(project, "node_modules", name);
      await mkdir(folder, { recursive: true });
      await writeFile(
        join(folder, "package.json"),
        JSON.stringify({ name, type: "module", exports: "./index.js" }),
      );
      await writeFile(join(folder, "index.js"), source);
    };
    await write("nf-test-good", "export const createBackend = () => 1;");
    await write("nf-test-broken", "import 'nf-test-not-there';");
    await write("nf-test-unbuilt", "");
    await rm(join(project, "node_modules", "nf-test-unbuilt", "index.js"));
    const importModule = importerFrom(project);
    expect(await importModule("nf-test-good")).toHaveProperty("createBackend");
    expect(await importModule("nf-test-absent")).toBeUndefined();
    await expect(importModule("nf-test-broken")).rejects.toThrow("nf-test-not-there");
    await expect(openBackend("nf-test-unbuilt", importModule)).rejects.toThrow(
      /nf-test-unbuilt cannot be loaded: .*index\.js.* must be built before/s,
    );
    await expect(openBackend("nf-test-absent", importModule)).rejects.toThrow(
      /no backend "nf-test-absent"\..*the project in whose folder nf is run/,
    );
  });
});
