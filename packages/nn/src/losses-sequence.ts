import {
  add,
  cast,
  checkInteger,
  concat,
  expand,
  fromData,
  full,
  gather,
  type LossOptions,
  less,
  logicalAnd,
  logSumExp,
  maximum,
  mul,
  neg,
  notEqual,
  OptionError,
  pad,
  reshape,
  ShapeError,
  slice,
  stack,
  type Tensor,
  unsqueeze,
  where,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, shapeText, show } from "./check.ts";
import { Loss } from "./losses.ts";
import { reduced } from "./losses-likelihood.ts";
import { rowsOf } from "./rows.ts";

/** Options of {@link CTCLoss}. */
export interface CTCLossOptions extends LossOptions {
  /** Class of the blank, which stands between labels and is no label itself; default 0. */
  readonly blank?: number;
  /** Whether the loss of a sequence that is too short for its labels is 0 rather than infinite; default false. */
  readonly zeroInfinity?: boolean;
}

/** Stands for log 0 where sums of it must stay numbers: in f32 they do over any number of steps. */
const NEVER = -1e30;

/**
 * Connectionist temporal classification: the negative log-probability of a sequence of labels whose places among the steps
 * are not known, summed over all places they may have. `mean` divides the loss of each sequence by its number of labels first. A
 * sequence that is too short has an infinite loss and gives no gradient. Graves et al. 2006.
 *
 * @example
 * ```ts no-run
 * import { logSoftmax, randn, tensor } from "@nf/core";
 * import { CTCLoss } from "@nf/nn";
 *
 * const logProbabilities = logSoftmax(randn([50, 2, 20])); // [steps, batch, classes]
 * const labels = tensor([[3, 7, 7, 1], [12, 5, 0, 0]], { dtype: "i32" }); // the second one has two
 * const loss = new CTCLoss().forward(logProbabilities, labels, [50, 31], [4, 2]);
 * ```
 */
export class CTCLoss extends Loss {
  readonly blank: number;
  readonly zeroInfinity: boolean;

  constructor(options: CTCLossOptions = {}) {
    super("CTCLoss", options, ["blank", "zeroInfinity"]);
    this.blank = checkInteger("CTCLoss", "blank", options.blank ?? 0, 0);
    this.zeroInfinity = options.zeroInfinity ?? false;
  }

  /**
   * @param logProbabilities `[steps, batch, classes]`, as `logSoftmax` gives them. 16-bit floats are computed with in f32.
   * @param targets labels `[batch, most labels]` (`i32`); what stands behind the labels of a sequence is not read.
   * @param inputLengths steps of each sequence, default all.
   * @param targetLengths labels of each sequence, default all.
   */
  override forward(
    logProbabilities: Tensor,
    targets: Tensor,
    inputLengths?: readonly number[],
    targetLengths?: readonly number[],
  ): Tensor {
    checkInput(this, logProbabilities);
    checkInput(this, targets);
    const [steps = 0, batch = 0, classes = 0] = logProbabilities.shape;
    if (logProbabilities.rank !== 3 || targets.rank !== 2 || targets.shape[0] !== batch || steps < 1) {
      throw new ShapeError(
        `${this}: expected log-probabilities [steps, batch, classes] of at least one step and labels [batch, most labels], got ` +
          `${shapeText(logProbabilities)} and ${shapeText(targets)}. Bring labels to one length with padSequences of @nf/data.`,
      );
    }
    checkInteger("CTCLoss", "blank, one of the classes,", this.blank, 0, classes - 1);
    const most = targets.shape[1] as number;
    const inputs = this.lengths("inputLengths", inputLengths, batch, 1, steps);
    const labels = this.lengths("targetLengths", targetLengths, batch, 0, most);
    return composite([logProbabilities, targets], () => {
      const { dtype } = logProbabilities;
      const wide = dtype === "f16" || dtype === "bf16" ? cast(logProbabilities, "f32") : logProbabilities;
      const each = this.losses(wide, targets, inputs, labels);
      if (this.reduction !== "mean") return reduced(each, this.reduction);
      const shares = fromData(
        Float64Array.from(labels, (count) => 1 / Math.max(count, 1)),
        [batch],
        { dtype: each.dtype, backend: each.backend },
      );
      return reduced(mul(each, shares), "mean");
    });
  }

