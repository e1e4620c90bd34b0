import { sameShape, showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { cached } from "../cache.ts";
import { type ComputeDType, DTYPES, type DType } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import type { HostArray } from "../tensor/host.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { type CreateOptions, isHostArray, resolveCreate, upload } from "./create.ts";
import { runFused } from "./fused.ts";
import { matmul } from "./matmul.ts";
import type { Op } from "./op.ts";
import {
  checkChoice,
  checkFloat,
  checkInteger,
  checkList,
  checkOptions,
  checkTensor,
  show,
} from "./options.ts";
import { type MapAttributes, mapOp } from "./programs.ts";
import { BLOCK_BYTES, BLOCK_SIZE, blockBytes, packBlocks, type QuantizedFormat } from "./quantized-blocks.ts";
import { reshape, slice, transpose } from "./shape.ts";

/**
 * Weights in blocks of 32 along the last dimension, as GGUF stores them: a plain object, so that scopes, trees and
 * modules meet its bytes as a tensor.
 */
export interface QuantizedTensor {
  readonly format: QuantizedFormat;
  /** Shape of the values. */
  readonly shape: Shape;
  /** The blocks, u8 `[rows, bytes of a row]`. */
  readonly bytes: Tensor;
}

/** Options of {@link quantize} and {@link quantizedFromBytes}. */
export type QuantizeOptions = Pick<CreateOptions, "backend">;

const FORMATS = Object.keys(BLOCK_BYTES) as readonly QuantizedFormat[];

/** Number of rows of a shape whose last dimension is cut into blocks. */
function rowsOf(op: string, shape: Shape): { readonly rows: number; readonly width: number } {
  checkList(op, "shape", shape);
  for (const size of shape) checkInteger(op, "each size", size, 0);
  const width = shape.at(-1);
  if (width === undefined || width === 0 || width % BLOCK_SIZE !== 0) {
    throw new ShapeError(
      `${op}: the last dimension must be a multiple of the block size ${BLOCK_SIZE}, got ${showShape(shape)}.`,
    );
  }
  return { rows: sizeOf(shape.slice(0, -1)), width };
}

/**
 * Quantises host values of a shape, row-major, the way ggml's reference does, bit by bit. `q8_0` keeps 8 bits a value
 * and a 16-bit scale a block (34 bytes for 32 values), `q4_0` 4 bits (18 bytes).
 */
export function quantize(
  values: HostArray,
  shape: Shape,
  format: QuantizedFormat,
  options: QuantizeOptions = {},
): QuantizedTensor {
  checkChoice("quantize", "format", format, FORMATS);
  rowsOf("quantize", shape);
  if (!isHostArray(values))
    throw new DTypeError(`quantize: expected a typed array of numbers, got ${show(values)}.`);
  if (values.length !== sizeOf(shape))
    throw new ShapeError(`quantize: ${values.length} values do not fill the shape ${showShape(shape)}.`);
  return stored("quantize", packBlocks(values, format), shape, format, options);
}

/** Quantised values from the bytes of their blocks, as they lie in a GGUF file. */
export function quantizedFromBytes(
  bytes: Uint8Array,
  shape: Shape,
  format: QuantizedFormat,
  options: QuantizeOptions = {},
): QuantizedTensor {
  checkChoice("quantizedFromBytes", "format", format, FORMATS);
  rowsOf("quantizedFromBytes", shape);
  const expected = blockBytes(format, sizeOf(shape));
  if (!(bytes instanceof Uint8Array))
    throw new DTypeError(`quantizedFromBytes: expected a Uint8Array, got ${show(bytes)}.`);
  if (bytes.length !== expected) {
    throw new ShapeError(
      `quantizedFromBytes: ${showShape(shape)} in ${format} takes ${expected} bytes, got ${bytes.length}.`,
    );
  }
  return stored("quantizedFromBytes", bytes, shape, format, options);
}

function checkQuantized(op: string, x: QuantizedTensor): void {
  const { format, shape, bytes } = x ?? {};
  if (!FORMATS.includes(format) || !Array.isArray(shape) || bytes === undefined)
    throw new DTypeError(`${op}: expected a quantised tensor, got ${show(x)}. Make one with quantize(…).`);
  checkTensor(op, bytes);
  const { rows, width } = rowsOf(op, shape);
  const held = [rows, blockBytes(format, width)];
  if (bytes.dtype !== "u8" || !sameShape(bytes.shape, held)) {
    throw new ShapeError(
      `${op}: the bytes of a ${format} tensor ${showShape(shape)} must be u8 ${showShape(held)}, got ${bytes.dtype} ${showShape(bytes.shape)}.`,
    );
  }
}

function stored(
  op: string,
  bytes: Uint8Array,
  shape: Shape,
  format: QuantizedFormat,
  options: QuantizeOptions,
): QuantizedTensor {
  checkOptions(op, options, ["backend"]);
  const { device } = resolveCreate(op, options, "u8");
  const { rows, width } = rowsOf(op, shape);
  return { format, shape, bytes: upload(op, device, bytes, [rows, blockBytes(format, width)], "u8") };
}

/** The number behind IEEE binary16 bits, given as two bytes. */
function half(low: s.Expr, high: s.Expr): s.Expr {
  const word = (value: number): s.Expr => s.constant(value, "u32");
  const bits = s.or(low, s.shl(high, word(8)));
  const exponent = s.and(s.shr(bits, word(10)), word(31));
  const fraction = s.and(bits, word(1023));
  const moved = s.shl(fraction, word(13));
  const normal = s.or(s.shl(s.add(exponent, word(112)), word(23)), moved);
  const magnitude = s.select(
    s.eq(exponent, 0),
    s.mul(s.cast(fraction, "f32"), 2 ** -24),
    s.bitcast(s.select(s.eq(exponent, 31), s.or(word(0x7f800000), moved), normal), "f32"),
  );
  return s.select(s.ge(bits, 0x8000), s.neg(magnitude), magnitude);
}

/** Whole number behind a stored byte. Of q4_0's, the first 16 values of a block are low nibbles. */
const LEVELS: Readonly<Record<QuantizedFormat, (byte: s.Expr) => s.Expr>> = {
  q8_0: (byte) => s.sub(s.cast(byte, "i32"), s.select(s.ge(byte, 128), s.constant(256, "i32"), 0)),
  q4_0: (byte) => {
    const shift = s.mul(s.cast(s.coordinate(-2), "u32"), 4);
    return s.sub(s.cast(s.and(s.shr(byte, shift), 15), "i32"), 8);
  },
};

const programs = new Map<string, Program>();

function dequantizeProgram(format: QuantizedFormat, compute: ComputeDType): Program {
  return cached(programs, `${format} ${compute}`, () =>
    program("dequantize", ["u32", "u32", "u32"], [], ([low, high, byte]) => {
      const level = s.cast(LEVELS[format](byte as s.Expr), "f32");
      return s.cast(s.mul(half(low as s.Expr, high as s.Expr), level), compute);
    }),
  );
}

const DEQUANTIZE: Op<MapAttributes> = /* @__PURE__ */ mapOp("dequantize");

/** Blocks `[rows, bytes]` as values `[rows, width]`. */
function unpacked(bytes: Tensor, format: QuantizedFormat, width: number, dtype: DType): Tensor {
  const rows = bytes.shape[0] as number;
  const size = BLOCK_BYTES[format];
  const stride = size - 2;
  // A block as a matrix: q4_0 reads its 16 bytes twice, for low and high nibbles.
  const blocks = reshape(bytes, [rows, width / BLOCK_SIZE, 1, size]);
  const part = (start: number, end: number): Tensor => slice(blocks, null, null, null, [start, end]);
  const attributes = {
    program: dequantizeProgram(format, DTYPES[dtype].compute),
    params: [],
    dtypes: [dtype],
    shape: [rows, width / BLOCK_SIZE, BLOCK_SIZE / stride, stride],
  };
  const values = apply(DEQUANTIZE, [part(0, 1), part(1, 2), part(2, size)], attributes)[0] as Tensor;
  return reshape(values, [rows, width]);
}

/** The values of a quantised tensor: scale times whole number, computed on the backend by a program. */
export function dequantize(x: QuantizedTensor, options: { readonly dtype?: DType } = {}): Tensor {
  checkQuantized("dequantize", x);
  checkOptions("dequantize", options, ["dtype"]);
  const dtype = options.dtype ?? "f32";
  if (DTYPES[dtype]?.kind !== "float")
    throw new DTypeError(`dequantize: needs a float dtype, got ${show(dtype)}.`);
  const { width } = rowsOf("dequantize", x.shape);
  return composite([x.bytes], () => reshape(unpacked(x.bytes, x.format, width, dtype), x.shape));
}

interface QuantizedAttributes {
  readonly format: QuantizedFormat;
  readonly inner: number;
  readonly columns: number;
}

/** Inputs x `[rows, inner]` and the blocks of a weight `[columns, inner]`. Bytes have no gradient. */
const QUANTIZED_MATMUL: Op<QuantizedAttributes> = {
  name: "quantizedMatmul",
  forward(inputs, { format, inner, columns }, device) {
    const { shape, dtype } = inputs[0] as Tensor;
    const parts = { kernel: "quantizedMatmul", attributes: { format, inner, columns } } as const;
    return runFused(device, "quantizedMatmul", parts, inputs, [
      { shape: [shape[0] as number, columns], dtype },
    ]);
  },
  decompose([x, bytes], { format, inner }) {
    const weight = unpacked(bytes as Tensor, format, inner, (x as Tensor).dtype);
    return [matmul(x as Tensor, transpose(weight))];
  },
  gradient: {
    save: ([, bytes]) => [bytes as Tensor],
    vjp({ saved: [bytes], gradients: [g], attributes: { format, inner } }) {
      const gradient = g as Tensor;
      return [matmul(gradient, unpacked(bytes as Tensor, format, inner, gradient.dtype)), undefined];
    },
  },
};

/**
 * x Wᵀ with a quantised weight: x `[…, inner]`, weight `[columns, inner]`, result `[…, columns]` in the dtype of x. The
 * gradient reaches x alone.
 */
export function quantizedMatmul(x: Tensor, weight: QuantizedTensor): Tensor {
  checkFloat("quantizedMatmul", x);
  checkQuantized("quantizedMatmul", weight);
  const [columns, inner] = weight.shape as [number, number];
  if (weight.shape.length !== 2 || x.rank === 0 || x.shape.at(-1) !== inner) {
    throw new ShapeError(
      `quantizedMatmul: x ${showShape(x.shape)} does not fit weight ${showShape(weight.shape)}: expected x […, inner] and weight [columns, inner].`,
    );
  }
  const { format, bytes } = weight;
  return composite(together("quantizedMatmul", [x, bytes]), () => {
    const lead = x.shape.slice(0, -1);
    const rows = reshape(x, [sizeOf(lead), inner]);
    const result = apply(QUANTIZED_MATMUL, [rows, bytes], { format, inner, columns })[0] as Tensor;
    return reshape(result, [...lead, columns]);
  });
}
