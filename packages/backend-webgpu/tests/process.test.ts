import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { adapterEnvironment, provideAdapter } from "./adapter.ts";

const missing = await provideAdapter("process on webgpu");
const dist = new URL("../dist/index.js", import.meta.url).href;
const built = existsSync(fileURLToPath(dist));
if (!built) console.warn("Skipped: webgpu in a process of its own. Build first: npm run build");

describe.skipIf(missing !== undefined || !built)("a process of its own", () => {
  const inNode = (
    script: string,
    environment = adapterEnvironment(),
  ): { status: number | null; stdout: string } =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8",
      env: environment,
      // Far beyond what it takes: one that does not end by itself is ended here, with no status.
      timeout: 25_000,
    });
  const start = `
    import { webgpu } from ${JSON.stringify(dist)};
    import { ones, use } from "@nf/core";
    const backend = await use(webgpu());
    console.log(...(await ones([3]).add(1).data()));`;

  for (const [what, end] of [
    ["after dispose()", "await backend.dispose();"],
    ["with its backend still open", ""],
    ["with work that nobody waits for", "ones([1000]).add(1); void ones([1000]).add(2).data();"],
  ] as const) {
    it(`ends by itself ${what}`, () => {
      expect(inNode(start + end)).toMatchObject({ status: 0, stdout: "2 2 2\n" });
    }, 30_000);
  }

  // Elsewhere the adapter is no Vulkan driver that could be hidden.
  it.runIf(process.platform === "linux")(
    "where there is no driver, says what to do",
    () => {
      const environment = { ...adapterEnvironment(), VK_DRIVER_FILES: "/nowhere/driver.json" };
      const { status, stdout } = inNode(
        `import { webgpu } from ${JSON.stringify(dist)};
       await webgpu().catch(({ code, message }) => console.log(code, message));`,
        environment,
      );
      expect(status).toBe(0);
      expect(stdout).toMatch(
        /^NF_UNSUPPORTED webgpu: there is no adapter: .*Install one, or use @nf\/backend-wasm/,
      );
    },
    30_000,
  );
});
