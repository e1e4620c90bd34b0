import { type Backend, memory, use } from "@nf/core";
import {
  type Check,
  ConformanceError,
  type Context,
  type CreateBackend,
  ErrorNotes,
  makeContext,
  NotApplicable,
  type Widen,
} from "./check.ts";
import { seedOf } from "./source.ts";

/** How a check ended. */
export type Outcome =
  | { readonly state: "passed" }
  | { readonly state: "failed"; readonly message: string; readonly seed: number; readonly error: unknown }
  | { readonly state: "notApplicable"; readonly reason: string };

/** What all sessions of a run share. */
export interface SessionSettings {
  readonly createBackend: CreateBackend;
  readonly createLimited: Context["createLimited"];
  readonly createReference: Context["createReference"];
  readonly seed: number;
  readonly examples: number;
  readonly widen: Widen;
}

/** Runs the checks of one family on one backend, and looks at what each leaves behind. */
export class Session {
  readonly notes: ErrorNotes = new ErrorNotes();
  private readonly settings: SessionSettings;
  private opened: Backend | undefined;
  private failed = false;

  constructor(settings: SessionSettings) {
    this.settings = settings;
  }

  /** The family's backend, created at first use. */
  async backend(): Promise<Backend> {
    this.opened ??= await this.settings.createBackend();
    return this.opened;
  }

  /** Runs a check. */
  async run(check: Check): Promise<Outcome> {
    const seed = seedOf(`${check.family} ${check.name}`, this.settings.seed);
    try {
      const backend = await this.backend();
      await use(backend);
      const before = memory(backend);
      const context = makeContext({ ...this.settings, backend }, check, this.notes, this.settings.widen);
      const seeded: Context = { ...context, seed };
      await check.run(seeded);
      const after = memory(backend);
      const tensors = after.liveTensors - before.liveTensors;
      const buffers = after.liveBuffers - before.liveBuffers;
      if (tensors !== 0 || buffers !== 0)
        context.fail(`leaves ${tensors} tensors and ${buffers} buffers behind`);
      return { state: "passed" };
    } catch (error) {
      if (error instanceof NotApplicable) return { state: "notApplicable", reason: error.message };
      this.failed = true;
      const known = error instanceof ConformanceError;
      const message = known ? error.message : `${check.family} > ${check.name}: ${describeError(error)}`;
      return { state: "failed", message, seed: this.settings.seed, error };
    }
  }

  /**
   * Ends the backend, twice, since the second time must do nothing. Throws if anything was left on it; what a check
   * that failed leaves is no failure of its own.
   */
  async close(): Promise<void> {
    const backend = this.opened;
    if (backend === undefined) return;
    this.opened = undefined;
    const { liveTensors, liveBuffers } = memory(backend);
    await backend.synchronize();
    await backend.dispose();
    await backend.dispose();
    if (!this.failed && (liveTensors !== 0 || liveBuffers !== 0)) {
      throw new ConformanceError(
        `${liveTensors} tensors and ${liveBuffers} buffers are left on the backend after all checks`,
        this.settings.seed,
      );
    }
  }
}

/** An error with its name, as one line and a stack where there is one. */
export function describeError(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
