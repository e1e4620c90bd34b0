import { formatScorecard, type Scorecard } from "@nf/conformance";
import { afterAll, describe, expect, it } from "vitest";
import { startChromium } from "../../../backend-wasm/tests/browser/chromium.ts";
import { FAMILIES_IN_PAGE } from "../families.ts";
import { expectLearnt } from "../learnt.ts";
import { WIDEN } from "../widen.ts";
import { openPage } from "./page.ts";
import type { Learnt } from "./pages/app/learn.ts";
import type { Lost } from "./pages/app/lose.ts";

const NIGHTLY = process.env["NF_NIGHTLY"] === "1";
const PATIENT = { timeout: NIGHTLY ? 3_600_000 : 900_000 };

const started = await startChromium();
if ("reason" in started) console.warn(`Skipped, because ${started.reason}`);
const browser = "browser" in started ? started.browser : undefined;
afterAll(async () => browser?.close());

describe.skipIf(browser === undefined)("WebGPU in Chromium", () => {
  it("learns 2,000 digits in a page, and predicts the same on cpu", PATIENT, async () => {
    if (browser === undefined) return;
    const packages = ["core", "backend-webgpu", "backend-cpu", "data", "models", "nn", "optim"];
    const page = await openPage(browser, new URL("./pages/app", import.meta.url), packages);
    try {
      const learnt = await page.call<Learnt>("learn", 2000, 2);
      expectLearnt(learnt);
      const lost = await page.call<Lost>("lose");
      expect(lost.error).toContain("lost");
      expect(lost.milliseconds).toBeLessThan(1000);
      expect(lost.sum).toBe(10);
    } finally {
      await page.close();
    }
  });

  it("passes the conformance suite, level training", PATIENT, async () => {
    if (browser === undefined) return;
    const packages = ["core", "backend-webgpu", "backend-cpu", "conformance"];
    const page = await openPage(browser, new URL("./pages/suite", import.meta.url), packages);
    try {
      const card = await page.call<Scorecard>("score", {
        ...FAMILIES_IN_PAGE,
        examples: Number(process.env["NF_EXAMPLES"] ?? (NIGHTLY ? 50 : 1)),
        widen: WIDEN,
      });
      expect(card.failed, formatScorecard(card)).toBe(0);
      expect(card.skipped).toBe(0);
      expect(card.level).toBe("training");
      expect(card.passed).toBeGreaterThan(NIGHTLY ? 2000 : 150);
      console.log(`Chromium ${browser.version()}: ${card.passed} passed in ${card.seconds.toFixed(1)} s`);
    } finally {
      await page.close();
    }
  });
});
