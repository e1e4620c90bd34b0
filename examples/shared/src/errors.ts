/** Arguments that make no sense, or a machine that lacks what they ask for. The command prints the message alone. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UsageError";
  }
}
