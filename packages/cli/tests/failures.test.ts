import { expect, it } from "vitest";

const script = new URL("../../../scripts/lib/failures.mjs", import.meta.url).href;
const { failuresOnly } = (await import(script)) as {
  failuresOnly(write: (text: string) => void): { write(chunk: string): void; end(): void };
};

it("what npm test shows in CI leaves out passed tests alone, wherever the pieces end", () => {
  const output = " ✓ one.test.ts (3 tests)\n × two.test.ts\n   ✓ inner\n\nError: no end of line";
  for (const size of [1, 7, output.length]) {
    let shown = "";
    const stream = failuresOnly((text) => {
      shown += text;
    });
    for (let start = 0; start < output.length; start += size) stream.write(output.slice(start, start + size));
    stream.end();
    expect(shown).toBe(" × two.test.ts\n\nError: no end of line\n");
  }
});
