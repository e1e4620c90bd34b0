import { type Backend, use } from "@nf/core";
import { createProgress } from "@nf/train/node";
import { openBackend, openBestBackend } from "../backends.ts";
import { count } from "../format.ts";
import { EXIT, type Io, say, stopCode } from "../io.ts";
import type { TextTrainOptions, TrainOptions } from "../options.ts";
import { digitsRun } from "../train/digits/run.ts";
import { pathsIn } from "../train/folder.ts";
import { writePictures } from "../train/pictures.ts";
import type { Trainable } from "../train/run.ts";
import { textRun } from "../train/text/run.ts";

/** `nf train lenet`. */
export function runTrainLenet(io: Io, options: TrainOptions, version: string): Promise<number> {
  return runTrain(io, digitsRun(options, version));
}

/** `nf train nanogpt`. */
export function runTrainNanogpt(io: Io, options: TextTrainOptions, version: string): Promise<number> {
  return runTrain(io, textRun(options, version));
}

/** Trains, shows how it goes, and writes what came of it into a folder. */
async function runTrain(io: Io, trainable: Trainable): Promise<number> {
  const note = (line: string) => say(io.stderr, line);
  const backend = await use(
    trainable.backend === undefined
      ? openBestBackend(io.importModule, note)
      : openBackend(trainable.backend, io.importModule),
  );
  try {
    return await runOn(backend, io, trainable, note);
  } finally {
    await backend.dispose();
  }
}

async function runOn(
  backend: Backend,
  io: Io,
  trainable: Trainable,
  note: (line: string) => void,
): Promise<number> {
  const run = await trainable.prepare(io, backend, note);
  if (run === undefined) {
    // Programs get a result like any other.
    const nothing = { ...trainable.nothingDone(backend), out: null, files: [] };
    if (trainable.json) say(io.stdout, JSON.stringify(nothing));
    return stopped(io, "before the first step");
  }
  const { folder } = run;
  for (const line of run.introduction) note(line);

  const progress = createProgress(io.stderr);
  let complete = false;
  try {
    complete = await run.train(progress, io.signal);
  } finally {
    progress.stop();
    // After a failure too: curves show best how a run went wrong.
    await writePictures(folder, run.pictures(), note);
  }
  const result = run.result(complete);
  await folder.write("run.json", `${JSON.stringify(run.details(result), null, 2)}\n`);
  if (trainable.json) {
    say(io.stdout, JSON.stringify({ ...result, out: folder.path, files: pathsIn(folder) }));
  } else say(io.stdout, run.summary());
  return complete ? EXIT.done : stopped(io, `after step ${count(run.stepsDone())} of ${count(run.steps)}`);
}

function stopped(io: Io, when: string): number {
  say(io.stderr, `Stopped ${when}.`);
  return stopCode(io.signal);
}
