import { NanoFluxError } from "@nf/core";

/** A model that could not be fetched from the hub, or is not in the cache (`NF_DOWNLOAD`). */
export class HubError extends NanoFluxError {
  constructor(message: string, options?: ErrorOptions) {
    super("NF_DOWNLOAD", message, options);
  }
}
