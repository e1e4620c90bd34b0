import process from "node:process";
import { type ExampleSpec, runExample } from "./example.ts";

/** Launchers such as `npx` pass on the Ctrl-C that the terminal has already delivered: one press, two signals. */
const ONE_PRESS = 300;

/**
 * Runs an example as this process: its arguments, its streams, its exit code. The first Ctrl-C asks it to stop, which ends
 * the training after the step in hand; a second one ends the process.
 */
export async function main<Own extends object>(spec: ExampleSpec<Own>): Promise<void> {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (name: "SIGINT" | "SIGTERM"): void => {
    if (!controller.signal.aborted) {
      first = performance.now();
      controller.abort(name);
    } else if (performance.now() - first > ONE_PRESS) {
      // Shows the cursor again, which a progress bar hides.
      if (process.stderr.isTTY) process.stderr.write("\x1b[?25h\n");
      process.exit(name === "SIGTERM" ? 143 : 130);
    }
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const { stdout, stderr } = process;
  process.exitCode = await runExample(spec, process.argv.slice(2), {
    stdout,
    stderr,
    signal: controller.signal,
    cwd: process.cwd(),
  });
}
