import {
  assign,
  checkNumber,
  checkOptions,
  clone,
  DTypeError,
  defineUpdate,
  follow,
  isFloat,
  LifetimeError,
  noGrad,
  OptionError,
  runUpdates,
  ShapeError,
  scalar,
  Tensor,
  type Update,
} from "@nf/core";

/** Options of {@link EMA}. */
export interface EMAOptions {
  /** How much of the averages is kept at each update; default 0.999. */
  readonly decay?: number;
}

/** Averages for a checkpoint. */
export interface EMAStateDict {
  /** Calls of `update()` so far. */
  readonly updates: number;
  /** The averages, by the parameter's position. The tensors are the object's own, not copies. */
  readonly averages: Readonly<Record<string, Tensor>>;
}

const { add, mul, sub } = scalar;

const UPDATE: Update = /* @__PURE__ */ defineUpdate({
  name: "EMA.update",
  state: 1,
  inputs: 1,
  params: ["share"],
  body: ([average], [parameter], [share]) => [add(average!, mul(sub(parameter!, average!), share!))],
});

/**
 * Running averages of parameters, which often do better than the parameters themselves: `average = decay · average + (1 - decay) ·
 * parameter` at each `update()`. The first update copies, as in PyTorch's AveragedModel. Polyak and Juditsky,
 * "Acceleration of stochastic approximation by averaging", 1992.
 *
 * @example
 * ```ts no-run
 * import { Linear } from "@nf/nn";
 * import { EMA } from "@nf/optim";
 *
 * const model = new Linear(2, 1);
 * const ema = new EMA(model.parameters(), { decay: 0.99 });
 * // in the loop, after optimizer.step():
 * ema.update();
 * // to evaluate:
 * ema.swap(); // the model computes with the averages
 * // …
 * ema.swap(); // and with its own parameters again
 * ```
 */
export class EMA {
  readonly decay: number;
  /** What is averaged. */
  readonly parameters: readonly Tensor[];
  private readonly averages: readonly Tensor[];
  private updates = 0;
  private swapped = false;
  private ended = false;

  /** @throws OptionError for no parameters, one that appears twice or a decay outside of [0, 1]; DTypeError for integers. */
  constructor(parameters: Iterable<Tensor>, options: EMAOptions = {}) {
    checkOptions("EMA", options, ["decay"]);
    this.decay = checkNumber("EMA", "decay", options.decay ?? 0.999, 0, 1);
    this.parameters = checked(parameters);
    this.averages = this.parameters.map((parameter) => {
      const average = noGrad(() => clone(parameter)).keep();
      follow(average, parameter);
      return average;
    });
  }

  /** Moves the averages towards the parameters. Call it after `optimizer.step()`. */
  update(): void {
    this.assertUsable("update");
    if (this.updates++ === 0) {
      copyAll(this.parameters, this.averages);
      return;
    }
    // Dtypes apart: what runs together has one program.
    for (const dtype of new Set(this.parameters.map((parameter) => parameter.dtype))) {
      const targets = this.parameters.flatMap((parameter, i) =>
        parameter.dtype === dtype ? [{ state: [this.averages[i] as Tensor], inputs: [parameter] }] : [],
      );
      noGrad(() => runUpdates(UPDATE, targets, [1 - this.decay]));
    }
  }

  /** Writes the averages into the parameters, whose own values are lost. */
  copyTo(): void {
    this.assertUsable("copyTo");
    copyAll(this.averages, this.parameters);
  }

  /**
   * Exchanges averages and parameters, so that the model computes with the averages; a second call exchanges them back,
   * to the bit. Between the two, `update()` and all else refuse.
   */
  swap(): void {
    this.assertAlive("swap");
    noGrad(() => {
      for (const [i, parameter] of this.parameters.entries()) {
        const average = this.averages[i] as Tensor;
        const value = clone(parameter);
        assign(parameter, average);
        assign(average, value);
        value.dispose();
      }
    });
    this.swapped = !this.swapped;
  }

  /** The averages for a checkpoint. */
  stateDict(): EMAStateDict {
    this.assertUsable("stateDict");
    return {
      updates: this.updates,
      averages: Object.fromEntries(this.averages.map((average, position) => [position, average])),
    };
  }

  /**
   * Copies saved averages of the same parameters.
   *
   * @throws OptionError or ShapeError if they do not fit; nothing is loaded then.
   */
  loadStateDict(dict: EMAStateDict): void {
    this.assertUsable("loadStateDict");
    const { updates, averages } = dict ?? {};
    const count = this.averages.length;
    if (!Number.isInteger(updates) || updates < 0 || typeof averages !== "object" || averages === null) {
      throw new OptionError(
        "EMA loadStateDict: expected what stateDict() gives, an object with updates and averages.",
      );
    }
    const saved = this.averages.map((average, position) => {
      const tensor = averages[position];
      if (!(tensor instanceof Tensor) || Object.keys(averages).length !== count) {
        throw new OptionError(
          `EMA loadStateDict: expected averages of ${count} parameters, got ${Object.keys(averages).length}` +
            `${tensor instanceof Tensor ? "" : `, and none at ${position}`}.`,
        );
      }
      if (tensor.shape.join() !== average.shape.join()) {
        throw new ShapeError(
          `EMA loadStateDict: average ${position} must have shape [${average.shape.join(", ")}], got [${tensor.shape.join(", ")}].`,
        );
      }
      return tensor;
    });
    copyAll(saved, this.averages);
    this.updates = updates;
  }

  /** Ends the averages. The parameters live on. */
  dispose(): void {
    for (const average of this.averages) average.dispose();
    this.ended = true;
  }

  /** Ends it with a `using` declaration. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  private assertAlive(method: string): void {
    if (this.ended)
      throw new LifetimeError(`EMA ${method}: dispose() was called on these averages. Make new ones.`);
  }

  private assertUsable(method: string): void {
    this.assertAlive(method);
    if (this.swapped) {
      throw new OptionError(
        `EMA ${method}: the parameters hold the averages since swap(). Call swap() again first.`,
      );
    }
  }
}

function copyAll(from: readonly Tensor[], to: readonly Tensor[]): void {
  noGrad(() => {
    for (const [i, target] of to.entries()) assign(target, from[i] as Tensor);
  });
}

function checked(parameters: Iterable<Tensor>): readonly Tensor[] {
  if (typeof parameters?.[Symbol.iterator] !== "function")
    throw new OptionError("EMA: pass the parameters, as in new EMA(model.parameters()).");
  const list = [...parameters];
  if (list.length === 0) throw new OptionError("EMA: there are no parameters to average.");
  for (const [position, parameter] of list.entries()) {
    if (!(parameter instanceof Tensor)) throw new OptionError(`EMA: parameter ${position} is not a tensor.`);
    if (list.indexOf(parameter) !== position)
      throw new OptionError(`EMA: parameter ${position} appears twice.`);
    if (!isFloat(parameter.dtype))
      throw new DTypeError(`EMA: parameter ${position} is of ${parameter.dtype}, which has no averages.`);
  }
  return list;
}
