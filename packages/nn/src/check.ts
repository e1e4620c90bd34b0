import {
  checkChoice,
  checkInteger,
  checkOptions,
  DTypeError,
  Generator,
  OptionError,
  ShapeError,
  Tensor,
} from "@nf/core";

/** One number for all spatial dimensions, or one for each. */
export type PerDimension = number | readonly number[];

/** A setting for each of `dimensions` spatial dimensions, from one number for all or a list. */
export function perDimension(
  layer: string,
  name: string,
  value: PerDimension,
  dimensions: number,
  least: number,
): readonly number[] {
  const list = typeof value === "number" ? new Array<number>(dimensions).fill(value) : value;
  if (!Array.isArray(list) || list.length !== dimensions) {
    throw new OptionError(
      `${layer}: ${name} must be a number or a list of ${dimensions}, got ${showList(value)}.`,
    );
  }
  for (const entry of list) checkInteger(layer, name, entry, least);
  return [...list];
}

/**
 * Refuses an input that is no tensor.
 *
 * @param layer names the layer; put into words only when something is wrong.
 * @throws DTypeError
 */
export function checkInput(layer: { toString(): string }, input: unknown): void {
  if (input instanceof Tensor) return;
  throw new DTypeError(`${layer}: expected a tensor, got ${show(input)}. Make one with tensor(…).`);
}

/** A value that is not what it should be, for messages. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object" || value === null) return String(value);
  const { name } = value.constructor ?? {};
  return name === undefined || name === "Object" ? "an object" : `an object (${name})`;
}

/** A value that should be a list of numbers, for messages: its entries, whatever they are. */
export function showList(value: unknown): string {
  if (!Array.isArray(value)) return show(value);
  return `[${value.map((entry) => (Array.isArray(entry) ? showList(entry) : show(entry))).join(", ")}]`;
}

/** Options that are true or false, in whatever layer: a name means one thing. Those of core's operations are checked there. */
const FLAGS: ReadonlySet<string> = new Set([
  ...["bias", "affine", "elementwiseAffine", "trackRunningStats", "batchFirst", "bidirectional"],
  ...["logInput", "full", "zeroInfinity"],
]);

/**
 * Refuses options that a layer does not have, naming what it has, flags that are neither true nor false, a generator that
 * is none, and a dtype that parameters cannot have.
 * @throws OptionError
 */
export function checkLayerOptions(
  layer: string,
  options: object | undefined,
  allowed: readonly string[],
): void {
  checkOptions(layer, options, allowed);
  for (const [name, value] of Object.entries(options ?? {})) {
    if (name === "dtype" && value !== undefined)
      checkChoice(layer, "dtype", value, ["f32", "f64", "f16", "bf16"]);
    if (FLAGS.has(name) && value !== undefined && typeof value !== "boolean")
      throw new OptionError(`${layer}: ${name} must be true or false, got ${show(value)}.`);
    if (name === "generator" && value !== undefined && !(value instanceof Generator))
      throw new OptionError(`${layer}: generator must be a new Generator(seed), got ${show(value)}.`);
  }
}

/** A list as one number when all entries are equal, for messages. */
export function compact(values: readonly number[]): string {
  return values.every((value) => value === values[0]) ? String(values[0]) : `[${values.join(", ")}]`;
}

/**
 * Refuses an input that is not `[batch, channels, …]` with `dimensions` spatial dimensions and, where given, `channels`.
 *
 * @param layer names the layer; put into words only when something is wrong.
 * @throws DTypeError, ShapeError
 */
export function checkSpatial(
  layer: { toString(): string },
  input: Tensor,
  dimensions: number,
  channels?: number,
): void {
  checkInput(layer, input);
  if (input.rank !== dimensions + 2) {
    const flat = input.rank === 2 ? " It comes after a Flatten or Linear: put it before." : "";
    const unbatched =
      input.rank === dimensions + 1 ? " A single sample needs a batch dimension: unsqueeze(x, 0)." : "";
    throw new ShapeError(
      `${layer}: expected an input of ${dimensions + 2} dimensions ${spatialShape(dimensions, channels)}, ` +
        `got ${shapeText(input)}.${flat}${unbatched}`,
    );
  }
  const got = input.shape[1];
  if (channels !== undefined && got !== channels) {
    throw new ShapeError(
      `${layer}: expected ${channels} input channels, ${spatialShape(dimensions, channels)}, got ${got} in ` +
        `${shapeText(input)}. Make its inChannels ${got}, or the layer before it give ${channels}.`,
    );
  }
}

function spatialShape(dimensions: number, channels: number | undefined): string {
  const sizes = dimensions === 1 ? ["length"] : ["depth", "height", "width"].slice(-dimensions);
  return `[${["batch", channels ?? "channels", ...sizes].join(", ")}]`;
}

/** A shape for a message. */
export function shapeText(tensor: Tensor): string {
  return `[${tensor.shape.join(", ")}]`;
}
