// `npm run build`, `npm run publint`: turbo, which looks for pnpm on the PATH, where the pin need not be installed.
import { cargoEnv } from "./lib/cargo.mjs";
import { run } from "./lib/process.mjs";
import { pnpmVersion } from "./lib/workspace.mjs";

const pnpm = ["--yes", `pnpm@${pnpmVersion()}`];
const { code } = await run("npx", [...pnpm, "exec", "turbo", ...process.argv.slice(2)], {
  echo: process.stdout,
  env: cargoEnv(),
});
process.exitCode = code;
