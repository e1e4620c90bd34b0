// `nf` inside the repository: sets up what is out of date, then hands over to the built command.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "./lib/workspace.mjs";
import { setup } from "./setup.mjs";

try {
  await setup({ quiet: true });
} catch (error) {
  process.stderr.write(`setup  ${error.message}\n`);
  process.exit(1);
}

const command = join(root, "packages", "cli", "dist", "bin.js");
const child = spawn(process.execPath, [command, ...process.argv.slice(2)], { stdio: "inherit" });

// A terminal sends Ctrl-C to both processes: the command stops cleanly and this one waits for its exit code.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("close", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 1);
});
