import { type Backend, fromData, Tensor } from "@nf/core";
import { isRecord } from "./collate.ts";
import { DataError } from "./errors.ts";
import { asNdArray, isTypedArray, NdArray, type TypedArray, toTensorValues } from "./ndarray.ts";

/** A host batch with its arrays turned into tensors; strings, numbers and anything else pass through. */
export type Tensors<Host> = Host extends TypedArray | NdArray
  ? Tensor
  : Host extends string | number
    ? Host
    : Host extends object
      ? { readonly [Key in keyof Host]: Tensors<Host[Key]> }
      : Host;

/**
 * Copies the arrays of a host batch to a backend, by default the one in use: floats as `f32`, integers as `i32`.
 * @throws DataError if there is a tensor in it, which the loader could not free.
 */
export function toTensors<Host>(host: Host, backend?: Backend): Tensors<Host> {
  const options = backend === undefined ? {} : { backend };
  const convert = (value: unknown): unknown => {
    if (value instanceof NdArray || isTypedArray(value)) {
      const { data, shape } = asNdArray(value);
      return fromData(toTensorValues(data), shape, options);
    }
    if (value instanceof Tensor) {
      throw new DataError(
        "DataLoader: collate returned a tensor. It runs ahead of the loop, outside the batch that frees tensors: " +
          "return an NdArray, and the loader makes the tensor.",
      );
    }
    if (Array.isArray(value)) return value.map(convert);
    if (!isRecord(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, convert(item)]));
  };
  return convert(host) as Tensors<Host>;
}
