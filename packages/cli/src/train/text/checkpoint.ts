import { generator, NanoFluxError } from "@nf/core";
import { openCheckpoint as openFile, saveCheckpoint as saveFile } from "@nf/io";
import type { Gpt } from "@nf/models";
import type { AdamW } from "@nf/optim";
import { damaged, parseHeader, type RunState, VERSION } from "./header.ts";

/**
 * Writes all that a run needs to go on as if it had not been interrupted: weights, the optimiser's state, and where random
 * numbers stand, with a checksum over all of it. The file appears only whole, in place of an older one.
 */
export async function saveCheckpoint(
  path: string,
  model: Gpt,
  optimizer: AdamW,
  run: RunState,
): Promise<void> {
  const parts = { model, optimizer, random: generator() };
  await saveFile(path, parts, { step: run.step, extra: { version: VERSION, ...run } });
}

/** A checkpoint whose header was read, and whose checksum was found right. */
export interface Checkpoint extends RunState {
  /** Puts weights, optimiser and random numbers where they were, on the model's backend. */
  restore(model: Gpt, optimizer: AdamW): Promise<void>;
}

/**
 * Opens a checkpoint, and checks all of it.
 *
 * @throws CliError for a file that is none, or is damaged anywhere
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const file = await opened(path);
  await file.close();
  const { step, rounds, seconds, settings, backend, text } = parseHeader(file.extra, path);
  return {
    ...{ step, rounds, seconds, settings, backend, text },
    async restore(model, optimizer) {
      // It may have changed since it was opened first.
      const again = await opened(path);
      try {
        await again.load({ model, optimizer, random: generator() });
      } finally {
        await again.close();
      }
    },
  };
}

async function opened(path: string): ReturnType<typeof openFile> {
  try {
    return await openFile(path);
  } catch (error) {
    if (!(error instanceof NanoFluxError)) throw error;
    throw damaged(error.message, { cause: error });
  }
}
