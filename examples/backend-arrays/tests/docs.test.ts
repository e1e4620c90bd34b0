import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const here = dirname(fileURLToPath(import.meta.url));
const guide = join(here, "../../../docs/writing-a-backend.md");

/** Code without indentation and blank lines, so that a method can be shown without its class. */
const plain = (code: string): string =>
  code
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join("\n");

it("the guide shows this code as it is", () => {
  const files = ["../src", "../tests"].flatMap((folder) =>
    readdirSync(join(here, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => plain(readFileSync(join(here, folder, name), "utf8"))),
  );
  // Blocks marked `ts` are programs of their own, which scripts/snippets.mjs runs; excerpts are marked `typescript`.
  const excerpts = [...readFileSync(guide, "utf8").matchAll(/^```typescript\n([\s\S]*?)^```/gm)].map(
    ([, code]) => plain(code),
  );
  expect(excerpts.length).toBeGreaterThan(5);
  for (const excerpt of excerpts) {
    if (!files.some((file) => file.includes(excerpt))) expect.fail(`no file holds this excerpt:\n${excerpt}`);
  }
});
