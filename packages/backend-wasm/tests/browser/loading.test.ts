import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { build, createServer, transformWithOxc } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startChromium } from "./chromium.ts";
import type { Loss } from "./pages/app/lost.ts";
import type { Report } from "./pages/app/work.ts";
import { makeProject, type Project } from "./project.ts";
import { ISOLATION, serve } from "./server.ts";

const PATIENCE = 180_000;
const PATIENT = { timeout: PATIENCE };

const started = await startChromium();
if ("reason" in started) console.warn(`Skipped, because ${started.reason}`);
const browser = "browser" in started ? started.browser : undefined;
afterAll(async () => browser?.close());

/** What the first page computed: every other must compute the same bits. */
let expected: Report | undefined;

interface Visit {
  readonly page: Page;
  /** Warnings and errors that the console got, the page's and its workers'. */
  readonly complaints: readonly string[];
}

async function visit<T>(url: string, what: (visit: Visit) => Promise<T>): Promise<T> {
  const page = await (browser as Browser).newPage();
  page.setDefaultTimeout(PATIENCE / 2);
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["warning", "error"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  try {
    await page.goto(url);
    return await what({ page, complaints });
  } finally {
    await page.close();
  }
}

/** Calls what the page offers, as soon as it does. */
async function call<T>({ page, complaints }: Visit, what: string): Promise<T> {
  await page.waitForFunction("globalThis.run !== undefined").catch((cause: unknown) => {
    throw new Error(`The page did not load: ${complaints.join(" ")}`, { cause });
  });
  return (await page.evaluate(`run.${what}()`)) as T;
}

/** Computes in a page that was loaded, and looks at everything that came out. */
async function checkWork(visited: Visit, place: Report["place"], isolated: boolean): Promise<void> {
  const report = await call<Report>(visited, place);
  const { cores } = report;
  expect(report).toMatchObject({ place, isolated, product: [7, 10, 15, 22] });
  expect(report.threads).toBe(isolated ? Math.min(cores, 8) : 1);
  expect(visited.complaints).toEqual(
    isolated || cores === 1
      ? []
      : [expect.stringMatching(/^wasm: one thread, because the page is not cross-origin isolated \(/)],
  );
  expect(report.losses.at(-1)).toBeLessThan(0.8 * (report.losses[0] as number));
  expected ??= report;
  expect(report.losses).toEqual(expected.losses);
  expect(report.checksum).toBe(expected.checksum);
}

const SITUATIONS = [
  { title: "isolated, on the page", isolated: true, place: "page" },
  { title: "isolated, in a worker", isolated: true, place: "worker" },
  { title: "not isolated, on the page", isolated: false, place: "page" },
  { title: "not isolated, in a worker", isolated: false, place: "worker" },
] as const;

describe.skipIf(browser === undefined)("in Chromium", () => {
  let project: Project;

  beforeAll(async () => {
    project = makeProject(new URL("./pages/app", import.meta.url), [
      "core",
      "backend-wasm",
      "models",
      "nn",
      "optim",
    ]);
    const { code } = await transformWithOxc(readFileSync(join(project.folder, "work.ts"), "utf8"), "work.ts");
    writeFileSync(join(project.folder, "work.js"), code);
    writeFileSync(
      join(project.folder, "plain.html"),
      `<!doctype html><link rel="icon" href="data:," />
<script type="importmap">${JSON.stringify({ imports: project.imports })}</script>
<script type="module">
import { work } from "./work.js";
globalThis.run = { page: work };
if (location.search === "?now") document.title = JSON.stringify(await work());
</script>`,
    );
    await build({ root: project.folder, configFile: false, logLevel: "warn" });
  }, PATIENCE);
  afterAll(() => project?.remove());

  describe("as plain ES modules", () => {
    /** The page with the import map. */
    const onPlainPage = async <T>(
      headers: Record<string, string>,
      what: (visit: Visit) => Promise<T>,
      query = "",
    ): Promise<T> => {
      const served = await serve(project.folder, headers);
      try {
        return await visit(`${served.url}plain.html${query}`, what);
      } finally {
        await served.close();
      }
    };

    it.for([true, false])("isolated: %s", PATIENT, async (isolated) => {
      await onPlainPage(isolated ? ISOLATION : {}, (visited) => checkWork(visited, "page", isolated));
    });

    it("goes on with one thread where a policy forbids workers, and says why", PATIENT, async () => {
      const headers = { ...ISOLATION, "Content-Security-Policy": "worker-src 'none'" };
      await onPlainPage(headers, async (visited) => {
        const report = await call<Report>(visited, "page");
        expect(report).toMatchObject({ isolated: true, threads: 1 });
        const line = /^wasm: one thread, because a worker could not start: .*worker-src blob:/;
        expect(visited.complaints.filter((text) => text.startsWith("wasm:"))).toEqual(
          report.cores === 1 ? [] : [expect.stringMatching(line)],
        );
      });
    });

    it("says so where a policy forbids WebAssembly", PATIENT, async () => {
      // Without eval the page cannot be asked to: it computes at once, and what goes wrong is on the console.
      const headers = { "Content-Security-Policy": "script-src 'self' 'unsafe-inline'" };
      await onPlainPage(
        headers,
        ({ complaints }) =>
          expect
            .poll(() => complaints.join("\n"), { timeout: PATIENCE / 2 })
            .toMatch(/wasm: the module could not be compiled: .*Content Security Policy/),
        "?now",
      );
    });

    it("has threads under a policy that allows no more than it must", PATIENT, async () => {
      const policy = [
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'",
        "connect-src 'self'",
        "worker-src blob:",
        "img-src data:",
      ].join("; ");
      await onPlainPage(
        { ...ISOLATION, "Content-Security-Policy": policy },
        async ({ page, complaints }) => {
          await expect.poll(() => page.title(), { timeout: PATIENCE / 2 }).toMatch(/"losses":/);
          expect(complaints).toEqual([]);
          const report = JSON.parse(await page.title()) as Report;
          expect(report.threads).toBe(Math.min(report.cores, 8));
        },
        "?now",
      );
    });

    it("says so where a server sends a page instead of a missing file", PATIENT, async () => {
      await onPlainPage({}, async (visited) => {
        await visited.page.route("**/*.wasm", (route) =>
          route.fulfill({ contentType: "text/html", body: "<!doctype html>" }),
        );
        await expect(call(visited, "page")).rejects.toThrow(
          /wasm: could not load .*simd\.wasm: the server sent a web page instead/,
        );
      });
    });
  });

  describe("built by Vite", () => {
    it.for(SITUATIONS)("$title", PATIENT, async ({ isolated, place }) => {
      const served = await serve(join(project.folder, "dist"), isolated ? ISOLATION : {});
      try {
        await visit(served.url, (visited) => checkWork(visited, place, isolated));
      } finally {
        await served.close();
      }
    });
  });

  it("computes on when a worker was ended, which can only be between calls here", PATIENT, async () => {
    const served = await serve(join(project.folder, "dist"), ISOLATION);
    try {
      await visit(served.url, async (visited) => {
        let workers = 0;
        visited.page.on("worker", () => workers++);
        const loss = await call<Loss>(visited, "lose");
        expect(workers).toBe(1);
        expect(visited.page.workers()).toEqual([]);
        expect(loss.results).toHaveLength(1);
        expect(loss.calls).toBeGreaterThan(5);
        expect(loss.slowest).toBeLessThan(2000);
        await checkWork(visited, "page", true);
      });
    } finally {
      await served.close();
    }
  });

  describe("from Vite's development server", () => {
    it.for(SITUATIONS)("$title", PATIENT, async ({ isolated, place }) => {
      const server = await createServer({
        root: project.folder,
        configFile: false,
        logLevel: "warn",
        server: { host: "127.0.0.1", port: 0, ...(isolated ? { headers: ISOLATION } : {}) },
      });
      try {
        await server.listen();
        await visit(server.resolvedUrls?.local[0] as string, (visited) =>
          checkWork(visited, place, isolated),
        );
      } finally {
        await server.close();
      }
    });
  });
});
