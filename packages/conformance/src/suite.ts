import { OptionError } from "@nf/core";
import { checkFunction, show } from "./arguments.ts";
import { type Check, type CreateBackend, widening } from "./check.ts";
import { type SuiteOptions, settingsOf } from "./options.ts";
import { planChecks, skipReasons } from "./plan.ts";
import { Session } from "./session.ts";

/** What the suite needs of a test runner: vitest's, jest's and node:test's `describe` and `it` are such functions. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: RegisterTest;
}

/** Registers a test; where it has a `skip`, checks that are skipped are registered with that, so that they are counted. */
export interface RegisterTest {
  (name: string, body: () => Promise<void>): unknown;
  readonly skip?: (name: string, body: () => Promise<void>) => unknown;
}

/** Options of {@link conformance}. */
export interface ConformanceOptions extends Runner, SuiteOptions {
  /** Told of every check that has nothing to look at, and why; default nothing is done about them. */
  readonly onNotApplicable?: (
    check: { readonly family: string; readonly name: string },
    reason: string,
  ) => void;
}

/**
 * Registers the suite with a test runner: a `describe` for each family, an `it` for each check. Checks of a family
 * share a backend, and the last `it` of a family ends it.
 *
 * A check that does not apply, because the backend does not declare what it looks at, passes. A check that `skip` gives
 * a reason for is registered with the runner's `it.skip` and the reason in its name, or not at all where there is none.
 * A check whose tolerance `widen` makes wider says so in its name.
 *
 * @throws OptionError for an option, a family or a name in `widen` that does not exist, for what is of the wrong kind,
 *   and for what `skip` returns that is no reason
 * @throws BackendError, from the tests, where `createBackend` gives no backend
 */
export function conformance(createBackend: CreateBackend, options: ConformanceOptions): void {
  const settings = settingsOf("conformance", createBackend, options, ["describe", "it", "onNotApplicable"]);
  const { describe, it, onNotApplicable } = options;
  checkRunner(options);
  const plan = planChecks(settings);
  const reasons = skipReasons(plan, settings.skip);
  for (const [family, checks] of plan) {
    describe(family, () => {
      const session = new Session(settings);
      for (const check of checks) {
        const reason = reasons.get(check);
        const body = (): Promise<void> => runCheck(session, check, onNotApplicable);
        const { factor } = widening(settings.widen, family, check.subject);
        const name = factor > 1 ? `${check.name} (tolerance × ${factor})` : check.name;
        if (reason === undefined) it(name, body);
        else it.skip?.(`${name} (${reason})`, body);
      }
      it("leaves nothing behind", () => session.close());
    });
  }
}

/** Refuses what is not a test runner's. @throws OptionError */
function checkRunner({ describe, it, onNotApplicable }: ConformanceOptions): void {
  const from = "such as a test runner's; without one call runConformance";
  checkFunction("conformance", "describe", describe, from);
  checkFunction("conformance", "it", it, from);
  if (it.skip !== undefined && typeof it.skip !== "function")
    throw new OptionError(
      `conformance: it.skip must be a function where there is one, got ${show(it.skip)}.`,
    );
  if (onNotApplicable !== undefined)
    checkFunction(
      "conformance",
      "onNotApplicable",
      onNotApplicable,
      "which is told of a check and the reason",
    );
}

async function runCheck(
  session: Session,
  check: Check,
  onNotApplicable: ConformanceOptions["onNotApplicable"],
): Promise<void> {
  const outcome = await session.run(check);
  if (outcome.state === "failed") throw outcome.error;
  if (outcome.state === "notApplicable") onNotApplicable?.(check, outcome.reason);
}
