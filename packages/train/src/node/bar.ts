import { SingleBar } from "cli-progress";
import { describe, type Progress } from "./state.ts";
import { type OutputStream, say } from "./stream.ts";

/** Columns that the text beside the bar may take: the bar gets the rest of the terminal, within reason. */
const TEXT_COLUMNS = 78;
const BAR_COLUMNS = { least: 8, most: 40 };

function barSize(stream: OutputStream): number {
  const room = (stream.columns ?? 80) - TEXT_COLUMNS;
  return Math.max(BAR_COLUMNS.least, Math.min(BAR_COLUMNS.most, room));
}

/** Progress as one line that is drawn over and over, for terminals. Results of epochs stay above it. */
export function barProgress(stream: OutputStream): Progress {
  let bar: SingleBar | undefined;
  return {
    update(state) {
      const payload = describe(state);
      if (bar === undefined) {
        bar = new SingleBar({
          stream,
          format: "{place} {bar} {percentage} %  {figures}",
          barsize: barSize(stream),
          barCompleteChar: "█",
          barIncompleteChar: "░",
          hideCursor: true,
          clearOnComplete: true,
          forceRedraw: true,
          // Ctrl-C is the command's business: it finishes the step and writes what there is.
          gracefulExit: false,
        });
        bar.start(state.steps ?? 0, state.step, payload);
      } else {
        bar.update(state.step, payload);
      }
    },
    note(line) {
      // The bar remembers its place on the screen, which a new line would make wrong: it is begun anew below.
      this.stop();
      say(stream, line);
    },
    stop() {
      bar?.stop();
      bar = undefined;
    },
  };
}
