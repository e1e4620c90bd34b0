import type { DType, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Operand, Row } from "../model.ts";
import { type Multiply, multiplyIn } from "../reference/integers.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { between, data, edge, FLOATS, NUMBERS, row, shapesText } from "./define.ts";
import { quantizedRows } from "./quantized.ts";

const FAMILY = "products";
/** An einsum sums as `sum` does, which widens integers of 8 bits; where its terms are products of matrices they stay as they are. */
const PRODUCTS: readonly DType[] = [...FLOATS, "i32", "u32"];

function matmulRow(): Row {
  const instance = ([a, b]: readonly (readonly number[])[]): Instance => ({
    label: shapesText(a!, b!),
    operands: [data(a!), data(b!)],
    chain: a!.at(-1)!,
    run: ([x, y]) => nf.matmul(x!, y!),
    reference: ([x, y], dtype) => reference.product(x!, y!, multiplyIn(dtype)),
  });
  const fixed = [
    [
      [3, 4],
      [4, 2],
    ],
    [[4], [4]],
    [[4], [4, 2]],
    [[3, 4], [4]],
    [
      [2, 3, 4],
      [4, 5],
    ],
    [
      [2, 3, 4],
      [2, 4, 1],
    ],
    [
      [2, 1, 3, 4],
      [5, 4, 2],
    ],
    [
      [1, 1],
      [1, 1],
    ],
    [
      [0, 3],
      [3, 2],
    ],
    [
      [3, 0],
      [0, 2],
    ],
    [
      [2, 0, 3],
      [3, 1],
    ],
    [
      [7, 5],
      [5, 9],
    ],
    [
      [1, 2, 1, 2, 3],
      [3, 1],
    ],
  ];
  const sizes = fc.record({
    m: between(1, 6),
    k: between(1, 6),
    n: between(1, 6),
    batch: fc.array(between(1, 3), { maxLength: 2 }),
    one: fc.nat(3),
    kind: fc.nat(5),
  });
  return row(FAMILY, {
    op: "matmul",
    kernels: ["matmul"],
    dtypes: NUMBERS,
    tolerance: "summed",
    instances: fixed.map(instance),
    arbitrary: sizes.map(({ m, k, n, batch, one, kind }) => {
      if (kind === 0) return instance([[k], [...batch, k, n]]);
      if (kind === 1) return instance([[...batch, m, k], [k]]);
      const ones = batch.map((size, i) => (((one >> i) & 1) === 1 ? 1 : size));
      return instance(
        kind === 2
          ? [
              [...ones, m, k],
              [...batch, k, n],
            ]
          : kind === 3
            ? [
                [m, k],
                [...batch, k, n],
              ]
            : [
                [...batch, m, k],
                [...ones, k, n],
              ],
      );
    }),
    edges: [
      edge(
        "no zero is skipped: 0 · NaN is NaN",
        ([x, y]) => nf.matmul(x!, y!),
        [reference.nd([1, 2], [0, 1]), reference.nd([2, 2], [NaN, 1, 2, 3])],
        [NaN, 3],
      ),
      edge(
        "0 · Infinity is NaN",
        ([x, y]) => nf.matmul(x!, y!),
        [reference.nd([1, 2], [0, 1]), reference.nd([2, 1], [Infinity, 1])],
        [NaN],
      ),
    ],
  });
}

/** Sizes beyond a kernel's blocks, and sums beyond what naive accumulation allows. */
function largeMatmul(): Row {
  const instance = (m: number, k: number, n: number): Instance => ({
    label: shapesText([m, k], [k, n]),
    operands: [data([m, k]), data([k, n])],
    chain: k,
    run: ([x, y]) => nf.matmul(x!, y!),
    reference: ([x, y], dtype) => reference.matmul(x!, y!, multiplyIn(dtype)),
  });
  return row(FAMILY, {
    op: "matmul",
    variant: "beyond a block",
    kernels: ["matmul"],
    tolerance: "summed",
    order: 0,
    dtypes: ["f32", "f64", "i32", "u32"],
    instances: [instance(33, 70, 17), instance(65, 9, 130), instance(2, 700, 3)],
    arbitrary: fc.tuple(between(1, 20), between(1, 40), between(1, 20)).map(([m, k, n]) => instance(m, k, n)),
  });
}

