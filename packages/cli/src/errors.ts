/** A failure to tell the user in one sentence or two; no stack is shown. Exit code 1. */
export class CliError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Arguments that make no sense, with what would. Exit code 2. */
export class UsageError extends CliError {}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
