import { describe, type Progress } from "./state.ts";
import { type OutputStream, say } from "./stream.ts";

/** A line at least for every tenth of the run … */
const EVERY_SHARE = 0.1;
/** … and at least this often, in milliseconds, while steps are done. */
const EVERY_MILLISECONDS = 10_000;

/**
 * Progress as plain lines, for logs.
 *
 * @param now clock in milliseconds
 */
export function lineProgress(stream: OutputStream, now: () => number = () => performance.now()): Progress {
  let lastShare = 0;
  let lastTime = now();
  return {
    update(state) {
      const share = state.steps === undefined ? 0 : state.step / state.steps;
      const time = now();
      const due = Math.floor(share / EVERY_SHARE + 1e-9) > Math.floor(lastShare / EVERY_SHARE + 1e-9);
      if (!due && time - lastTime < EVERY_MILLISECONDS) return;
      lastShare = share;
      lastTime = time;
      const { place, figures } = describe(state);
      const done =
        state.steps === undefined ? `step ${state.step}` : `${String(Math.floor(share * 100)).padStart(3)} %`;
      say(stream, `${place}  ${done}  ${figures}`);
    },
    note: (line) => say(stream, line),
    stop() {},
  };
}
