import { mul, noGrad, OptionError, scope } from "@nf/core";
import type { Module } from "@nf/nn";
import { clipGradNorm, clipGradValue } from "@nf/optim";
import { BestKeeper } from "./best.ts";
import { breather } from "./breathe.ts";
import { Checkpointing, diverged, hasPlace, type Standing } from "./checkpoints.ts";
import type { Callback, HistoryRow, TrainEvent } from "./events.ts";
import { FigureSums, HostSums, type NamedFigures } from "./metrics.ts";
import { checkedLoss, nameOf } from "./misuse.ts";
import { type BatchSource, type FitOptions, type ScheduleOptions, scheduleOf } from "./options.ts";
import { figureOf, hasEpochs, isIterable, lengthOf } from "./source.ts";
import { validated } from "./validation.ts";

/** Why a training ended. */
export type Ending = "done" | "early" | "callback" | "aborted";

/** Steps between two reads of figures. */
const LOG_EVERY = 10;
/** A training in progress. */
export class Run<M extends Module, Batch, Output, Name extends string, Checked extends NamedFigures> {
  readonly history: HistoryRow<Name, Checked>[] = [];
  readonly checkpoints: Checkpointing | undefined;
  readonly best: BestKeeper | undefined;
  step = 0;
  /** Epochs done. */
  epochs = 0;
  seconds = 0;
  items = 0;
  ending: Ending | undefined;
  reason: string | undefined;
  readonly #model: M;
  readonly #options: FitOptions<M, Batch, Output, Name, Checked>;
  readonly #schedule: ScheduleOptions | undefined;
  readonly #figures: FigureSums<Output, Batch, Name>;
  readonly #breathe = breather();
  /** Of figures since the last evaluation. */
  #sums = new HostSums();
  /** Batches of the epoch in progress. */
  #batches = 0;
  /** Whether they are over, and the epoch's end is still to come. */
  #ended = false;
  /** Steps done at the last evaluation. */
  #evaluated = 0;
  /** The rate of the last step. */
  #rate: number;
  /** Steps done when figures were last read. */
  #logged = 0;
  /** Whether something happened since the last checkpoint. */
  #unsaved = false;
  /** When the clock began to run. */
  #since = 0;

  constructor(model: M, options: FitOptions<M, Batch, Output, Name, Checked>) {
    this.#model = model;
    this.#options = options;
    this.#rate = options.optimizer.lr;
    const { schedule, metrics, items, earlyStopping, checkpoints, start } = options;
    if (start !== undefined) {
      this.step = start.step;
      this.epochs = start.epochs ?? 0;
      this.seconds = start.seconds ?? 0;
      this.#evaluated = start.evaluated ?? start.step;
      this.#logged = start.step;
    }
    this.#schedule = schedule === undefined ? undefined : scheduleOf(schedule);
    this.#figures = new FigureSums(metrics ?? ({} as NonNullable<typeof metrics>), items);
    if (earlyStopping !== undefined) this.best = new BestKeeper(model, earlyStopping);
    if (checkpoints === undefined) return;
    const settings = typeof checkpoints === "string" ? { folder: checkpoints } : checkpoints;
    this.checkpoints = new Checkpointing(model, options, settings, this.best);
  }

  /** Asks it to end after the step in hand. The first reason counts. */
  stop(ending: Ending, reason: string): void {
    if (this.ending !== undefined) return;
    this.ending = ending;
    this.reason = reason;
  }