/** 16-bit floats add up in f32: 4096 ones and small numbers are not lost. */
function accumulation(): Row {
  const instance = (k: number): Instance => ({
    label: `${k} terms`,
    operands: [
      { shape: [1, k], values: () => new Array<number>(k).fill(1), dense: true },
      {
        shape: [k, 2],
        values: () => Array.from({ length: 2 * k }, (_, i) => (i % 2 === 0 ? 1 : 1 / 8)),
        dense: true,
      },
    ],
    run: ([x, y]) => nf.matmul(x!, y!),
    reference: ([x, y]) => reference.matmul(x!, y!),
  });
  return row(FAMILY, {
    op: "matmul",
    variant: "accumulates in f32",
    kernels: ["matmul"],
    tolerance: "rounded",
    order: 0,
    instances: [instance(4096), instance(300)],
    arbitrary: between(1, 64).map((n) => instance(n * 8)),
  });
}

function linearRow(): Row {
  const instance = ([lead, inner, outer, bias]: readonly [
    readonly number[],
    number,
    number,
    boolean,
  ]): Instance => ({
    label: shapesText([...lead, inner], [outer, inner]) + (bias ? " with bias" : ""),
    operands: [data([...lead, inner]), data([outer, inner]), ...(bias ? [data([outer])] : [])],
    chain: inner,
    run: ([x, weight, shift]) => nf.linear(x!, weight!, shift),
    reference: ([x, weight, shift], dtype) => {
      const result = reference.product(x!, reference.permute(weight!, [1, 0]), multiplyIn(dtype));
      return shift === undefined ? result : reference.map((a, b) => a + b, result, shift);
    },
  });
  return row(FAMILY, {
    op: "linear",
    kernels: ["matmul"],
    dtypes: NUMBERS,
    tolerance: "composed",
    instances: [
      instance([[3], 4, 2, true]),
      instance([[], 4, 2, true]),
      instance([[2, 3], 4, 5, false]),
      instance([[0], 3, 2, true]),
      instance([[1], 1, 1, true]),
    ],
    arbitrary: fc
      .tuple(fc.array(between(1, 3), { maxLength: 2 }), between(1, 5), between(1, 5), fc.boolean())
      .map(instance),
  });
}

function vectorRow(
  op: string,
  call: (a: Tensor, b: Tensor) => Tensor,
  f: (a: Nd, b: Nd, times: Multiply) => Nd,
  pairs: readonly (readonly [number, number])[],
  equal: boolean,
  dtypes: readonly DType[],
): Row {
  const instance = ([n, m]: readonly [number, number]): Instance => ({
    label: shapesText([n], [m]),
    operands: [data([n]), data([m])],
    run: ([x, y]) => call(x!, y!),
    reference: ([x, y], dtype) => f(x!, y!, multiplyIn(dtype)),
  });
  return row(FAMILY, {
    op,
    kernels: op === "dot" ? ["matmul"] : [],
    dtypes,
    tolerance: "composed",
    instances: pairs.map(instance),
    arbitrary: fc.tuple(between(0, 8), between(1, 8)).map(([n, m]) => instance(equal ? [m, m] : [n, m])),
  });
}

