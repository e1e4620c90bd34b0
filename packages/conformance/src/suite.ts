import type { Check, CreateBackend } from "./check.ts";
import { type SuiteOptions, settingsOf } from "./options.ts";
import { planChecks } from "./plan.ts";
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
 *
 * @throws OptionError for an option or a family that does not exist
 */
export function conformance(createBackend: CreateBackend, options: ConformanceOptions): void {
  const { describe, it, onNotApplicable } = options;
  const settings = settingsOf("conformance", options, ["describe", "it", "onNotApplicable"]);
  for (const [family, checks] of planChecks(settings)) {
    describe(family, () => {
      const session = new Session({ ...settings, createBackend });
      for (const check of checks) {
        const reason = settings.skip({ family, name: check.name });
        const body = (): Promise<void> => runCheck(session, check, onNotApplicable);
        if (reason === undefined) it(check.name, body);
        else it.skip?.(`${check.name} (${reason})`, body);
      }
      it("leaves nothing behind", () => session.close());
    });
  }
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
