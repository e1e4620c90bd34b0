import { NanoFluxError } from "@nf/core";

/** Data that is malformed, over a limit, missing, or does not fit together (`NF_DATA`). */
export class DataError extends NanoFluxError {
  constructor(message: string, options?: ErrorOptions) {
    super("NF_DATA", message, options);
  }
}

/** A download that none of its addresses could complete (`NF_DOWNLOAD`). */
export class DownloadError extends NanoFluxError {
  constructor(message: string, options?: ErrorOptions) {
    super("NF_DOWNLOAD", message, options);
  }
}

/** What a caught value says. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // fetch says "fetch failed" and hides why in the cause.
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
