import {
  add,
  concat,
  DTYPES,
  linear,
  noGrad,
  type QuantizedTensor,
  quantizedMatmul,
  type Shape,
  slice,
  Tensor,
} from "@nf/core";

/** A weight as it is stored: values, or blocks of 8 or 4 bits. */
export type LlamaWeight = Tensor | QuantizedTensor;

/** Matrices of a layer that meet the same input: the name of all together, and theirs. */
export const JOINED: Readonly<Record<string, readonly string[]>> = {
  "attention.qkv": ["attention.q", "attention.k", "attention.v"],
  "feedForward.gateUp": ["feedForward.gate", "feedForward.up"],
};

const held = (weight: LlamaWeight): Tensor => (weight instanceof Tensor ? weight : weight.bytes);

/**
 * Puts matrices with rows of the same kind one under the other, and gives all of them together and each as rows of that.
 * The memory of those that come in is given back. Undefined, and nothing is done, where they are kept in different ways.
 */
export function joinRows(
  parts: readonly LlamaWeight[],
): { readonly whole: LlamaWeight; readonly parts: readonly LlamaWeight[] } | undefined {
  const [first] = parts as readonly [LlamaWeight, ...LlamaWeight[]];
  const kindOf = (weight: LlamaWeight): string => (weight instanceof Tensor ? weight.dtype : weight.format);
  const bytes = parts.reduce((sum, weight) => sum + bytesOf(held(weight)), 0);
  if (parts.some((weight) => kindOf(weight) !== kindOf(first))) return undefined;
  if (bytes > held(first).backend.capabilities.maxBufferBytes) return undefined;
  const like = (rows: Tensor, count: number): LlamaWeight =>
    first instanceof Tensor
      ? rows
      : { format: first.format, shape: [count, first.shape[1] as number], bytes: rows };
  return noGrad(() => {
    const all = concat(parts.map(held)).keep();
    let start = 0;
    const views = parts.map((weight) => {
      const count = weight.shape[0] as number;
      start += count;
      return like(slice(all, [start - count, start]).keep(), count);
    });
    for (const weight of parts) held(weight).dispose();
    return { whole: like(all, start), parts: views };
  });
}

function bytesOf(tensor: Tensor): number {
  return tensor.size * DTYPES[tensor.dtype].bytes;
}

/** What {@link JoinedRows} needs to know of a linear map. */
export interface JoinedPart {
  readonly shape: Shape;
  readonly weight: Tensor | null;
  readonly bytes: Tensor | null;
  readonly bias: Tensor | null;
}

/**
 * Linear maps of the same input, computed in one product: their matrices are rows of one. It is no module, because the
 * weights are those of its parts.
 */
export class JoinedRows {
  private whole: LlamaWeight | null;

  constructor(whole: LlamaWeight) {
    this.whole = whole;
  }

  /**
   * What each map makes of x. Undefined, for this and all further calls, where one of them got other memory since, as when
   * a model was moved to another backend. No gradient is recorded.
   */
  forward(x: Tensor, parts: readonly JoinedPart[]): readonly Tensor[] | undefined {
    const product = this.product(x, parts);
    if (product === undefined) return undefined;
    return noGrad(() => {
      const outer = x.shape.slice(0, -1).map(() => null);
      let start = 0;
      return parts.map(({ shape, bias }) => {
        const count = shape[0] as number;
        start += count;
        const part = slice(product, ...outer, [start - count, start]);
        return bias === null ? part : add(part, bias);
      });
    });
  }

  /** The same side by side and without biases: `[…, rows of all]`. */
  product(x: Tensor, parts: readonly JoinedPart[]): Tensor | undefined {
    const whole = this.of(parts);
    if (whole === null) return undefined;
    return noGrad(() => (whole instanceof Tensor ? linear(x, whole) : quantizedMatmul(x, whole)));
  }

  /** The matrix, as long as the parts are its rows: it is let go of where they are not. */
  of(parts: readonly JoinedPart[]): LlamaWeight | null {
    const { whole } = this;
    if (whole === null) return null;
    const { storage } = held(whole);
    if (parts.every(({ weight, bytes }) => (weight ?? bytes)?.storage === storage)) return whole;
    this.dispose();
    return null;
  }

  /** Lets go of the memory; it is given back once its parts have let go of it, too. */
  dispose(): void {
    if (this.whole !== null) held(this.whole).dispose();
    this.whole = null;
  }
}

/** By layer, and no property of it: a copy of a layer has weights of its own, and ends nothing of the original. */
const joinedRows: WeakMap<object, JoinedRows> = new WeakMap();

/** Lets a layer compute its maps in one product, if their matrices lie together. */
export function joinFor(layer: object, whole: LlamaWeight | undefined): void {
  if (whole !== undefined) joinedRows.set(layer, new JoinedRows(whole));
}

/** What {@link joinFor} was told of this very layer. */
export function joinedOf(layer: object): JoinedRows | undefined {
  return joinedRows.get(layer);
}
