import { type Backend, use } from "@nf/core";
import { inspect } from "@nf/nn";
import { openBackend, openBestBackend } from "../backends.ts";
import { UsageError } from "../errors.ts";
import { count } from "../format.ts";
import { EXIT, type Io, say, stopCode } from "../io.ts";
import { MODELS } from "../models.ts";
import type { ModelName, TrainOptions } from "../options.ts";
import { createProgress } from "../progress/progress.ts";
import { loadDigits, type Splits } from "../train/data.ts";
import { createRunFolder } from "../train/folder.ts";
import { writePictures } from "../train/pictures.ts";
import { detailsOf, nothingDone, pathsIn, pictureText, resultOf, summary } from "../train/report.ts";
import { createSession, train } from "../train/session.ts";

/** `nf train`: trains, shows how it goes, and writes what came of it into a folder. */
export async function runTrain(
  io: Io,
  name: ModelName,
  options: TrainOptions,
  version: string,
): Promise<number> {
  if (options.download && options.data !== "mnist") {
    throw new UsageError("--download goes with --data mnist; the embedded digits are there already.");
  }
  const note = (line: string) => say(io.stderr, line);
  const backend = await use(
    options.backend === undefined
      ? openBestBackend(io.importModule, note)
      : openBackend(options.backend, io.importModule),
  );
  try {
    return await runOn(backend, io, name, options, version);
  } finally {
    await backend.dispose();
  }
}

async function runOn(
  backend: Backend,
  io: Io,
  name: ModelName,
  options: TrainOptions,
  version: string,
): Promise<number> {
  const note = (line: string) => say(io.stderr, line);
  const started = new Date();
  let data: Splits | undefined;
  try {
    data = await loadDigits(options.data, options.download ?? false, io.signal, note);
  } catch (error) {
    // A download that was stopped rejects.
    if (!io.signal.aborted) throw error;
  }
  if (data === undefined || io.signal.aborted) return stoppedBefore(backend, io, name, options);
  const session = createSession(name, options, backend, data);
  const folder = await createRunFolder(io.cwd, options.out, name);
  const { model, record, steps } = session;
  const { title, input } = MODELS[name];
  note(inspect(model, input));
  note(
    `${title} on ${backend.name} (${backend.capabilities.threads} thread${backend.capabilities.threads === 1 ? "" : "s"}): ` +
      `${count(session.images.length)} digits to train, ${count(data.test.length)} to test; ${count(steps)} steps`,
  );

  const progress = createProgress(io.stderr);
  let complete = false;
  try {
    complete = await train(session, folder, progress, io.signal);
  } finally {
    progress.stop();
    // After a failure too: curves show best how a run went wrong.
    await writePictures(folder, session, pictureText(session, title), note);
  }
  const result = resultOf(name, session, complete);
  await folder.write(
    "run.json",
    `${JSON.stringify(detailsOf(result, session, folder, version, started), null, 2)}\n`,
  );
  if (options.json) say(io.stdout, JSON.stringify({ ...result, out: folder.path, files: pathsIn(folder) }));
  else say(io.stdout, summary(session, folder));
  return complete ? EXIT.done : stopped(io, `after step ${count(record.steps.length)} of ${count(steps)}`);
}

/** Says that nothing was done; for programs by a result like any other. */
function stoppedBefore(backend: Backend, io: Io, name: ModelName, options: TrainOptions): number {
  if (options.json) {
    say(io.stdout, JSON.stringify({ ...nothingDone(name, backend, options), out: null, files: [] }));
  }
  return stopped(io, "before the first step");
}

function stopped(io: Io, when: string): number {
  say(io.stderr, `Stopped ${when}.`);
  return stopCode(io.signal);
}
