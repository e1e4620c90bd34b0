import { type Backend, manualSeed } from "@nf/core";
import { writeSafetensors } from "@nf/io";
import { type Gpt, generateGptTokens, gptConfigJson } from "@nf/models";
import { AdamW } from "@nf/optim";
import { fit, type ValidationContext } from "@nf/train";
import type { Progress } from "@nf/train/node";
import { CliError } from "../../errors.ts";
import { count, duration, lossText, percent } from "../../format.ts";
import { MODELS } from "../../models.ts";
import { METRICS, type RunFolder } from "../folder.ts";
import { type RecordNames, RunRecord } from "../record.ts";
import { hardwareOf } from "../run.ts";
import { warmUpCosine } from "../schedule.ts";
import { meanOf } from "../steps.ts";
import { watchSteps } from "../watch.ts";
import { type Checkpoint, saveCheckpoint } from "./checkpoint.ts";
import type { TextData } from "./data.ts";
import { evaluate, nextCharacters, type TextEvaluation } from "./evaluate.ts";
import { linesOf } from "./metrics.ts";
import type { TextSettings } from "./settings.ts";
import { characterTokenizer, FIRST } from "./tokenizer.ts";
import { batchesOf, randomWindows, type WindowBatch } from "./windows.ts";

/** A run that is set up and has not begun. */
export interface TextSession {
  readonly model: Gpt;
  readonly optimizer: AdamW;
  readonly backend: Backend;
  readonly data: TextData;
  readonly settings: TextSettings;
  readonly parameters: number;
  readonly record: RunRecord<TextEvaluation>;
  /** Seconds of training before this run was resumed. */
  readonly secondsBefore: number;
}

/** What is written beside metrics and pictures. */
export const FILES = {
  checkpoint: "checkpoint.safetensors",
  weights: "model.safetensors",
  config: "config.json",
  tokenizer: "tokenizer.json",
  samples: "samples.txt",
} as const;

/** As nanoGPT has them: the square's mean looks back over 100 steps. */
const BETAS = [0.9, 0.99] as const;

/** Temperature of the texts that are written as the model learns. */
const TEMPERATURE = 0.8;

/** Makes a seeded model and what surrounds it, on the backend in use. */
export function createTextSession(settings: TextSettings, backend: Backend, data: TextData): TextSession {
  manualSeed(settings.seed);
  const vocabSize = data.characters.length;
  const model = MODELS.nanogpt.create({ vocabSize, dropout: settings.dropout });
  const { learningRate: lr, weightDecay } = settings;
  const parameters = model.parameters();
  // Norms and biases are left to themselves.
  const groups = [
    { params: parameters.filter(({ rank }) => rank > 1), weightDecay },
    { params: parameters.filter(({ rank }) => rank < 2), weightDecay: 0 },
  ];
  return {
    model,
    optimizer: new AdamW(groups, { lr, betas: BETAS }),
    backend,
    data,
    settings,
    parameters: parameters.reduce((sum, { size }) => sum + size, 0),
    record: new RunRecord(LINES),
    secondsBefore: 0,
  };
}

/**
 * The session of an interrupted run, where it was interrupted.
 *
 * @param metrics what its metrics file holds; lines after the checkpoint are left out, and missing ones leave a gap
 * @param note is told of a gap, and of another backend
 * @throws CliError when the text is another one
 */
export async function resumeTextSession(
  checkpoint: Checkpoint,
  metrics: string,
  backend: Backend,
  data: TextData,
  note: (line: string) => void,
): Promise<TextSession> {
  const { settings, text, step: done, rounds, seconds } = checkpoint;
  if (text.sha256 !== data.sha256) {
    throw new CliError(
      `The run was trained on ${text.name}, and ${data.name} is another text. Name the file with --data.`,
    );
  }
  const session = createTextSession(settings, backend, data);
  await checkpoint.restore(session.model, session.optimizer);
  const { record } = session;
  for (const line of linesOf(metrics)) {
    if (line.step > done) continue;
    const { step } = line;
    const round = Math.ceil(step / settings.evalEvery);
    if (line.kind === "step") {
      const { loss, accuracy, characters: items, learningRate } = line;
      record.addStep({ round, step, objective: loss, loss, accuracy, items, learningRate, seconds });
    } else if (round <= rounds) {
      const { train, validation } = line;
      record.addRound({
        round,
        step,
        loss: line.loss ?? Number.NaN,
        accuracy: line.accuracy ?? Number.NaN,
        seconds: line.seconds,
        evaluation: { train, validation },
      });
    }
  }
  const [steps, evaluations] = [done - record.steps.length, rounds - record.rounds.length];
  if (steps + evaluations > 0) {
    note(
      `${METRICS} lacks ${count(steps)} of ${count(done)} steps and ${count(evaluations)} of ${count(rounds)} evaluations ` +
        "before the checkpoint. The run goes on; metrics and curves have a gap there.",
    );
  }
  record.resumeAt(done, rounds, seconds, done * settings.batch * session.model.config.maxPositions);
  const { name, threads } = checkpoint.backend;
  if (name !== backend.name || threads !== backend.capabilities.threads) {
    note(
      `The run was on ${name} with ${threads} thread${threads === 1 ? "" : "s"} and goes on on ${backend.name} ` +
        `(${hardwareOf(backend)}): last bits may differ from a run without interruption.`,
    );
  }
  return { ...session, secondsBefore: seconds };
}

