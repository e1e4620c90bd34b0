import { NanoFluxError } from "@nf/core";

/** A weight file, or a folder of them, that is malformed, over a limit, missing, or of a kind not read here (`NF_DATA`). */
export class WeightFileError extends NanoFluxError {
  constructor(message: string, options?: ErrorOptions) {
    super("NF_DATA", message, options);
  }
}

/** A tokenizer file that is malformed, missing, or of a kind not read here (`NF_DATA`). */
export class TokenizerError extends NanoFluxError {
  constructor(message: string, options?: ErrorOptions) {
    super("NF_DATA", message, options);
  }
}

/** A checkpoint that is damaged, missing, or lacks something, or that cannot be written (`NF_DATA`). */
export class CheckpointError extends NanoFluxError {
  constructor(message: string, options?: ErrorOptions) {
    super("NF_DATA", message, options);
  }
}

/** What a caught value says. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
