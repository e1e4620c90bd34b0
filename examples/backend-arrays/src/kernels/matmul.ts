import { isFloat, type MatmulCall, type Shape } from "@nf/core";
import { axesLast, readAll, writeAll } from "../walk.ts";

/** `matmul`: stacks of matrix products. Zeros are multiplied too, because 0 times NaN is NaN. */
export function matmul({ inputs: [a, b], outputs: [out] }: MatmulCall): void {
  const [rows, columns] = out.shape.slice(-2);
  const depth = a.shape[a.shape.length - 1];
  const left = readAll(a);
  // With its rows last, each column of b is one run, as each row of a is.
  const right = readAll(axesLast(b, [b.shape.length - 2]));
  const multiply = isFloat(out.dtype) ? floatDot : integerDot;
  const product: number[] = [];
  for (let matrix = 0; matrix < count(out.shape.slice(0, -2)); matrix++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const from = (matrix * rows + row) * depth;
        const to = (matrix * columns + column) * depth;
        product.push(multiply(left, from, right, to, depth));
      }
    }
  }
  writeAll(product, out);
}

type Dot = (a: readonly number[], i: number, b: readonly number[], j: number, depth: number) => number;

const count = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);

/** In doubles, whatever the storage. */
const floatDot: Dot = (a, i, b, j, depth) => {
  let sum = 0;
  for (let k = 0; k < depth; k++) sum += a[i + k] * b[j + k];
  return sum;
};

/** Wraps around at 32 bits, as integers do everywhere. */
const integerDot: Dot = (a, i, b, j, depth) => {
  let sum = 0;
  for (let k = 0; k < depth; k++) sum = (sum + Math.imul(a[i + k], b[j + k])) | 0;
  return sum;
};