/** The sum over all values of all letters, term by term. */
function einsumReference(equation: string, operands: readonly Nd[], times: Multiply): Nd {
  const [left, right] = equation.replaceAll(" ", "").split("->") as [string, string | undefined];
  const covered = left
    .split(",")
    .map((term, i) => operands[i]!.shape.length - term.replace("...", "").length);
  const widest = Math.max(0, ...covered);
  const names = (count: number): string => "ABCDEFG".slice(7 - count);
  const terms = left.split(",").map((term, i) => term.replace("...", names(covered[i]!)));
  const letters = [...new Set(terms.join(""))];
  const once = letters
    .filter((letter) => terms.join("").split(letter).length === 2 && letter >= "a")
    .sort()
    .join("");
  const result = (right ?? `...${once}`).replace("...", names(widest));
  const sizes = new Map<string, number>();
  terms.forEach((term, i) => {
    [...term].forEach((letter, axis) => {
      sizes.set(letter, Math.max(sizes.get(letter) ?? 1, operands[i]!.shape[axis]!));
    });
  });
  const shape = [...result].map((letter) => sizes.get(letter)!);
  const inner = letters.filter((letter) => !result.includes(letter));
  const innerShape = inner.map((letter) => sizes.get(letter)!);
  return reference.build(shape, (index) => {
    const places = new Map([...result].map((letter, i) => [letter, index[i]!]));
    let total = 0;
    for (let k = 0; k < reference.count(innerShape); k++) {
      reference.indexAt(innerShape, k).forEach((place, i) => {
        places.set(inner[i]!, place);
      });
      let term = 1;
      terms.forEach((names_, i) => {
        const x = operands[i]!;
        const place = [...names_].map((letter, axis) => (x.shape[axis] === 1 ? 0 : places.get(letter)!));
        term = times(term, reference.at(x, place));
      });
      total += term;
    }
    return total;
  });
}

function einsumRow(): Row {
  const instance = (equation: string, ...shapes: readonly (readonly number[])[]): Instance => ({
    label: `"${equation}" ${shapesText(...shapes)}`,
    operands: shapes.map((shape): Operand => data(shape, { low: -1, high: 1 })),
    run: (inputs) => nf.einsum(equation, ...inputs),
    reference: (inputs, dtype) => einsumReference(equation, inputs, multiplyIn(dtype)),
  });
  const size = between(1, 4);
  const any = fc.tuple(fc.nat(8), size, size, size, size).map(([kind, a, b, c, d]) => {
    const choices = [
      instance("ij,jk->ik", [a, b], [b, c]),
      instance("bij,bjk->bik", [d, a, b], [d, b, c]),
      instance("ij->ji", [a, b]),
      instance("ii->i", [a, a]),
      instance("ij,ij->", [a, b], [a, b]),
      instance("...ij,...jk->...ik", [d, a, b], [b, c]),
      instance("i,j,k->kij", [a], [b], [c]),
      instance("abc,cd,b->ad", [a, b, c], [c, d], [b]),
      instance("bhqd,bhkd->bhqk", [1, a, b, d], [1, a, c, d]),
    ];
    return choices[kind]!;
  });
  return row(FAMILY, {
    op: "einsum",
    kernels: ["matmul", "reduce"],
    dtypes: PRODUCTS,
    tolerance: "composed",
    instances: [
      instance("ij,jk->ik", [2, 3], [3, 4]),
      instance("ij,jk", [2, 3], [3, 2]),
      instance("ii", [3, 3]),
      instance("ii->i", [3, 3]),
      instance("ij->", [2, 3]),
      instance("i,j->ij", [2], [3]),
      instance("...i,...i->...", [2, 3, 4], [3, 4]),
      instance("bij,bkj->bik", [2, 3, 4], [2, 2, 4]),
      instance("ijk,kl,j->il", [2, 3, 4], [4, 2], [3]),
      instance("iij->j", [2, 2, 3]),
    ],
    arbitrary: any,
  });
}

/** Matrix products and what is made of them. */
export function productRows(): readonly Row[] {
  return [
    matmulRow(),
    largeMatmul(),
    accumulation(),
    vectorRow(
      "dot",
      nf.dot,
      (a, b, times) => reference.scalar(reference.sum(a.data.map((value, i) => times(value, b.data[i]!)))),
      [
        [4, 4],
        [0, 0],
        [1, 1],
      ],
      true,
      NUMBERS,
    ),
    vectorRow(
      "outer",
      nf.outer,
      (a, b, times) =>
        reference.build([a.shape[0]!, b.shape[0]!], ([i, j]) => times(a.data[i!]!, b.data[j!]!)),
      [
        [3, 4],
        [0, 2],
        [1, 1],
      ],
      false,
      NUMBERS,
    ),
    linearRow(),
    einsumRow(),
    ...quantizedRows(),
  ];
}
