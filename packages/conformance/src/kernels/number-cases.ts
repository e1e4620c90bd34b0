import { DTYPES, type DType, type Expr, isFloat, program, scalar as s } from "@nf/core";
import { build, nd } from "../reference/nd.ts";
import { threefry } from "../reference/special.ts";
import type { Source } from "../source.ts";
import { roundTo } from "../values.ts";
import { programCase } from "./map-cases.ts";
import type { KernelCase } from "./run.ts";

/** Halfway between two 16-bit floats, next to that, at the ends of their range, and with all digits of f32. */
const HALFWAY = [
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  -1 - 2 ** -11,
  1 + 2 ** -8,
  1 + 3 * 2 ** -8,
  2049,
  2051,
  2 ** -25,
  3 * 2 ** -25,
  65519,
  65520,
  1 / 3,
  2 / 3,
  -0.1,
] as const;

/** Just inside and outside what integers hold, and what is cut off on the way to them. */
const LIMITS = [
  2 ** 31 - 1,
  2 ** 31 - 128,
  2 ** 31,
  -(2 ** 31),
  -(2 ** 31) - 256,
  2 ** 32 - 1,
  2 ** 32 - 256,
  2 ** 32,
  2 ** 24 + 1,
  1e10,
  -1e10,
  0.99999,
  -0.99999,
  -1,
  127.9,
  255.9,
  256.5,
  -128.9,
] as const;

/** Conversions between all pairs of dtypes that are declared. */
export function castCases(
  from: DType,
  to: readonly DType[],
  shape: readonly number[],
  source: Source,
): KernelCase[] {
  return to.flatMap((dtype) => {
    const made = program("cast", [DTYPES[from].compute], [], ([x]) =>
      s.cast(x as Expr, DTYPES[dtype].compute),
    );
    const plain = programCase(`${from} to ${dtype}`, made, [from], [dtype], shape, source, {
      tolerance: "exact",
    });
    if (!isFloat(from)) return [plain];
    if (!isFloat(dtype)) {
      const limit = (of: DType, own: Source): number => roundTo(of, own.pick(LIMITS));
      const limits = { tolerance: "exact", value: limit } as const;
      return [
        plain,
        programCase(`${from} to ${dtype}, limits`, made, [from], [dtype], shape, source, limits),
      ];
    }
    const digits = (of: DType, own: Source): number =>
      roundTo(of, own.chance(2) ? own.pick(HALFWAY) : (own.bits() - 2 ** 31) / 2 ** 29);
    const rounded = { tolerance: "exact", value: digits } as const;
    return [
      plain,
      programCase(`${from} to ${dtype}, rounded`, made, [from], [dtype], shape, source, rounded),
    ];
  });
}

/** Known answers of Threefry2x32 with 20 rounds, from Random123's own tests. */
const KNOWN: readonly (readonly [readonly number[], readonly number[]])[] = [
  [
    [0, 0, 0, 0],
    [0x6b200159, 0x99ba4efe],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0x1cb996fc, 0xbb002be7],
  ],
  [
    [0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3],
    [0xc4923a9c, 0x483df7a0],
  ],
];

/** Random bits: known answers, and many more against a second implementation. */
export function randomBitCases(source: Source): KernelCase[] {
  const made = program("threefry", ["u32", "u32", "u32", "u32"], [], ([k0, k1, c0, c1]) => [
    s.threefry(0, k0 as Expr, k1 as Expr, c0 as Expr, c1 as Expr),
    s.threefry(1, k0 as Expr, k1 as Expr, c0 as Expr, c1 as Expr),
  ]);
  const random = Array.from({ length: 40 }, () => Array.from({ length: 4 }, () => source.bits()));
  const rows = [...KNOWN.map(([inputs]) => inputs), ...random];
  const shape = [rows.length];
  return [
    {
      label: "threefry2x32",
      parts: { kernel: "map", program: made },
      inputs: [0, 1, 2, 3].map((column) => ({
        dtype: "u32",
        values: nd(
          shape,
          rows.map((row) => row[column]!),
        ),
        distinct: true,
      })),
      outputs: [0, 1].map(() => ({ dtype: "u32", values: build(shape, () => 0) })),
      expected: () =>
        [0, 1].map((word) =>
          rows.map(([k0, k1, c0, c1], i) => KNOWN[i]?.[1][word] ?? threefry([k0!, k1!], [c0!, c1!])[word]!),
        ),
      tolerance: "exact",
    },
  ];
}

/** Bits of one type read as another, and strict programs, which round every operation. */
export function strictCases(dtype: "f32" | "f64", shape: readonly number[], source: Source): KernelCase[] {
  const ordinary = (of: DType, from: Source): number => roundTo(of, from.between(-1000, 1000) / 7);
  const strict = program(
    "strict",
    [dtype, dtype, dtype],
    [],
    ([a, b, c]) =>
      s.div(
        s.sub(s.mul(a as Expr, b as Expr), s.mul(b as Expr, c as Expr)),
        s.sqrt(s.add(s.mul(c as Expr, c as Expr), 1)),
      ),
    { strict: true },
  );
  const cases = [
    programCase("strict arithmetic", strict, [dtype, dtype, dtype], [dtype], shape, source, {
      tolerance: "exact",
      value: ordinary,
    }),
  ];
  if (dtype === "f64") return cases;
  const bits = program("bitcast", ["f32"], [], ([x]) => s.bitcast(x as Expr, "u32"));
  const back = program("bitcast", ["u32"], [], ([x]) => s.bitcast(x as Expr, "f32"));
  cases.push(
    programCase("bits of f32", bits, ["f32"], ["u32"], shape, source, {
      tolerance: "exact",
      value: ordinary,
    }),
    programCase("f32 of bits", back, ["u32"], ["f32"], shape, source, {
      tolerance: "exact",
      value: (_of, from) => 0x3f000000 + from.below(0x2000000),
    }),
  );
  return cases;
}
