import {
  compareBackends,
  formatComparison,
  formatScorecard,
  type Progress,
  runConformance,
  type Scorecard,
} from "@nf/conformance";
import { OptionError } from "@nf/core";
import { type BackendFactory, findBackend, SHORT_NAMES } from "../backends.ts";
import { messageOf, UsageError } from "../errors.ts";
import { orList } from "../format.ts";
import { EXIT, type Io, say, stopCode } from "../io.ts";
import type { CompareOptions, ConformanceOptions } from "../options.ts";
import { createCounter } from "../progress/counter.ts";

/** Backend that random graphs are compared with, where it is installed. */
const REFERENCE = "cpu";

/** Room that is offered to find out whether a backend takes a limit. */
const TRIAL_BYTES = 2 ** 24;

/** `nf conformance`: a scorecard of one backend, or with `--compare` the differences between two. */
export async function runConformanceCommand(
  io: Io,
  backend: string | undefined,
  options: ConformanceOptions,
): Promise<number> {
  const { compare } = options;
  if (compare === undefined) {
    if (backend !== undefined) return runScorecard(io, backend, options);
    throw new UsageError(
      `Name the backend to check: nf conformance ${orList(SHORT_NAMES)}, or an installed package.`,
    );
  }
  const [first, second, ...more] = compare;
  if (backend !== undefined || first === undefined || second === undefined || more.length > 0)
    throw new UsageError(
      "--compare takes two backends and nothing beside them: nf conformance --compare cpu wasm",
    );
  return runComparison(io, first, second, options);
}

/** What a backend can do and how well. Exit code 1 if any check failed. */
async function runScorecard(io: Io, name: string, options: ConformanceOptions): Promise<number> {
  const create = await findBackend(name, io.importModule);
  // Told at once, instead of from within every family.
  await (await create()).dispose();
  const limited = await limitedFrom(create, (note) => say(io.stderr, note));
  const reference = await referenceFrom(io);
  const counter = createCounter(io.stderr, `conformance of ${name}`);
  let card: Scorecard;
  try {
    card = await runConformance(create, {
      level: options.level,
      ...(options.seed !== undefined && { seed: options.seed }),
      ...(options.examples !== undefined && { examples: options.examples }),
      ...(options.family !== undefined && { families: options.family }),
      ...(limited !== undefined && { limited }),
      ...(reference !== undefined && { reference }),
      speed: options.speed,
      signal: io.signal,
      onProgress: ({ family, done, total }: Progress) => counter.update(done, total, family),
    });
  } catch (error) {
    if (io.signal.aborted) {
      if (options.json)
        say(io.stdout, JSON.stringify({ backend: name, level: options.level, stopped: true }));
      say(io.stderr, "Stopped before the last check.");
      return stopCode(io.signal);
    }
    if (error instanceof OptionError) throw new UsageError(error.message, { cause: error });
    throw error;
  } finally {
    counter.stop();
  }
  if (options.json) say(io.stdout, JSON.stringify({ ...card, stopped: false }));
  else say(io.stdout, formatScorecard(card));
  return card.failed > 0 ? EXIT.failed : EXIT.done;
}

/** How far the results of two backends are apart. */
async function runComparison(io: Io, a: string, b: string, options: CompareOptions): Promise<number> {
  const [first, second] = [await findBackend(a, io.importModule), await findBackend(b, io.importModule)];
  say(io.stderr, `comparing ${a} with ${b} …`);
  const comparison = await compareBackends(first, second, {
    ...(options.seed !== undefined && { seed: options.seed }),
    ...(options.examples !== undefined && { examples: options.examples }),
  });
  say(io.stdout, options.json ? JSON.stringify(comparison) : formatComparison(comparison));
  return EXIT.done;
}

/** Backends with a limit of memory, where `createBackend` takes `maxBytes`. */
async function limitedFrom(
  create: BackendFactory,
  note: (line: string) => void,
): Promise<((maxBytes: number) => ReturnType<BackendFactory>) | undefined> {
  try {
    await (await create({ maxBytes: TRIAL_BYTES })).dispose();
    return (maxBytes) => create({ maxBytes });
  } catch (error) {
    note(
      `running out of memory is not checked: createBackend({ maxBytes }) is refused (${messageOf(error)})`,
    );
    return undefined;
  }
}

async function referenceFrom(io: Io): Promise<BackendFactory | undefined> {
  try {
    return await findBackend(REFERENCE, io.importModule);
  } catch {
    // Random graphs are then held against float64 on the backend itself, where it computes that.
    return undefined;
  }
}
