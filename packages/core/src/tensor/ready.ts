import { BackendError } from "../errors.ts";

let ready = false;

/** Notes that `use` was called, which completes the Tensor class. */
export function markMethodsReady(): void {
  ready = true;
}

/** Refuses to make a tensor on a given backend before any `use(…)`. */
export function requireMethods(): void {
  if (!ready)
    throw new BackendError(
      "Call await use(backend) once before making tensors, also where each names its backend.",
      "NF_NO_BACKEND",
    );
}
