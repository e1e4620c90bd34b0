import { fromData, Generator, manualSeed, noGrad, scope, type Tensor } from "@nf/core";
import { Transformer, transformerConfig } from "@nf/models";
import { Adam, InverseSqrtLR } from "@nf/optim";
import { type RunOptions, UsageError } from "./options.ts";
import { bucketed } from "./tasks/buckets.ts";
import { type Pair, SPECIAL, type Task } from "./tasks/task.ts";

/** A step, for whoever watches. */
export interface StepReport {
  readonly step: number;
  /** Mean over the steps since the last report, in nats a token; with label smoothing. */
  readonly loss: number;
  readonly learningRate: number;
  /** Tokens of sources and targets, without padding. */
  readonly tokensPerSecond: number;
  /** Of training alone. */
  readonly seconds: number;
  /** Mean cross-entropy of pairs that are not trained on, where it was computed. */
  readonly validationLoss?: number;
}

/** What a training came to. */
export interface TrainingResult {
  readonly model: Transformer;
  readonly parameters: number;
  readonly steps: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Mean over the last {@link RECENT} steps, in nats a token; with label smoothing. */
  readonly loss: number;
  readonly validationLoss: number;
}

/** Seconds between two reports. */
const EVERY = 5;
/** Steps that the loss of the result is a mean of. */
const RECENT = 50;
/** Share of the run at whose end the learning rate falls to 0: what is left of the noise goes with it. */
const COOL_DOWN = 0.25;
/** Steps between two looks at the validation pairs. */
const VALIDATE_EVERY = 250;

/** The model that the options ask for. */
export function createModel(task: Task, options: RunOptions): Transformer {
  const { dModel, heads, layers, feedForward, dropout, norm, experts } = options;
  const { sourceVocabSize, targetVocabSize, maxPositions } = task;
  return new Transformer(
    transformerConfig({
      sourceVocabSize,
      targetVocabSize,
      maxPositions,
      dModel,
      nhead: heads,
      numEncoderLayers: layers,
      numDecoderLayers: layers,
      dimFeedforward: feedForward,
      dropout,
      normFirst: norm === "pre",
      tiedOutput: true,
      padId: SPECIAL.pad,
      bosId: SPECIAL.bos,
      eosId: SPECIAL.eos,
      ...(experts > 1 && { experts: { count: experts } }),
    }),
  );
}

/** Trains on the backend in use, until the steps or the seconds are over. */
export async function train(
  task: Task,
  options: RunOptions,
  report: (step: StepReport) => void,
): Promise<TrainingResult> {
  manualSeed(options.seed);
  const { labelSmoothing, lr, warmup: warmupSteps } = options;
  const model = createModel(task, options);
  const optimizer = new Adam(model.parameters(), { lr, betas: [0.9, 0.98], eps: 1e-9 });
  const schedule = new InverseSqrtLR(optimizer, { warmupSteps });
  const batches = task.batches(options.batch);
  let [step, seconds, tokens] = [0, 0, 0];
  let since = { steps: 0, loss: 0, seconds: 0, tokens: 0 };
  const recent: number[] = [];
  let validationLoss = Number.NaN;
  while (step < options.steps && seconds < options.seconds) {
    const start = performance.now();
    const pairs: readonly Pair[] = batches.next().value;
    const learningRate = optimizer.lr;
    // A scope ends the batch and the graph, all but the loss.
    const loss = scope(() => {
      optimizer.zeroGrad();
      const result = model.loss(sources(pairs), targets(pairs), { labelSmoothing });
      result.backward();
      optimizer.step();
      return result;
    });
    schedule.step();
    const value = await loss.item();
    loss.dispose();
    if (!Number.isFinite(value)) {
      throw new UsageError(
        `The loss is no number at step ${step + 1}: try a lower learning rate than --lr ${lr}.`,
      );
    }
    const took = (performance.now() - start) / 1000;
    const count = pairs.reduce((sum, { source, target }) => sum + source.length + target.length + 1, 0);
    step++;
    seconds += took;
    const left = 1 - Math.max(step / options.steps, seconds / options.seconds);
    optimizer.lr *= Math.max(0, Math.min(1, left / COOL_DOWN));
    tokens += count;
    recent.push(value);
    if (recent.length > RECENT) recent.shift();
    since = {
      steps: since.steps + 1,
      loss: since.loss + value,
      seconds: since.seconds + took,
      tokens: since.tokens + count,
    };
    const over = step >= options.steps || seconds >= options.seconds;
    const validate = over || step % VALIDATE_EVERY === 0;
    if (!validate && since.seconds < EVERY) continue;
    if (validate)
      validationLoss = await lossOf(model, task.validation.slice(0, options.limit), options.batch);
    report({
      step,
      loss: since.loss / since.steps,
      learningRate,
      tokensPerSecond: since.tokens / since.seconds,
      seconds,
      ...(validate && { validationLoss }),
    });
    since = { steps: 0, loss: 0, seconds: 0, tokens: 0 };
    // Lets signals in: a loop over promises that are ready would never do so.
    await new Promise((resolve) => setImmediate(resolve));
  }
  optimizer.dispose();
  const loss = recent.reduce((sum, one) => sum + one, 0) / recent.length;
  const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0);
  return {
    model,
    parameters,
    steps: step,
    seconds,
    tokensPerSecond: tokens / seconds,
    loss,
    validationLoss,
  };
}

/** Mean cross-entropy a token, without dropout and label smoothing. */
async function lossOf(model: Transformer, pairs: readonly Pair[], batch: number): Promise<number> {
  let [sum, tokens] = [0, 0];
  model.eval();
  for (const some of bucketed(pairs, batch, new Generator(0))) {
    const loss = noGrad(() => model.loss(sources(some), targets(some)));
    const count = some.reduce((total, { target }) => total + target.length + 1, 0);
    sum += count * (await loss.item());
    tokens += count;
    loss.dispose();
  }
  model.train();
  return sum / tokens;
}

/** `[batch, longest source]`. */
function sources(pairs: readonly Pair[]): Tensor {
  return padded(pairs.map(({ source }) => source));
}

/** From begin to end, `[batch, longest target + 2]`. */
function targets(pairs: readonly Pair[]): Tensor {
  return padded(pairs.map(({ target }) => [SPECIAL.bos, ...target, SPECIAL.eos]));
}

function padded(rows: readonly (readonly number[])[]): Tensor {
  const width = Math.max(...rows.map(({ length }) => length));
  const ids = new Int32Array(rows.length * width).fill(SPECIAL.pad);
  for (const [row, tokens] of rows.entries()) ids.set(tokens, row * width);
  return fromData(ids, [rows.length, width]);
}