  async train(): Promise<void> {
    const { steps, epochs, metrics, data } = this.#options;
    const standing = await this.checkpoints?.restore();
    if (standing !== undefined) this.#goOn(standing);
    // A model that trains already keeps what of it was put into evaluation mode, such as a frozen normalization.
    if (!this.#model.training) this.#model.train();
    const perEpoch = this.#stepsIn(lengthOf(data));
    await this.#tell("onTrainBegin", {
      resumed: standing !== undefined,
      seconds: this.seconds,
      totalSteps: steps ?? (perEpoch === undefined ? undefined : perEpoch * (epochs as number)),
      totalEpochs: epochs,
      names: ["loss", ...Object.keys(metrics ?? {})],
    });
    if (this.best?.exhausted === true) this.#stopEarly();
    while (this.ending === undefined) {
      if (this.#evaluationDue()) await this.#evaluateAndSave();
      else if (this.#complete()) this.ending = "done";
      else if (steps !== undefined && this.step >= steps) await this.#evaluate();
      else await this.#epoch();
    }
    // It was asked to stop when there was nothing left to do.
    if (this.ending === "aborted" && this.#complete()) [this.ending, this.reason] = ["done", undefined];
    await this.#flush();
    if (this.#unsaved) await this.#save();
  }

  #goOn({
    epochs,
    batches,
    ended,
    step,
    evaluated,
    rate,
    seconds,
    items,
    sums,
    history,
    best,
  }: Standing): void {
    this.epochs = epochs;
    this.step = step;
    this.seconds = seconds;
    this.items = items;
    this.history.push(...(history as readonly HistoryRow<Name, Checked>[]));
    this.#batches = batches;
    this.#ended = ended;
    this.#evaluated = evaluated;
    this.#rate = rate;
    this.#logged = step;
    this.#sums = HostSums.from(sums);
    if (this.best !== undefined && best !== null) this.best.state = best;
  }

  #complete(): boolean {
    const { steps, epochs } = this.#options;
    if (steps !== undefined) return this.step >= steps && this.#evaluated >= this.step;
    return this.epochs >= (epochs as number);
  }

