import { checkChoice, checkInteger, checkNumber, checkOptions, OptionError } from "@nf/core";
import type { Optimizer } from "../optimizer.ts";
import { checkFlag } from "../options.ts";
import { hasMomentum, LRScheduler, perGroup } from "./scheduler.ts";

/** Options of {@link OneCycleLR}. */
export interface OneCycleLROptions {
  /** The highest rate, one for all parameter groups or one for each. */
  readonly maxLr: number | readonly number[];
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Share of the steps in which the rate rises; default 0.3. */
  readonly pctStart?: number;
  /** How it rises and falls: by half a cosine (default) or in a straight line. */
  readonly annealStrategy?: "cos" | "linear";
  /** Whether momentum (`betas[0]` of Adam and its kind) falls while the rate rises, and the other way round; default true. */
  readonly cycleMomentum?: boolean;
  /** Momentum where the rate is highest, one for all groups or one for each; default 0.85. */
  readonly baseMomentum?: number | readonly number[];
  /** Momentum at the start and in the end, one for all groups or one for each; default 0.95. */
  readonly maxMomentum?: number | readonly number[];
  /** The first rate is `maxLr` over this; default 25. */
  readonly divFactor?: number;
  /** The last rate is the first over this; default 1e4. */
  readonly finalDivFactor?: number;
  /** Fall back to the first rate as slowly as it rose, and only then to the last; default false. */
  readonly threePhase?: boolean;
}

const OPTIONS: readonly (keyof OneCycleLROptions)[] = [
  "maxLr",
  "totalSteps",
  "pctStart",
  "annealStrategy",
  "cycleMomentum",
  "baseMomentum",
  "maxMomentum",
  "divFactor",
  "finalDivFactor",
  "threePhase",
];

/** Where rate and momentum stand. */
type Level = "first" | "top" | "last";

/**
 * One rise of the rate to `maxLr` and one fall far below where it began, over a run whose length is known. The optimiser's own rate
 * and momentum do not matter; behind the last step of the run both stay, where PyTorch's go on. Step it after every `optimizer.step()`. Smith and Topin, "Super-convergence: very fast training
 * of neural networks using large learning rates", 2017.
 *
 * @example
 * ```ts no-run
 * import { Linear } from "@nf/nn";
 * import { OneCycleLR, SGD } from "@nf/optim";
 *
 * const optimizer = new SGD(new Linear(2, 1).parameters(), { momentum: 0.9 });
 * const schedule = new OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 10 * 938 });
 * ```
 */
export class OneCycleLR extends LRScheduler {
  readonly totalSteps: number;
  private readonly maxLrs: readonly number[];
  private readonly momenta: { readonly base: readonly number[]; readonly max: readonly number[] } | undefined;
  private readonly first: number;
  private readonly last: number;
  private readonly cosine: boolean;
  /** Ends of the phases, and where rate and momentum go from and to. */
  private readonly phases: readonly { readonly end: number; readonly from: Level; readonly to: Level }[];

  /** @throws OptionError for what is no optimiser, one without momentum, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: OneCycleLROptions) {
    super(optimizer);
    const name = "OneCycleLR";
    checkOptions(name, options, OPTIONS);
    const { maxLr, totalSteps, pctStart = 0.3, annealStrategy = "cos", cycleMomentum = true } = options ?? {};
    const { baseMomentum = 0.85, maxMomentum = 0.95, divFactor = 25, finalDivFactor = 1e4 } = options ?? {};
    const { threePhase = false } = options ?? {};
    this.totalSteps = checkInteger(name, "totalSteps", totalSteps, 1);
    checkNumber(name, "pctStart", pctStart, 0, 1);
    checkFlag(name, "cycleMomentum", cycleMomentum);
    checkFlag(name, "threePhase", threePhase);
    this.cosine = checkChoice(name, "annealStrategy", annealStrategy, ["cos", "linear"]) === "cos";
    this.maxLrs = perGroup(name, "maxLr", maxLr, optimizer);
    for (const rate of this.maxLrs) checkNumber(name, "maxLr", rate, 0);
    for (const [option, value] of Object.entries({ divFactor, finalDivFactor })) {
      if (!(typeof value === "number" && value > 0))
        throw new OptionError(`${name}: ${option} must be a number above 0, got ${String(value)}.`);
    }
    this.first = 1 / divFactor;
    this.last = this.first / finalDivFactor;
    const rise = pctStart * totalSteps - 1;
    const end = totalSteps - 1;
    this.phases = threePhase
      ? [
          { end: rise, from: "first", to: "top" },
          { end: 2 * pctStart * totalSteps - 2, from: "top", to: "first" },
          { end, from: "first", to: "last" },
        ]
      : [
          { end: rise, from: "first", to: "top" },
          { end, from: "top", to: "last" },
        ];
    this.momenta = cycleMomentum ? momentaOf(optimizer, baseMomentum, maxMomentum) : undefined;
    this.apply();
  }

  /** @throws OptionError beyond the steps of the run. */
  override step(): void {
    const { steps } = this.stateDict();
    if (steps >= this.totalSteps)
      throw new OptionError(
        `OneCycleLR: the run has ${this.totalSteps} steps, and this is step ${steps + 1}. Give the right totalSteps.`,
      );
    super.step();
  }

  override rateAt(_base: number, steps: number, group = 0): number {
    const top = this.maxLrs[group] as number;
    return this.valueAt(steps, { first: top * this.first, top, last: top * this.last });
  }

  override momentumAt(steps: number, group: number): number | undefined {
    if (this.momenta === undefined) return undefined;
    const max = this.momenta.max[group] as number;
    return this.valueAt(steps, { first: max, top: this.momenta.base[group] as number, last: max });
  }

  private valueAt(steps: number, levels: Readonly<Record<Level, number>>): number {
    let start = 0;
    for (const [index, phase] of this.phases.entries()) {
      if (steps <= phase.end || index === this.phases.length - 1) {
        // A phase may have no length, and a loaded state lie beyond the end: it is reached then.
        const share = phase.end > start ? Math.min((steps - start) / (phase.end - start), 1) : 1;
        const [from, to] = [levels[phase.from], levels[phase.to]];
        return this.cosine
          ? to + ((from - to) / 2) * (Math.cos(Math.PI * share) + 1)
          : (to - from) * share + from;
      }
      start = phase.end;
    }
    return levels.last;
  }
}

function momentaOf(
  optimizer: Optimizer,
  baseMomentum: number | readonly number[],
  maxMomentum: number | readonly number[],
): { readonly base: readonly number[]; readonly max: readonly number[] } {
  if (!optimizer.paramGroups.every(hasMomentum)) {
    throw new OptionError(
      `OneCycleLR: ${optimizer.constructor.name} has no momentum and no betas. Pass { cycleMomentum: false }.`,
    );
  }
  const base = perGroup("OneCycleLR", "baseMomentum", baseMomentum, optimizer);
  const max = perGroup("OneCycleLR", "maxMomentum", maxMomentum, optimizer);
  for (const value of base) checkNumber("OneCycleLR", "baseMomentum", value, 0, 1);
  for (const value of max) checkNumber("OneCycleLR", "maxMomentum", value, 0, 1);
  return { base, max };
}
