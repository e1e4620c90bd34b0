/** A NanoFlux backend over ordinary JavaScript arrays: small, slow, and complete. */
export { type ArraysOptions, createBackend, createBackend as arrays } from "./backend.ts";
