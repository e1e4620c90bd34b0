import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type LaunchOptions } from "playwright-core";

const packageFolder = fileURLToPath(new URL("../../", import.meta.url));
const NPM_CHROMIUM = "@sparticuz/chromium";

/**
 * Chromium as it runs in continuous integration: as root, in a container, with a bounded wait, and with WebGPU on a
 * software adapter.
 */
const COMMON: LaunchOptions = {
  chromiumSandbox: false,
  timeout: 120_000,
  args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
};

/** A started browser, or why there cannot be one on this machine. */
export type Started = { readonly browser: Browser } | { readonly reason: string };

/**
 * Starts a Chromium: the one that came with the dependencies, or one that is installed.
 *
 * @throws Error where the one of the dependencies is made for this machine (Linux with glibc on x86-64) and does not
 * start, since a test that is skipped there would be skipped everywhere
 */
export async function startChromium(): Promise<Started> {
  const problems: string[] = [];
  for (const [name, options] of candidates()) {
    try {
      return { browser: await chromium.launch({ ...COMMON, ...options() }) };
    } catch (error) {
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const reason = `no Chromium starts on this machine.\n${problems.join("\n")}`;
  if (madeForThisMachine()) throw new Error(reason);
  return { reason };
}

/** Where a Chromium may be, best first, and how to start it. */
function candidates(): [string, () => LaunchOptions][] {
  return [
    [NPM_CHROMIUM, npmChromium],
    ["/usr/bin/chromium", () => ({ executablePath: "/usr/bin/chromium" })],
    ["Google Chrome", () => ({ channel: "chrome" })],
  ];
}

/** Whether the Chromium of the dependencies can run here: Linux with glibc on x86-64. */
function madeForThisMachine(): boolean {
  return process.platform === "linux" && process.arch === "x64" && existsSync("/lib64/ld-linux-x86-64.so.2");
}

/**
 * The folder of the Chromium that comes with the dependencies, unpacked once: also its software Vulkan driver.
 *
 * @throws Error where it is not made for this machine
 */
export function unpackedChromium(): string {
  if (!madeForThisMachine()) {
    throw new Error(
      `it is made for Linux with glibc on x86-64, this is ${process.platform} on ${process.arch}`,
    );
  }
  const manifest = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  const cache = join(packageFolder, "node_modules", ".cache");
  const folder = join(cache, `chromium-${manifest.devDependencies[NPM_CHROMIUM]}`);
  if (!existsSync(folder)) unpack(cache, folder);
  return folder;
}

/** How to start the Chromium of the dependencies with the libraries it brings. */
function npmChromium(): LaunchOptions {
  const folder = unpackedChromium();
  const libraries = [join(folder, "al2023", "lib"), process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":");
  const env = {
    HOME: folder,
    ...process.env,
    LD_LIBRARY_PATH: libraries,
    FONTCONFIG_PATH: join(folder, "fonts"),
  };
  return { executablePath: join(folder, "chromium"), env };
}

function unpack(cache: string, folder: string): void {
  mkdirSync(cache, { recursive: true });
  // Beside its place, so that what is there is complete, also when two test runs do this at once.
  const fresh = mkdtempSync(join(cache, "unpacking-"));
  try {
    execFileSync(
      process.execPath,
      ["--input-type=module", "--eval", `await (await import("${NPM_CHROMIUM}")).default.executablePath();`],
      {
        cwd: packageFolder,
        // It unpacks into the folder for temporary files, and its libraries only where it believes to be on the
        // platform that it was made for.
        env: { ...process.env, TMPDIR: fresh, AWS_LAMBDA_JS_RUNTIME: "nodejs20.x" },
        stdio: ["ignore", "ignore", "pipe"],
        timeout: 300_000,
      },
    );
    if (!existsSync(folder)) renameSync(fresh, folder);
  } catch (error) {
    // The other run may have been first.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
