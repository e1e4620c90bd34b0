#!/usr/bin/env node
// The only module that touches the process. The rest is imported after Node's version is known to do, since an older
// one would fail on its syntax with a message that helps nobody.
import process from "node:process";

const OLDEST = [20, 19] as const;
/** Launchers such as `npx` pass on the Ctrl-C that the terminal has already delivered: one press, two signals. */
const ONE_PRESS = 300;

function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}

/** Aborts at the first signal; ends the process at the second. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (name: "SIGINT" | "SIGTERM") => {
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
  return controller.signal;
}

if (isTooOld(process.versions.node)) {
  process.stderr.write(
    `error: nf needs Node ${OLDEST.join(".")} or newer; this is ${process.versions.node}.\n`,
  );
  process.exitCode = 1;
} else {
  const signal = stopSignal();
  // Nobody reads progress and notes any more (`2>&1 >out | head -2`): the results are still wanted.
  process.stderr.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  // A reader that has seen enough (`nf backends | head -1`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  const { importerFrom } = await import("./backends.ts");
  const { main } = await import("./main.ts");
  // Opened when a command reads it, and closed after it: an open pipe keeps the process from ending.
  let stdin: typeof process.stdin | undefined;
  process.exitCode = await main({
    argv: process.argv.slice(2),
    get stdin() {
      stdin ??= process.stdin;
      return stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    cwd: process.cwd(),
    signal,
    importModule: importerFrom(process.cwd()),
  });
  stdin?.destroy();
}
