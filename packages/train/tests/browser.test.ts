import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { expect, it, onTestFinished } from "vitest";

it("the main entry bundles without anything of Node, and trains there", async () => {
  const folder = mkdtempSync(join(tmpdir(), "nf-train-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const source = join(dirname(fileURLToPath(import.meta.url)), "..", "src", "index.ts");
  writeFileSync(
    join(folder, "main.ts"),
    `import { cpu } from "@nf/backend-cpu";
     import { mseLoss, tensor, use } from "@nf/core";
     import { Linear } from "@nf/nn";
     import { SGD } from "@nf/optim";
     import { fit } from ${JSON.stringify(source)};
     const print = console.log;
     Reflect.deleteProperty(globalThis, "process"); // as in a browser
     Reflect.deleteProperty(globalThis, "setImmediate");
     await use(cpu());
     const model = new Linear(1, 1);
     const { step, ending } = await fit(model, {
       data: [tensor([[1]])],
       forward: (net, x) => net.forward(x),
       loss: (output, x) => mseLoss(output, x),
       optimizer: new SGD(model.parameters(), { lr: 0.1 }),
       epochs: 3,
     });
     print(JSON.stringify([step, ending]));`,
  );
  // An import of a Node module would be an error here.
  await build({
    entryPoints: [join(folder, "main.ts")],
    outfile: join(folder, "main.mjs"),
    bundle: true,
    format: "esm",
    platform: "browser",
    conditions: ["nf-source"],
    nodePaths: [
      join(dirname(source), "..", "node_modules"),
      join(dirname(source), "..", "..", "..", "node_modules"),
    ],
    logLevel: "silent",
  });
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "main.mjs")]);
  expect(JSON.parse(stdout)).toEqual([3, "done"]);
});
