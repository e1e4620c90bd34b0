import { NanoFluxError } from "@nf/core";

/** A training that came to nothing: the loss, or a weight, is no longer a number (`NF_ARITHMETIC`). */
export class DivergedError extends NanoFluxError {
  /** Steps done when it was noticed. */
  readonly step: number;
  /** Path of the last checkpoint, where there is one. */
  readonly checkpoint: string | undefined;

  constructor(message: string, step: number, checkpoint: string | undefined) {
    super("NF_ARITHMETIC", message);
    this.step = step;
    this.checkpoint = checkpoint;
  }
}
