import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { unpackedChromium } from "../../backend-wasm/tests/browser/chromium.ts";
import { type WebgpuOptions, webgpu } from "../src/index.ts";

/** Keeps a library loaded: what follows finds it by its name. */
const RTLD_NODELETE = 0x1000;

/**
 * Gives Dawn an adapter in this process: that of the system where its driver is named (`VK_DRIVER_FILES`), else the
 * software one that comes with the tests' Chromium, else one that the system has. Where there is none, says so.
 *
 * @param what is skipped then
 * @returns why there is none on this machine, or undefined where there is one
 */
export async function provideAdapter(what: string): Promise<string | undefined> {
  if (process.env["VK_DRIVER_FILES"] !== undefined) return undefined;
  let folder: string;
  try {
    folder = unpackedChromium();
  } catch (error) {
    if (await systemHasOne()) return undefined;
    const reason = error instanceof Error ? error.message : String(error);
    console.warn(`Skipped: ${what}. The system has no adapter either. ${reason}`);
    return reason;
  }
  const driver = join(folder, "nanoflux-swiftshader.json");
  if (!existsSync(driver)) {
    const library = readdirSync(folder).find((name) => name.startsWith("libvk_swiftshader")) as string;
    const manifest = {
      file_format_version: "1.0.0",
      ICD: { library_path: join(folder, library), api_version: "1.3.0" },
    };
    // Beside its place, so that another test file never reads half of it.
    const fresh = `${driver}.${process.pid}`;
    writeFileSync(fresh, JSON.stringify(manifest));
    renameSync(fresh, driver);
  }
  process.env["VK_DRIVER_FILES"] = driver;
  try {
    // No addon of Node's, which it says; but it is loaded then, under the name that Dawn looks for.
    const { RTLD_LAZY } = constants.dlopen;
    process.dlopen({ exports: {} }, join(folder, "libvulkan.so.1"), RTLD_LAZY | RTLD_NODELETE);
  } catch (error) {
    if (!String(error).includes("did not self-register")) throw error;
  }
  return undefined;
}

/** Whether a backend starts on what the system has. */
async function systemHasOne(): Promise<boolean> {
  try {
    const backend = await webgpu();
    await backend.dispose();
    return true;
  } catch {
    return false;
  }
}

/** Options that tests make backends with: kernels for the class named by `NF_WEBGPU_CLASS`, where it is set. */
export const testOptions: WebgpuOptions =
  process.env["NF_WEBGPU_CLASS"] === undefined
    ? {}
    : { adapterClass: process.env["NF_WEBGPU_CLASS"] as NonNullable<WebgpuOptions["adapterClass"]> };

/** The environment in which a process that this one starts finds the same adapter. */
export function adapterEnvironment(): NodeJS.ProcessEnv {
  let folder: string;
  try {
    folder = unpackedChromium();
  } catch {
    // The system's own, found as in this process.
    return process.env;
  }
  const paths = [process.env["LD_LIBRARY_PATH"], folder].filter((path) => path !== undefined);
  return { ...process.env, LD_LIBRARY_PATH: paths.join(":") };
}
