import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { widenTable } from "./widen.ts";

it("the README's table of wider tolerances is the one that the suite runs with", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const section = readme.split("## Where it may be wider\n")[1]?.split("\n## ")[0] ?? "";
  expect(section.match(/^\|.*\|$/gm)?.join("\n")).toBe(widenTable());
});