  /** Loss of each sequence, `[batch]`. */
  private losses(x: Tensor, targets: Tensor, inputs: readonly number[], labels: readonly number[]): Tensor {
    const [steps, batch] = x.shape as readonly [number, number];
    const { backend } = x;
    const symbols = this.symbols(targets, labels);
    const places = symbols.shape[1] as number;
    const index = expand(unsqueeze(symbols, 0), [steps, batch, places]);
    const emitted = maximum(gather(x, 2, index), NEVER); //                 [steps, batch, places]
    const skips =
      places < 3
        ? undefined
        : logicalAnd(
            notEqual(symbols, this.blank),
            notEqual(
              symbols,
              pad(
                symbols,
                [
                  [0, 0],
                  [2, -2],
                ],
                { value: this.blank },
              ),
            ), // a label after itself needs a blank between
          );
    const begins = fromData(
      Uint8Array.from({ length: places }, (_, place) => (place < 2 ? 1 : 0)),
      [places],
      {
        dtype: "bool",
        backend,
      },
    );
    const all = inputs.every((length) => length === steps);
    const live = Uint8Array.from({ length: steps * batch }, (_, i) =>
      Math.floor(i / batch) < (inputs[i % batch] as number) ? 1 : 0,
    );
    const goesOn = all ? undefined : fromData(live, [steps, batch, 1], { dtype: "bool", backend });

    // Log-probability to have emitted all up to each place: from the same one, the one before, or the one before a blank.
    const earlier = (from: Tensor, by: number): Tensor =>
      pad(
        from,
        [
          [0, 0],
          [by, -by],
        ],
        { value: NEVER },
      );
    const [first, ...later] = rowsOf(emitted) as [Tensor, ...Tensor[]];
    let reached = where(begins, first, NEVER); //                           [batch, places]
    for (const [index, here] of later.entries()) {
      const ways = [reached];
      if (places > 1) ways.push(earlier(reached, 1));
      if (skips !== undefined) ways.push(where(skips, earlier(reached, 2), NEVER));
      const next = add(logSumExp(stack(ways), { axis: 0 }), here);
      reached = goesOn === undefined ? next : where(slice(goesOn, index + 1), next, reached);
    }

    // It may end with the last label or with a blank behind it.
    const ends = Int32Array.from(labels.flatMap((count) => [2 * count, Math.max(0, 2 * count - 1)]));
    const ended = fromData(Uint8Array.from(labels.flatMap((count) => [1, count > 0 ? 1 : 0])), [batch, 2], {
      dtype: "bool",
      backend,
    });
    const last = gather(reached, 1, fromData(ends, [batch, 2], { backend }));
    const total = logSumExp(where(ended, last, NEVER), { axis: 1 });
    return where(less(total, NEVER / 2), this.zeroInfinity ? 0 : Infinity, neg(total));
  }

  /** Labels with blanks around each of them, `[batch, 2 * most labels + 1]`; blanks behind the labels of a sequence. */
  private symbols(targets: Tensor, labels: readonly number[]): Tensor {
    const [batch, most] = targets.shape as readonly [number, number];
    const { backend, dtype } = targets;
    const blanks = (count: number): Tensor => full([batch, count], this.blank, { dtype, backend });
    if (most === 0) return blanks(1);
    const there = Uint8Array.from({ length: batch * most }, (_, i) =>
      i % most < (labels[Math.floor(i / most)] as number) ? 1 : 0,
    );
    const read = where(fromData(there, [batch, most], { dtype: "bool", backend }), targets, this.blank);
    return concat([reshape(stack([blanks(most), read], 2), [batch, 2 * most]), blanks(1)], 1);
  }

  private lengths(
    name: string,
    lengths: readonly number[] | undefined,
    batch: number,
    low: number,
    high: number,
  ): readonly number[] {
    if (lengths === undefined) return new Array<number>(batch).fill(high);
    if (!Array.isArray(lengths) || lengths.length !== batch)
      throw new OptionError(
        `${this}: ${name} must be a list of ${batch} numbers, one for each sequence, got ${show(lengths)}.`,
      );
    for (const length of lengths) checkInteger(`${this}`, `each of ${name}`, length, low, high);
    return lengths;
  }
}
