/**
 * Every error NanoFlux throws on purpose. `code` is stable across versions; match on it, not on the message.
 *
 * @example
 * ```ts no-run
 * import { NanoFluxError } from "@nf/core";
 * try {
 *   // …
 * } catch (error) {
 *   if (error instanceof NanoFluxError && error.code === "NF_OUT_OF_MEMORY") {
 *     // make the batch smaller
 *   }
 * }
 * ```
 */
export class NanoFluxError extends Error {
  /** Stable identifier of the kind of fault, for example `NF_SHAPE`. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The stable codes of {@link NanoFluxError} and its subclasses. */
export type ErrorCode =
  | "NF_SHAPE"
  | "NF_DTYPE"
  | "NF_OPTION"
  | "NF_INDEX"
  | "NF_NO_BACKEND"
  | "NF_BACKEND_MIX"
  | "NF_BACKEND"
  | "NF_UNSUPPORTED"
  | "NF_DEAD_TENSOR"
  | "NF_OVERWRITTEN"
  | "NF_GRADIENT"
  | "NF_SCOPE"
  | "NF_OUT_OF_MEMORY"
  | "NF_ARITHMETIC"
  | "NF_VALIDATION"
  | "NF_DATA"
  | "NF_DOWNLOAD";

/** Shapes that do not fit an operation, or each other. */
export class ShapeError extends NanoFluxError {
  constructor(message: string) {
    super("NF_SHAPE", message);
  }
}

/** A dtype that an operation does not take, or two that do not promote to a common one. */
export class DTypeError extends NanoFluxError {
  constructor(message: string) {
    super("NF_DTYPE", message);
  }
}

/** An option that is unknown, or whose value is out of its domain. */
export class OptionError extends NanoFluxError {
  constructor(message: string) {
    super("NF_OPTION", message);
  }
}

/** An index or axis outside its range. */
export class IndexError extends NanoFluxError {
  constructor(message: string) {
    super("NF_INDEX", message);
  }
}

/** No backend chosen, two mixed in one operation, or one that fails or lacks something; `code` says which. */
export class BackendError extends NanoFluxError {
  constructor(
    message: string,
    code: Extract<
      ErrorCode,
      "NF_NO_BACKEND" | "NF_BACKEND_MIX" | "NF_BACKEND" | "NF_UNSUPPORTED"
    > = "NF_BACKEND",
    options?: ErrorOptions,
  ) {
    super(code, message, options);
  }
}

/** A tensor whose memory was given back, or whose value was overwritten, is used; `code` says which. */
export class LifetimeError extends NanoFluxError {
  constructor(
    message: string,
    code: Extract<ErrorCode, "NF_DEAD_TENSOR" | "NF_OVERWRITTEN"> = "NF_DEAD_TENSOR",
  ) {
    super(code, message);
  }
}

/** Something that cannot be differentiated, or a graph that was already consumed. */
export class GradientError extends NanoFluxError {
  constructor(message: string) {
    super("NF_GRADIENT", message);
  }
}

/** A synchronous construct (`scope`, `noGrad`, …) was given an asynchronous callback, or scopes were closed out of order. */
export class ScopeError extends NanoFluxError {
  constructor(message: string) {
    super("NF_SCOPE", message);
  }
}

/** A backend could not provide the memory asked for. */
export class OutOfMemoryError extends NanoFluxError {
  /** Bytes that were asked for. */
  readonly requestedBytes: number;
  /** The limit that was hit in bytes, where the backend knows it. */
  readonly limitBytes: number | undefined;

  constructor(message: string, requestedBytes: number, limitBytes?: number) {
    super("NF_OUT_OF_MEMORY", message);
    this.requestedBytes = requestedBytes;
    this.limitBytes = limitBytes;
  }
}

/** A checked computation failed inside a kernel: integer division by zero, an index out of range. */
export class ArithmeticError extends NanoFluxError {
  constructor(message: string) {
    super("NF_ARITHMETIC", message);
  }
}

/** The `validate` decorator found a NaN, a view out of bounds or a use after free. */
export class ValidationError extends NanoFluxError {
  constructor(message: string) {
    super("NF_VALIDATION", message);
  }
}