const LINES: RecordNames<TextEvaluation> = {
  step: ({ step, loss, accuracy, items: characters, learningRate }) => {
    return { step, loss, accuracy, characters, learningRate };
  },
  round: ({ step, loss, accuracy, seconds, evaluation: { train, validation } }) => {
    return { kind: "evaluation", step, loss, accuracy, train, validation, seconds };
  },
};

/** Writes what makes the folder one that texts can be generated from, apart from the weights. */
export async function writeModelFiles({ model, data }: TextSession, folder: RunFolder): Promise<void> {
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const first = data.characters.indexOf(FIRST);
  const tokens = first < 0 ? {} : { bosToken: first };
  await folder.write(FILES.config, json(gptConfigJson(model.config, tokens)));
  await folder.write(FILES.tokenizer, json(characterTokenizer(data.characters)));
}

/**
 * Trains a session's model, shows how it goes, and keeps metrics, samples, weights and checkpoint up to date.
 *
 * @returns whether all steps were done
 * @throws CliError when the loss is no longer a number
 */
export async function trainText(
  session: TextSession,
  folder: RunFolder,
  progress: Progress,
  signal: AbortSignal,
): Promise<boolean> {
  const { model, optimizer, data, settings, record } = session;
  const { steps, batch, seed, learningRate, evalEvery } = settings;
  const { name: backend, capabilities } = session.backend;
  const { maxPositions } = model.config;
  const start = {
    step: record.step,
    evaluated: Math.min(record.step, record.round * evalEvery),
    seconds: session.secondsBefore,
  };
  const watch = watchSteps({
    ...{ record, progress, steps, learningRate },
    unit: "characters",
    place: ({ step }) => `step ${step}/${steps}`,
  });
  const save = async (): Promise<void> => {
    const { name, sha256, path } = data;
    const text = { name, sha256, ...(path !== undefined && { path }) };
    const { step, round: rounds, seconds } = record;
    const on = { name: backend, threads: capabilities.threads };
    const state = { step, rounds, seconds, settings, backend: on, text };
    await folder.append(METRICS, record.takeLines());
    await folder.save(FILES.weights, (path) => writeSafetensors(path, model.stateDict()));
    await folder.save(FILES.checkpoint, (path) => saveCheckpoint(path, model, optimizer, state));
  };
  try {
    let evaluation: (TextEvaluation & { readonly text: string }) | undefined;
    const result = await fit(model, {
      data: (): AsyncIterable<WindowBatch> =>
        batchesOf(randomWindows(data.train, maxPositions, batch, seed, record.step, steps), batch),
      forward: nextCharacters,
      loss: ({ loss }) => loss,
      metrics: {
        accuracy: ({ right }, { targets }: WindowBatch) => ({ total: right, count: targets.size }),
      },
      items: ({ targets }) => targets.size,
      optimizer,
      steps,
      start,
      evaluateEvery: evalEvery,
      learningRate: (step) => warmUpCosine(learningRate, step, steps),
      signal,
      logEvery: 1,
      validate: async ({ breathe }: ValidationContext) => {
        const figures = await evaluate(model, data, batch, breathe);
        const text = figures === undefined ? undefined : await sampleText(session, signal);
        if (figures === undefined || text === undefined) return undefined;
        evaluation = { ...figures, text };
        return { loss: figures.validation.loss };
      },
      callbacks: [
        {
          onLog({ step, figures: { loss, accuracy }, learningRate: rate, stepItems: items, seconds }) {
            const round = Math.ceil(step / evalEvery);
            watch({ round, step, objective: loss, loss, accuracy, items, learningRate: rate, seconds });
          },
          async onEvaluation({ step, row: { seconds } }) {
            if (evaluation === undefined) return;
            const round = Math.ceil(step / evalEvery);
            const means = meanOf(record.steps.filter((one) => one.round === round));
            record.addRound({ round, step, ...means, seconds, evaluation });
            progress.note(evaluationLine(step, steps, seconds, evaluation));
            const { text } = evaluation;
            if (text !== "") progress.note(text.replace(/^/gm, "  | "));
            await save();
            // After the checkpoint: a run that is killed in between lacks this text, and has none twice when it was resumed.
            if (text !== "") await folder.append(FILES.samples, `--- after step ${step}\n${text}\n`);
          },
        },
      ],
    });
    const complete = result.ending === "done";
    if (!complete) await save();
    return complete;
  } finally {
    await folder.append(METRICS, record.takeLines());
  }
}

function evaluationLine(
  step: number,
  steps: number,
  seconds: number,
  { train, validation }: TextEvaluation,
): string {
  const split = (name: string, { loss, accuracy }: TextEvaluation["train"]): string =>
    `${name} loss ${lossText(loss)}, accuracy ${percent(accuracy)}`;
  return (
    `step ${count(step)}/${count(steps)} after ${duration(seconds)}: ${split("training", train)}; ` +
    `${split("validation", validation)} of ${count(validation.characters)} characters`
  );
}

/** A text that the model writes from a new line on; undefined when it was stopped before the end. */
async function sampleText(
  { model, data, settings, record }: TextSession,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { sample, seed } = settings;
  const first = Math.max(0, data.characters.indexOf(FIRST));
  const own = seed * 2 ** 20 + (record.step % 2 ** 20);
  const options = { maxTokens: sample, temperature: TEMPERATURE, seed: own, signal };
  let text = "";
  model.eval();
  try {
    for await (const { id } of generateGptTokens(model, [first], options)) text += data.characters[id] ?? "";
  } catch (error) {
    if (!signal.aborted) throw error;
    return undefined;
  } finally {
    model.train();
  }
  return text.trim();
}
