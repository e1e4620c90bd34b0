import {
  type Backend,
  checkOptions,
  type DType,
  DTypeError,
  fromBytes,
  fromData,
  isFloat,
  type QuantizedTensor,
  quantizedFromBytes,
  type Tensor,
} from "@nf/core";
import { type StoredType, storedTensor, type WeightFile } from "../weight-file.ts";
import { isDType } from "./decode.ts";
import { readValues } from "./read-values.ts";

/** Options of {@link toTensor}. */
export interface ToTensorOptions {
  /** Element type of the tensor; see {@link toTensor} for the default. */
  readonly dtype?: DType;
  /** Where it lives; default the backend in use. */
  readonly backend?: Backend;
}

/** Options of {@link toQuantized}. */
export type ToQuantizedOptions = Pick<ToTensorOptions, "backend">;

/**
 * A stored tensor as a tensor. Without `dtype`: the stored type where tensors have it; i32 for i64, u64, i16 and u16;
 * f32 for 8-bit floats and for blocks (`q8_0`, `q4_0`, `q4_k`, `q6_k`), which are dequantised on the host.
 *
 * @throws DTypeError if an integer does not fit, floats are asked for as integers, or the stored type has no values here.
 * @throws WeightFileError if there is no such tensor.
 */
export async function toTensor(
  file: WeightFile,
  name: string,
  options: ToTensorOptions = {},
): Promise<Tensor> {
  checkOptions("toTensor", options, ["dtype", "backend"]);
  const { dtype: stored, shape } = storedTensor(file, name);
  const dtype = options.dtype ?? defaultDType(stored);
  const integers = isDType(stored) ? !isFloat(stored) : /^[iu]/.test(stored);
  if (!integers && !isFloat(dtype)) {
    throw new DTypeError(
      `toTensor: ${name} of ${file.name} holds floats (${stored}), and ${dtype} cannot. Choose a float dtype.`,
    );
  }
  const place = options.backend && { backend: options.backend };
  // Nothing is to be converted, so 16-bit floats are not widened on the way.
  if (stored === dtype && isFloat(dtype)) return fromBytes(await file.read(name), shape, { dtype, ...place });
  const values = await readValues(file, name);
  try {
    return fromData(values, shape, { dtype, ...place });
  } catch (error) {
    if (!(error instanceof DTypeError)) throw error;
    throw new DTypeError(`toTensor: ${name} of ${file.name}: ${error.message}`);
  }
}

/**
 * A stored `q8_0` or `q4_0` tensor as it is, for `quantizedMatmul` and `dequantize`.
 *
 * @throws DTypeError for a tensor stored otherwise: make it with `quantize` of its values.
 * @throws WeightFileError if there is no such tensor.
 */
export async function toQuantized(
  file: WeightFile,
  name: string,
  options: ToQuantizedOptions = {},
): Promise<QuantizedTensor> {
  checkOptions("toQuantized", options, ["backend"]);
  const { dtype, shape } = storedTensor(file, name);
  if (dtype !== "q8_0" && dtype !== "q4_0") {
    throw new DTypeError(
      `toQuantized: ${name} of ${file.name} is stored as ${dtype}, not as q8_0 or q4_0. Read it with toTensor and quantise its values with quantize.`,
    );
  }
  return quantizedFromBytes(await file.read(name), shape, dtype, options);
}

function defaultDType(stored: StoredType): DType {
  if (isDType(stored)) return stored;
  return /^[iu]\d/.test(stored) ? "i32" : "f32";
}
