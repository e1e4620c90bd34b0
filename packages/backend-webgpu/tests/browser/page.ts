import { join } from "node:path";
import type { Browser } from "playwright-core";
import { build } from "vite";
import { makeProject } from "../../../backend-wasm/tests/browser/project.ts";
import { serve } from "../../../backend-wasm/tests/browser/server.ts";

/** A page that was built by Vite and is open. */
export interface OpenPage {
  /** Calls what the page offers under `run`, with values that JSON can hold. */
  call<T>(name: string, ...values: unknown[]): Promise<T>;
  close(): Promise<void>;
}

/**
 * Builds and opens one of the pages beside this file, as a user of the packages would have it.
 *
 * @param packages folders of those that it needs
 */
export async function openPage(browser: Browser, pages: URL, packages: readonly string[]): Promise<OpenPage> {
  const project = makeProject(pages, packages);
  await build({
    root: project.folder,
    configFile: false,
    logLevel: "warn",
    build: { chunkSizeWarningLimit: 10_000, target: "es2022" },
  });
  const served = await serve(join(project.folder, "dist"));
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(served.url);
  await page.waitForFunction("globalThis.run !== undefined").catch((cause: unknown) => {
    throw new Error(`The page did not load: ${complaints.join(" ")}`, { cause });
  });
  return {
    call: (name, ...values) => page.evaluate(`run.${name}(...${JSON.stringify(values)})`),
    async close() {
      await page.close();
      await served.close();
      project.remove();
    },
  };
}
