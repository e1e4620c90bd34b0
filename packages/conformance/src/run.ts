import { type Backend, OptionError, use } from "@nf/core";
import { checkFunction, show } from "./arguments.ts";
import type { Check, CreateBackend } from "./check.ts";
import { type Settings, type SuiteOptions, settingsOf } from "./options.ts";
import { planChecks, skipReasons } from "./plan.ts";
import type { FamilyScore, Reasoned, Scorecard } from "./scorecard.ts";
import { describeError, Session } from "./session.ts";
import { measureSpeed } from "./speed.ts";

/** Where a run is. */
export interface Progress {
  readonly family: string;
  /** Checks of all families that ended. */
  readonly done: number;
  readonly total: number;
}

/** Options of {@link runConformance}. */
export interface RunOptions extends SuiteOptions {
  /** Measures each kernel's speed too; default false. */
  readonly speed?: boolean;
  /** Called after each check. */
  readonly onProgress?: (progress: Progress) => void;
  /** Ends the run before its next check; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignalLike;
}

/** The part of an `AbortSignal` that is used. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
}

/** Refuses what is not of the kind that {@link RunOptions} says. @throws OptionError */
function checkRun({ speed, onProgress, signal }: RunOptions): void {
  const what = "runConformance";
  if (speed !== undefined && typeof speed !== "boolean")
    throw new OptionError(`${what}: speed must be true or false, got ${show(speed)}.`);
  if (onProgress !== undefined)
    checkFunction(what, "onProgress", onProgress, "which is told how far the run is");
  if (signal !== undefined && typeof signal?.aborted !== "boolean")
    throw new OptionError(
      `${what}: signal must be an AbortSignal, like that of an AbortController, got ${show(signal)}.`,
    );
}

const milliseconds = (): number => performance.now();

/**
 * Runs the suite without a test runner and keeps the score. What fails is in the scorecard; the promise rejects only
 * if the backend cannot be created or the signal aborts. Families run one after the other, each on a backend of its
 * own. Whichever backend was in use before is not in use afterwards: call `use` again.
 *
 * @throws OptionError for an option, a family or a name in `widen` that does not exist, for what is of the wrong kind,
 *   and for what `skip` returns that is no reason
 * @throws BackendError where `createBackend` gives no backend
 */
export async function runConformance(
  createBackend: CreateBackend,
  options: RunOptions = {},
): Promise<Scorecard> {
  const settings = settingsOf("runConformance", createBackend, options, ["speed", "onProgress", "signal"]);
  checkRun(options);
  const plan = planChecks(settings);
  const reasons = skipReasons(plan, settings.skip);
  const total = [...plan.values()].reduce((sum, checks) => sum + checks.length, 0);
  const started = milliseconds();
  const name = await nameOf(settings.createBackend);
  const families: FamilyScore[] = [];
  let done = 0;
  for (const [family, checks] of plan) {
    families.push(
      await scoreFamily(family, checks, settings, reasons, () => {
        done++;
        options.onProgress?.({ family, done, total });
        if (options.signal?.aborted === true)
          throw options.signal.reason ?? new Error("The run was aborted.");
      }),
    );
  }
  const speed = options.speed === true ? await measureSpeed(settings.createBackend) : [];
  const count = (of: (one: FamilyScore) => number): number => families.reduce((sum, one) => sum + of(one), 0);
  return {
    backend: name,
    level: settings.level,
    seed: settings.seed,
    examples: settings.examples,
    seconds: (milliseconds() - started) / 1000,
    passed: count(({ passed }) => passed),
    failed: count(({ failed }) => failed),
    skipped: count(({ skipped }) => skipped),
    notApplicable: count(({ notApplicable }) => notApplicable),
    widened: Object.assign({}, ...families.map(({ widened }) => widened)),
    families,
    speed,
  };
}

/** A backend's name, from one that is ended at once. */
async function nameOf(createBackend: CreateBackend): Promise<string> {
  const backend: Backend = await createBackend();
  await use(backend);
  await backend.dispose();
  return backend.name;
}

async function scoreFamily(
  family: string,
  checks: readonly Check[],
  settings: Settings,
  reasons: ReadonlyMap<Check, string | undefined>,
  after: () => void,
): Promise<FamilyScore> {
  const session = new Session(settings);
  const started = milliseconds();
  const failures: { check: string; message: string; seed: number }[] = [];
  const skips: Reasoned[] = [];
  const notApplicables: Reasoned[] = [];
  let passed = 0;
  const { seed } = settings;
  try {
    for (const check of checks) {
      const reason = reasons.get(check);
      if (reason !== undefined) {
        skips.push({ check: check.name, reason });
      } else {
        const outcome = await session.run(check);
        if (outcome.state === "passed") passed++;
        else if (outcome.state === "failed")
          failures.push({ check: check.name, message: outcome.message, seed: outcome.seed });
        else notApplicables.push({ check: check.name, reason: outcome.reason });
      }
      after();
    }
  } catch (error) {
    await session.close().catch(() => undefined);
    throw error;
  }
  try {
    await session.close();
  } catch (error) {
    failures.push({ check: "ending the backend", message: describeError(error), seed });
  }
  return {
    family,
    passed,
    failed: failures.length,
    skipped: skips.length,
    notApplicable: notApplicables.length,
    worstError: session.notes.worstError,
    worstShare: session.notes.worstShare,
    widened: session.notes.widened,
    seconds: (milliseconds() - started) / 1000,
    failures,
    skips,
    notApplicables,
  };
}
