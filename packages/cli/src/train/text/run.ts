import { NANOGPT } from "@nf/models";
import { inspect } from "@nf/nn";
import { UsageError } from "../../errors.ts";
import { count } from "../../format.ts";
import type { Io } from "../../io.ts";
import { MODELS } from "../../models.ts";
import type { TextTrainOptions } from "../../options.ts";
import { createRunFolder, METRICS, openRunFolder, type RunFolder } from "../folder.ts";
import { hardwareOf, type Trainable, type TrainingRun } from "../run.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { loadText, type TextData } from "./data.ts";
import { picturesOf } from "./pictures.ts";
import { detailsOf, nothingDone, resultOf, summary } from "./report.ts";
import {
  createTextSession,
  FILES,
  resumeTextSession,
  type TextSession,
  trainText,
  writeModelFiles,
} from "./session.ts";
import { settingsOf } from "./settings.ts";

/**
 * nanoGPT on a text.
 *
 * @throws UsageError for options that contradict each other
 */
export function textRun(options: TextTrainOptions, version: string): Trainable {
  const { data: path, download = false, resume, out } = options;
  if (download && path !== undefined)
    throw new UsageError("--download fetches tinyshakespeare; with --data FILE there is nothing to fetch.");
  // A resumed run has its own, once its checkpoint was read.
  let settings = settingsOf(options);
  const started = new Date();
  return {
    backend: options.backend,
    json: options.json === true,
    nothingDone: (backend) => nothingDone(settings, backend),
    async prepare(io, backend, note) {
      if (resume !== undefined) {
        const earlier = await openEarlier(io, resume);
        const { text } = earlier.checkpoint;
        settings = earlier.checkpoint.settings;
        if (download && text.path !== undefined)
          throw new UsageError(
            `--download fetches tinyshakespeare; the run in ${resume} is on ${text.name}.`,
          );
        const found = await load(io, path ?? text.path, download, note);
        if (found === undefined) return undefined;
        const data = path === undefined ? { ...found, name: text.name } : found;
        const metrics = await earlier.folder.read(METRICS);
        const session = await resumeTextSession(earlier.checkpoint, metrics ?? "", backend, data, note);
        if (session.record.round === Math.ceil(settings.steps / settings.evalEvery)) {
          throw new UsageError(
            `The run in ${resume} has done all of its ${count(settings.steps)} steps already.`,
          );
        }
        const kept = session.record.takeLines();
        if (kept !== metrics) await earlier.folder.write(METRICS, kept);
        await writeModelFiles(session, earlier.folder);
        return runOf(session, earlier.folder, version, started);
      }
      const data = await load(io, path, download, note);
      if (data === undefined) return undefined;
      const session = createTextSession(settings, backend, data);
      const folder = await createRunFolder(io.cwd, out, "nanogpt", [METRICS, FILES.samples]);
      await writeModelFiles(session, folder);
      return runOf(session, folder, version, started);
    },
  };
}

/** @throws UsageError for a folder without a run that could go on */
async function openEarlier(io: Io, path: string) {
  const folder = await openRunFolder(io.cwd, path, [FILES.checkpoint]);
  const checkpoint: Checkpoint = await openCheckpoint(folder.absolute(FILES.checkpoint));
  return { folder, checkpoint };
}

/** Loads the text; undefined when it was stopped meanwhile. */
async function load(
  io: Io,
  data: string | undefined,
  download: boolean,
  note: (line: string) => void,
): Promise<TextData | undefined> {
  let text: TextData | undefined;
  try {
    text = await loadText({ data, download, window: NANOGPT.maxPositions }, io, note);
  } catch (error) {
    // A download that was stopped rejects.
    if (!io.signal.aborted) throw error;
  }
  return io.signal.aborted ? undefined : text;
}

function runOf(session: TextSession, folder: RunFolder, version: string, started: Date): TrainingRun {
  const { model, backend, data, settings, record } = session;
  const { title, input, dtype } = MODELS.nanogpt;
  const done = record.step;
  return {
    folder,
    introduction: [
      inspect(model, input, { dtype }),
      `${title} on ${backend.name} (${hardwareOf(backend)}): ${data.name}, ${count(data.train.length)} characters to train, ` +
        `${count(data.validation.length)} to validate, ${data.characters.length} different; ${count(settings.steps)} steps` +
        (done > 0 ? `, of which ${count(done)} are done` : ""),
    ],
    steps: settings.steps,
    stepsDone: () => record.step,
    train: (progress, signal) => trainText(session, folder, progress, signal),
    pictures: () => picturesOf(session),
    result: (complete) => resultOf(session, complete),
    details: (result) => detailsOf(result, session, folder, version, started),
    summary: () => summary(session, folder),
  };
}
