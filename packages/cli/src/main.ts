import { createRequire } from "node:module";
import { NanoFluxError } from "@nf/core";
import { CommanderError } from "commander";
import { runBackends } from "./commands/backends.ts";
import { CliError, UsageError } from "./errors.ts";
import { EXIT, type Io, say } from "./io.ts";
import { choicesAfter, createProgram } from "./program.ts";

/** Version of this package, from its manifest. */
function version(): string {
  const manifest: unknown = createRequire(import.meta.url)("../package.json");
  if (typeof manifest === "object" && manifest !== null && "version" in manifest)
    return String(manifest.version);
  return "unknown";
}

/**
 * Runs `nf`: reads the arguments, does what they ask, and gives the exit code. It reads and writes nothing of the
 * process itself, only what `io` holds; errors are told on `io.stderr`.
 *
 * @returns 0 when it went well, 1 for a failure, 2 for arguments that are wrong, 130 or 143 when it was stopped
 */
export async function main(io: Io): Promise<number> {
  let code: number = EXIT.done;
  const program = createProgram(
    io,
    version(),
    {
      // Loaded when it is known which is wanted: help and refusals come at once.
      backends: (options) => runBackends(io, options),
      inspect: async (model, options) =>
        (await import("./commands/inspect.ts")).runInspect(io, model, options),
      trainLenet: async (options) =>
        (await import("./commands/train.ts")).runTrainLenet(io, options, version()),
      trainNanogpt: async (options) =>
        (await import("./commands/train.ts")).runTrainNanogpt(io, options, version()),
      conformance: async (backend, options) =>
        (await import("./commands/conformance.ts")).runConformanceCommand(io, backend, options),
      generate: async (folder, options) =>
        (await import("./commands/generate.ts")).runGenerate(io, folder, options),
      chat: async (folder, options) => (await import("./commands/chat.ts")).runChat(io, folder, options),
    },
    (result) => {
      code = result;
    },
  );
  try {
    await program.parseAsync([...io.argv], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.done;
      const choices = choicesAfter(program, io.argv, error.code);
      if (choices !== "") say(io.stderr, choices);
      return EXIT.usage;
    }
    return tell(io, error);
  }
}

/** Tells of a failure; one that nobody foresaw comes with its stack. */
function tell(io: Io, error: unknown): number {
  const foreseen = error instanceof CliError || error instanceof NanoFluxError;
  const detail =
    error instanceof Error ? (foreseen ? error.message : (error.stack ?? error.message)) : String(error);
  say(io.stderr, `error: ${detail}`);
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}
