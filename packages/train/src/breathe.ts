/** Longest time in milliseconds for which timers and signals are kept waiting. */
const BREATH = 25;

/** Lets timers and signals in every now and then: a loop over promises that are ready would never do so. */
export function breather(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < BREATH) return;
    await new Promise<void>((resolve) => {
      if (typeof globalThis.setImmediate === "function") setImmediate(resolve);
      else setTimeout(resolve, 0);
    });
    last = performance.now();
  };
}

/** Launchers such as `npx` pass on the Ctrl-C that the terminal has already delivered: one press, two signals. */
const ONE_PRESS = 300;

/**
 * Calls `stop` at Ctrl-C. A second one does what it would have done otherwise. Nothing where there is no process.
 *
 * @returns what takes the handler away
 */
export function onInterrupt(stop: () => void): () => void {
  const host = globalThis.process;
  if (typeof host?.on !== "function" || typeof host.kill !== "function") return () => {};
  let first: number | undefined;
  const remove = (): void => void host.off("SIGINT", handler);
  const handler = (): void => {
    if (first === undefined) {
      first = performance.now();
      stop();
    } else if (performance.now() - first > ONE_PRESS) {
      remove();
      host.kill(host.pid, "SIGINT");
    }
  };
  host.on("SIGINT", handler);
  return remove;
}
