import { DTypeError, type HostArray } from "@nf/core";
import { storedTensor, type WeightFile } from "../weight-file.ts";
import { decodeStored } from "./decode.ts";

/**
 * The values of a stored tensor on the host, row-major: floats and dequantised blocks as `Float32Array` (f64 as
 * `Float64Array`), 64-bit integers as `Float64Array`, other integers in arrays that hold them. For work before a tensor
 * is made, such as quantising on load.
 *
 * @throws DTypeError if the stored type has no values here.
 * @throws WeightFileError if there is no such tensor.
 */
export async function readValues(file: WeightFile, name: string): Promise<HostArray> {
  const { dtype } = storedTensor(file, name);
  const values = decodeStored(await file.read(name), dtype);
  if (values !== undefined) return values;
  throw new DTypeError(
    `${file.name}: ${name} is stored as ${dtype}, which is not converted here. ` +
      "Convert the model to f16, bf16, q8_0, q4_0, q4_k or q6_k, or read the bytes with file.read.",
  );
}