  /** One epoch, or what is left of it; less where the training ends in it. */
  async #epoch(): Promise<void> {
    const { evaluateEvery, epochs } = this.#options;
    if (!this.#ended) {
      await this.#tell("onEpochBegin", {});
      if (!(await this.#overBatches())) return;
      this.#ended = true;
      this.#unsaved = true;
    }
    const last = epochs !== undefined && this.epochs + 1 >= epochs;
    const evaluate = this.step > this.#evaluated && (evaluateEvery === undefined || last);
    if (evaluate && !(await this.#evaluate())) return;
    this.epochs++;
    this.#batches = 0;
    this.#ended = false;
    if (this.#schedule?.per === "epoch") this.#schedule.schedule.step();
    await this.#tell("onEpochEnd", {}, this.epochs);
    if (evaluate && this.checkpoints?.every === undefined) await this.#save();
  }

  /** Trains on the batches of an epoch. @returns whether they are over, and not the training */
  async #overBatches(): Promise<boolean> {
    const { data, steps, accumulate = 1 } = this.#options;
    const source: BatchSource<Batch> = typeof data === "function" ? data(this.epochs + 1) : data;
    if (!isIterable(source)) {
      throw new OptionError(
        `fit: data must give an iterable of batches for epoch ${this.epochs + 1}, got ${nameOf(source)}.`,
      );
    }
    const length = lengthOf(source);
    const placed = hasPlace(data);
    // A loader that counts epochs itself would begin at the first after a resume.
    if (!placed && hasEpochs(source)) source.setEpoch(this.epochs);
    let skip = placed ? 0 : this.#batches;
    const begun = this.#batches;
    /** Batches that the gradients are of, and how many they are to be. */
    let [inGroup, group] = [0, 0];
    this.#since = performance.now();
    for await (const batch of source) {
      if (skip-- > 0) continue;
      if (inGroup === 0) group = Math.min(accumulate, (length ?? Number.POSITIVE_INFINITY) - this.#batches);
      this.#forwardAndBack(batch, 1 / group, inGroup === 0);
      this.#batches++;
      if (++inGroup < group) continue;
      inGroup = 0;
      await this.#takeStep();
      if (this.ending !== undefined) return false;
      if (this.#evaluationDue() && !(await this.#evaluateAndSave())) return false;
      // After an epoch's last batch the data are asked once more: only then they stand at the next epoch.
      if (steps !== undefined && this.step >= steps && this.#batches !== length) return false;
      this.#since = performance.now();
    }
    if (this.#batches === 0 && begun === 0)
      throw new OptionError(`fit: the data gave no batch in epoch ${this.epochs + 1}.`);
    if (inGroup > 0) {
      // Their losses were scaled for more batches than came.
      this.#scaleGradients(group / inGroup);
      await this.#takeStep();
    }
    return this.ending === undefined;
  }

  #forwardAndBack(batch: Batch, share: number, first: boolean): void {
    const { forward, loss, optimizer } = this.#options;
    scope(() => {
      if (first) optimizer.zeroGrad();
      const output = forward(this.#model, batch);
      const value = checkedLoss(loss(output, batch));
      (share === 1 ? value : mul(value, share)).backward();
      noGrad(() => this.#figures.add(output, batch, value));
    });
  }

  #scaleGradients(factor: number): void {
    scope(() =>
      noGrad(() => {
        for (const parameter of this.#options.optimizer.parameters())
          if (parameter.grad !== undefined && parameter.grad !== null)
            parameter.grad = mul(parameter.grad, factor);
      }),
    );
  }

  /** Moves the weights, and tells of it. */
  async #takeStep(): Promise<void> {
    const { optimizer, learningRate, logEvery = LOG_EVERY, ...options } = this.#options;
    if (learningRate !== undefined) {
      const given: unknown = learningRate(this.step);
      if (typeof given !== "number" || !(given >= 0))
        throw new OptionError(
          `fit: learningRate must give a rate for step ${this.step}, a number from 0, got ${nameOf(given)}.`,
        );
      optimizer.lr = given;
    }
    const rate = optimizer.lr;
    this.#rate = rate;
    scope(() => {
      if (options.clipGradValue !== undefined) clipGradValue(optimizer.parameters(), options.clipGradValue);
      if (options.clipGradNorm !== undefined) clipGradNorm(optimizer.parameters(), options.clipGradNorm);
      optimizer.step();
    });
    if (this.#schedule?.per === "step") this.#schedule.schedule.step();
    this.step++;
    this.#unsaved = true;
    const due = this.step % logEvery === 0;
    const sums = due ? await this.#figures.read() : undefined;
    const now = performance.now();
    this.seconds += (now - this.#since) / 1000;
    if (sums !== undefined) await this.#log(sums, rate);
    const items = this.items + this.#figures.items;
    await this.#tell("onStep", { learningRate: rate, items, seconds: this.seconds });
    await this.#breathe();
    const every = this.checkpoints?.every;
    // With an evaluation at the same step, the checkpoint comes after it.
    if (every !== undefined && this.step % every === 0 && !this.#evaluationDue()) await this.#save();
    this.#since = performance.now();
  }

  /** Reads the figures that were not read yet. */
  async #flush(): Promise<void> {
    if (this.#figures.batches > 0) await this.#log(await this.#figures.read(), this.#rate);
  }

  async #log(sums: HostSums, learningRate: number): Promise<void> {
    const figures = this.#figures.figures(sums);
    this.#sums.add(sums);
    this.items += sums.items;
    const steps = this.step - this.#logged;
    this.#logged = this.step;
    const { items, seconds } = this;
    await this.#tell("onLog", { learningRate, items, seconds, steps, stepItems: sums.items, figures });
    if (Number.isFinite(sums.mean("loss"))) return;
    const over = steps > 1 ? `, in one of ${steps} steps` : "";
    throw diverged(`the loss is ${sums.mean("loss")}${over}`, this.step, this.checkpoints?.last);
  }

  #evaluationDue(): boolean {
    const { evaluateEvery } = this.#options;
    return evaluateEvery !== undefined && this.step > this.#evaluated && this.step % evaluateEvery === 0;
  }

  /** @returns whether the training goes on */
  async #evaluateAndSave(): Promise<boolean> {
    if (!(await this.#evaluate())) return false;
    const every = this.checkpoints?.every;
    if (every === undefined || this.step % every === 0) await this.#save();
    return this.ending === undefined;
  }

  /** An evaluation, and what follows from it. @returns false when it was given up */
  async #evaluate(): Promise<boolean> {
    await this.#flush();
    const validation = await validated(this.#model, this.#options, {
      context: { epoch: this.epochs + 1, step: this.step },
      breathe: this.#breathe,
      ending: () => this.ending,
    });
    if (validation === "given up") return false;
    this.#evaluated = this.step;
    this.#unsaved = true;
    const row: HistoryRow<Name, Checked> = {
      epoch: this.epochs + 1,
      step: this.step,
      learningRate: this.#rate,
      seconds: this.seconds,
      train: this.#figures.figures(this.#sums),
      ...(validation !== undefined && { validation }),
    };
    this.#sums = new HostSums();
    this.history.push(row);
    const { best, checkpoints } = this;
    if (checkpoints?.metric !== undefined) figureOf(row, checkpoints.metric, "checkpoints.best.metric");
    const better = best?.take(figureOf(row, best.metric, "earlyStopping.metric"), this.step);
    if (this.#schedule?.per === "evaluation") {
      const { schedule, metric } = this.#schedule;
      if (metric === undefined) schedule.step();
      else schedule.step(figureOf(row, metric, "schedule.metric"));
    }
    await this.#tell("onEvaluation", { row, best: better });
    if (best?.exhausted === true) this.#stopEarly();
    return true;
  }

  #stopEarly(): void {
    const { metric, patience, state } = this.best as BestKeeper;
    this.stop("early", `${metric} did not get better than ${state.value} for ${patience} evaluations`);
  }

  async #save(): Promise<void> {
    const { checkpoints } = this;
    this.#unsaved = false;
    if (checkpoints === undefined) return;
    await this.#flush();
    const row = this.history.at(-1);
    const metrics = row?.step === this.step ? (row.validation ?? row.train) : {};
    const { step, epochs, seconds, items, history } = this;
    const standing: Standing = {
      version: 1,
      ...{ step, epochs, seconds, items, history },
      batches: this.#batches,
      ended: this.#ended,
      evaluated: this.#evaluated,
      rate: this.#rate,
      sums: this.#sums.save(),
      best: this.best?.state ?? null,
    };
    const path = await checkpoints.save(standing, metrics);
    await this.#tell("onCheckpoint", { path });
  }

  #stepsIn(batches: number | undefined): number | undefined {
    return batches === undefined ? undefined : Math.ceil(batches / (this.#options.accumulate ?? 1));
  }

  /** Frees what a training that failed left. */
  forget(): void {
    this.#figures.forget();
  }

  /** Tells all callbacks of an event, one after the other. */
  async #tell<E extends keyof Callback<Name, Checked>>(
    event: E,
    fields: Omit<Told<Name, Checked>[E], keyof TrainEvent>,
    epoch: number = this.epochs + 1,
  ): Promise<void> {
    const { callbacks } = this.#options;
    if (callbacks === undefined) return;
    const stop = (reason: string): void => this.stop("callback", reason);
    const failures: unknown[] = [];
    const told = { epoch, step: this.step, stop, ...fields } as Told<Name, Checked>[E];
    for (const callback of callbacks as readonly Callback<Name, Checked>[]) {
      const handler = callback[event] as
        | ((event: Told<Name, Checked>[E]) => void | Promise<void>)
        | undefined;
      try {
        await handler?.call(callback, told);
      } catch (error) {
        // At the end each callback closes what it opened, whatever another does.
        if (event !== "onTrainEnd") throw error;
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Tells that it is over. */
  end(error: unknown): Promise<void> {
    return this.#tell("onTrainEnd", { error }, Math.max(1, this.epochs));
  }
}

/** What each event is told with. */
type Told<Name extends string, Checked extends NamedFigures> = {
  [E in keyof Callback]-?: Parameters<NonNullable<Callback<Name, Checked>[E]>>[0];
};
