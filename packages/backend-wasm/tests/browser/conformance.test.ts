import { join } from "node:path";
import { formatScorecard, type Scorecard } from "@nf/conformance";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startChromium } from "./chromium.ts";
import type { Run } from "./pages/suite/score.ts";
import { makeProject, type Project } from "./project.ts";
import { ISOLATION, serve } from "./server.ts";

const NIGHTLY = process.env["NF_NIGHTLY"] === "1";
const PATIENCE = NIGHTLY ? 3_600_000 : 600_000;

const started = await startChromium();
if ("reason" in started) console.warn(`Skipped, because ${started.reason}`);
const browser = "browser" in started ? started.browser : undefined;
afterAll(async () => browser?.close());

const RUNS = [
  { place: "worker", isolated: true, threads: 2, examples: NIGHTLY ? 2000 : 5 },
  { place: "page", isolated: true, threads: 2, examples: NIGHTLY ? 500 : 1 },
  ...(NIGHTLY ? [{ place: "page", isolated: false, threads: 1, examples: 500 } as const] : []),
] as const;

describe.skipIf(browser === undefined)("the conformance suite in Chromium, level complete", () => {
  let project: Project;
  beforeAll(async () => {
    project = makeProject(new URL("./pages/suite", import.meta.url), [
      "core",
      "backend-wasm",
      "backend-cpu",
      "conformance",
    ]);
    await build({
      root: project.folder,
      configFile: false,
      logLevel: "warn",
      build: { chunkSizeWarningLimit: 10_000 },
    });
  }, PATIENCE);
  afterAll(() => project?.remove());

  it.for(RUNS)(
    "$place, isolated: $isolated, threads: $threads, examples: $examples",
    { timeout: PATIENCE },
    async ({ place, isolated, threads, examples }) => {
      const page = await browser?.newPage();
      const served = await serve(join(project.folder, "dist"), isolated ? ISOLATION : {});
      try {
        await page?.goto(served.url);
        const run: Run = { threads, examples };
        const card = (await page?.evaluate(`run.${place}(${JSON.stringify(run)})`)) as Scorecard;
        expect(card.failed, formatScorecard(card)).toBe(0);
        expect(card.skipped).toBe(0);
        expect(card).toMatchObject({ backend: "wasm", level: "complete", examples });
        // All of it ran: the number grows with operations and falls only where checks are lost.
        expect(card.passed).toBeGreaterThan(2000);
        const reasons = card.families.flatMap(({ family, notApplicables }) =>
          notApplicables.map(({ check, reason }) => `\n  not applicable: ${family}, ${check}: ${reason}`),
        );
        console.log(
          `Chromium ${browser?.version()}, ${place}, threads: ${threads}: ${card.passed} passed in ` +
            `${card.seconds.toFixed(1)} s${reasons.join("")}`,
        );
      } finally {
        await page?.close();
        await served.close();
      }
    },
  );
});
