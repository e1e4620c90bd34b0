import { SingleBar } from "cli-progress";
import { type OutputStream, say } from "../io.ts";

/** Shows how many of a number of things are done. */
export interface Counter {
  /** What is being done is named by `label`. */
  update(done: number, total: number, label: string): void;
  /** Puts the terminal back in order; no further calls. */
  stop(): void;
}

/** A bar where a person watches; where a file or another program does, a line for each new label. */
export function createCounter(stream: OutputStream, title: string): Counter {
  return stream.isTTY === true ? bar(stream, title) : lines(stream, title);
}

function bar(stream: OutputStream, title: string): Counter {
  let shown: SingleBar | undefined;
  return {
    update(done, total, label) {
      if (shown === undefined) {
        shown = new SingleBar({
          stream,
          format: `${title} {bar} {value}/{total}  {label}`,
          barsize: 24,
          barCompleteChar: "█",
          barIncompleteChar: "░",
          hideCursor: true,
          clearOnComplete: true,
          gracefulExit: false,
        });
        shown.start(total, done, { label });
      }
      shown.update(done, { label });
    },
    stop() {
      shown?.stop();
      shown = undefined;
    },
  };
}

function lines(stream: OutputStream, title: string): Counter {
  let last: string | undefined;
  return {
    update(done, total, label) {
      if (label === last) return;
      last = label;
      say(stream, `${title}: ${label} (${done} of ${total} checks done)`);
    },
    stop() {},
  };
}
