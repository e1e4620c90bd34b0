import { inspect } from "@nf/nn";
import { UsageError } from "../../errors.ts";
import { count } from "../../format.ts";
import { MODELS } from "../../models.ts";
import type { TrainOptions } from "../../options.ts";
import { createRunFolder } from "../folder.ts";
import { hardwareOf, type Trainable } from "../run.ts";
import { loadDigits, type Splits } from "./data.ts";
import { picturesOf } from "./pictures.ts";
import { detailsOf, nothingDone, pictureText, resultOf, summary } from "./report.ts";
import { createSession, train } from "./session.ts";

/**
 * LeNet-5 on handwritten digits.
 *
 * @throws UsageError for options that contradict each other
 */
export function digitsRun(options: TrainOptions, version: string): Trainable {
  if (options.download && options.data !== "mnist") {
    throw new UsageError("--download goes with --data mnist; the embedded digits are there already.");
  }
  const started = new Date();
  return {
    backend: options.backend,
    json: options.json === true,
    nothingDone: (backend) => nothingDone(backend, options),
    async prepare(io, backend, note) {
      let data: Splits | undefined;
      try {
        data = await loadDigits(options.data, options.download ?? false, io.signal, note);
      } catch (error) {
        // A download that was stopped rejects.
        if (!io.signal.aborted) throw error;
      }
      if (data === undefined || io.signal.aborted) return undefined;
      const session = createSession(options, backend, data);
      const folder = await createRunFolder(io.cwd, options.out, "lenet");
      const { model, record, steps, images } = session;
      const { title, input } = MODELS.lenet;
      return {
        folder,
        introduction: [
          inspect(model, input),
          `${title} on ${backend.name} (${hardwareOf(backend)}): ${count(images.length)} digits to train, ` +
            `${count(data.test.length)} to test; ${count(steps)} steps`,
        ],
        steps,
        stepsDone: () => record.steps.length,
        train: (progress, signal) => train(session, folder, progress, signal),
        pictures: () => picturesOf(session, pictureText(session, title)),
        result: (complete) => resultOf(session, complete),
        details: (result) => detailsOf(result, session, folder, version, started),
        summary: () => summary(session, folder),
      };
    },
  };
}
