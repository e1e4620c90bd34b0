import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, lay, layouts, numbers, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { einsum, ones, tensor } = core;

/** Einstein's sum by its definition: over all values of all letters. */
function summed(
  terms: string[],
  output: string,
  sizes: Record<string, number>,
  operands: number[][],
): number[] {
  const letters = [...new Set(terms.join(""))];
  const place = (term: string, at: Record<string, number>): number =>
    [...term].reduce((position, letter) => position * sizes[letter]! + at[letter]!, 0);
  const result = new Array<number>([...output].reduce((product, letter) => product * sizes[letter]!, 1)).fill(
    0,
  );
  const walk = (depth: number, at: Record<string, number>): void => {
    const letter = letters[depth];
    if (letter === undefined) {
      result[place(output, at)]! += terms.reduce(
        (product, term, i) => product * operands[i]![place(term, at)]!,
        1,
      );
      return;
    }
    for (let i = 0; i < sizes[letter]!; i++) walk(depth + 1, { ...at, [letter]: i });
  };
  walk(0, {});
  return result;
}

beforeAll(setUp);

describe("einsum", () => {
  it("is its definition, for one to three operands of any layout", () => {
    const letters = ["a", "b", "c", "d"];
    const term = fc.array(fc.constantFrom(...letters), { maxLength: 3 }).map((list) => list.join(""));
    const cases = fc.record({
      terms: fc.array(term, { minLength: 1, maxLength: 3 }),
      pick: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      order: fc.shuffledSubarray(letters, { minLength: 4, maxLength: 4 }),
      sizes: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }),
      choices: fc.tuple(layouts(3), layouts(3), layouts(3)),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ terms, pick, order, sizes, choices, seed }) => {
        scoped(() => {
          const size = Object.fromEntries(letters.map((letter, i) => [letter, sizes[i]!]));
          const output = order.filter((letter, i) => pick[i] && terms.join("").includes(letter)).join("");
          const operands = terms.map((name, i) => {
            const shape = [...name].map((letter) => size[letter]!);
            const { order: axes, flip, still, gap, lead } = choices[i]!;
            const own = axes.filter((axis) => axis < shape.length);
            return lay(shape, { order: own, flip, still, gap, lead }, seed + i).view;
          });
          const expected = summed(terms, output, size, operands.map(valuesOf));
          const result = einsum(`${terms.join(",")}->${output}`, ...operands);
          expect(result.shape).toEqual([...output].map((letter) => size[letter]));
          expectClose(valuesOf(result), expected, { relative: 1e-12, absolute: 1e-12 });
        })();
      }),
      examples(200),
    );
  });

  it("has right gradients to second order", async () => {
    const of = (seed: number, ...shape: number[]): core.Tensor =>
      tensorOf(
        numbers(
          shape.reduce((product, size) => product * size, 1),
          seed,
        ),
        shape,
        "f64",
      );
    const cases: readonly (readonly [string, readonly core.Tensor[]])[] = [
      ["bij,bjk->bik", [of(1, 2, 2, 3), of(2, 2, 3, 2)]],
      ["iij,j->i", [of(3, 2, 2, 3), of(4, 3)]],
      ["...i,ki->...k", [of(5, 2, 1, 3), of(6, 2, 3)]],
      ["ij,jk,ki->", [of(7, 2, 3), of(8, 3, 2), of(9, 2, 2)]],
    ];
    for (const [equation, operands] of cases) {
      await core.gradcheck((...xs) => einsum(equation, ...xs), operands);
      await core.gradcheck((...xs) => einsum(equation, ...xs.map(core.square)), operands, { order: 2 });
    }
  });

  it(
    "runs size 1 along with any size",
    scoped(() => {
      const x = tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]);
      expect(valuesOf(einsum("ij,ij->i", x, ones([1, 3])))).toEqual([6, 15]);
      expect(valuesOf(einsum("ij,jk->ik", x, tensor([[2, 3]])))).toEqual([12, 18, 30, 45]);
      expect(einsum("...ij,...jk->...ik", ones([4, 1, 2, 3]), ones([5, 3, 1])).shape).toEqual([4, 5, 2, 1]);
      expect(valuesOf(einsum("...i->i", x))).toEqual([5, 7, 9]);
    }),
  );

  it(
    "promotes dtypes, takes spaces, scalars and letters of both cases",
    scoped(() => {
      const integers = tensorOf([1, 2, 3], [3], "i32");
      const product = einsum(" i , i -> ", integers, integers);
      expect([product.dtype, product.itemSync()]).toEqual(["i32", 14]);
      expect(einsum("i,i->i", integers, ones([3])).dtype).toBe("f32");
      expect(einsum(",i->i", tensor(2), ones([2])).shape).toEqual([2]);
      expect(einsum("bA", ones([2, 3])).shape).toEqual([3, 2]);
    }),
  );

  it("contracts through matmul where two operands share a sum", () => {
    let products = 0;
    const backend = core.currentBackend();
    const execute = backend.execute.bind(backend);
    backend.execute = (call) => {
      if (call.kernel === "matmul") products++;
      execute(call);
    };
    try {
      scoped(() => {
        einsum("bid,bjd->bij", ones([2, 3, 4]), ones([2, 5, 4]));
        expect(products).toBe(1);
        einsum("abc,dcb->ad", ones([2, 3, 4]), ones([5, 4, 3]));
        expect(products).toBe(2);
        einsum("i,j->ij", ones([2]), ones([3]));
        expect(products).toBe(2);
      })();
    } finally {
      backend.execute = execute;
    }
  });

  it(
    "refuses what it cannot read, and sizes that do not meet",
    scoped(() => {
      const [a, b] = [ones([2, 3]), ones([4, 5])];
      expect(() => einsum("ij,jk->ik", a, b)).toThrow(
        /"j" of "ij,jk->ik" is 3 in one tensor and 4 in tensor 1 of shape \[4, 5\]/,
      );
      expect(() => einsum("ij,jk->ik", a)).toThrow(/2 terms for 1 tensors/);
      expect(() => einsum("ijk->i", a)).toThrow(
        /term "ijk" of "ijk->i" names 3 dimensions, tensor 0 has shape \[2, 3\]/,
      );
      expect(() => einsum("i->i", a)).toThrow(core.ShapeError);
      expect(() => einsum("ij->ik", a)).toThrow(/names "k", which no term has/);
      expect(() => einsum("ij->ii", a)).toThrow(/names "i" twice/);
      expect(() => einsum("ii->i", a)).toThrow(/"i" stands for dimensions of different sizes/);
      for (const equation of ["i1->i", "ij->i->j", "i.j", "......", "ij;jk"])
        expect(() => einsum(equation, a)).toThrow(/cannot read/);
      expect(() => einsum(a as never, a)).toThrow(core.OptionError);
    }),
  );
});
