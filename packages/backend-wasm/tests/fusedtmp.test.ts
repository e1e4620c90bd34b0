import { formatScorecard, runConformance } from "@nf/conformance";
import { it } from "vitest";
import { wasm } from "../src/index.ts";

it("runs", async () => {
  const families = process.env["FAM"]?.split(",");
  const t = Date.now();
  const card = await runConformance(() => wasm({ threads: 2 }), {
    level: (process.env["LEVEL"] ?? "complete") as "kernels",
    examples: Number(process.env["EX"] ?? 30),
    ...(families ? { families } : {}),
  });
  console.log(formatScorecard(card), Date.now() - t);
}, 900000);
