import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { expect, it } from "vitest";
import { llama2cCheckpoint, temporaryFolder } from "./support/files.ts";

it("the main entry bundles without anything of Node, and opens bytes and Blobs there", async () => {
  const folder = temporaryFolder();
  // An import of a Node module would be an error here.
  await build({
    entryPoints: [join(dirname(fileURLToPath(import.meta.url)), "..", "src", "index.ts")],
    outfile: join(folder, "io.mjs"),
    bundle: true,
    format: "esm",
    platform: "browser",
    conditions: ["nf-source"],
    logLevel: "silent",
  });
  await writeFile(join(folder, "model.bin"), llama2cCheckpoint([8, 3, 2, 2, 1, 5, 6]));
  await writeFile(
    join(folder, "main.mjs"),
    `const { readFile } = await import("node:fs/promises");
     const bytes = await readFile(process.argv[2]);
     delete globalThis.process; // as in a browser
     const { openWeights } = await import("./io.mjs");
     const one = await openWeights(bytes);
     const other = await openWeights(new Blob([bytes]));
     const read = (await other.read("model.norm.weight")).length;
     const code = await openWeights("model.bin").catch((error) => error.code);
     console.log(JSON.stringify([one.tensors.size, other.tensors.size, read, code]));`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [
    join(folder, "main.mjs"),
    join(folder, "model.bin"),
  ]);
  expect(JSON.parse(stdout)).toEqual([20, 20, 32, "NF_UNSUPPORTED"]);
});
