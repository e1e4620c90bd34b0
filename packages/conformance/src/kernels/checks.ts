import { DTYPE_NAMES, type DType, isFloat, type RequiredKernel, type Support } from "@nf/core";
import fc from "fast-check";
import { between, shapes } from "../cases/define.ts";
import { type Check, type Context, NotApplicable, requireDType, undeclared } from "../check.ts";
import { checkProperty } from "../checks/property.ts";
import { anyLayout, LAYOUTS, type Layout } from "../layout.ts";
import { Source } from "../source.ts";
import { roundTo } from "../values.ts";
import { CHOICES, type Choice } from "./choices.ts";
import { longChecks } from "./long-lines.ts";
import { formCases, operationCases, parameterCases } from "./map-cases.ts";
import { layOut } from "./memory.ts";
import { castCases, randomBitCases, strictCases } from "./number-cases.ts";
import { epilogueCase, gatherCase, matmulCase, scatterCase, sortCase } from "./other-cases.ts";
import { rangeCases } from "./ranges.ts";
import { argReduceCase, reduceCase, scanCase, sumCase } from "./reduce-cases.ts";
import { type KernelCase, laidCall, runCase } from "./run.ts";
import { digits } from "./terms.ts";

const FAMILY = "kernels";
const SHAPES: readonly (readonly number[])[] = [[7], [3, 4], [1, 5, 1], [2, 3, 4], [2, 1, 3, 2, 2]];
/** Calls of each shape in the fixed cases. */
const FIXED = 12;
const NUMBERS = DTYPE_NAMES.filter((dtype) => dtype !== "bool");

type Make = (dtype: DType, shape: readonly number[], choice: Choice, source: Source) => KernelCase;

/** Dtypes that a kernel makes sense for, and its cases. */
const KERNELS: Readonly<
  Record<Exclude<RequiredKernel, "map">, { readonly dtypes: readonly DType[]; readonly make: Make }>
> = {
  reduce: { dtypes: DTYPE_NAMES, make: reduceCase },
  argReduce: { dtypes: DTYPE_NAMES, make: argReduceCase },
  matmul: { dtypes: NUMBERS, make: matmulCase },
  gather: { dtypes: DTYPE_NAMES, make: gatherCase },
  scatter: { dtypes: DTYPE_NAMES, make: scatterCase },
  scan: { dtypes: NUMBERS, make: scanCase },
  sort: { dtypes: DTYPE_NAMES, make: sortCase },
};

/** Shapes beyond the blocks and tiles that kernels cut their work into, a step more than a whole number of them. */
const LONG: readonly (readonly number[])[] = [
  [2, 129],
  [131, 3],
  [1, 385],
];
/** Likewise of products: batch, columns, inner, rows. */
const LONG_PRODUCTS: readonly (readonly number[])[] = [
  [9, 129, 1],
  [1, 257, 3],
  [17, 65, 18],
  [2, 5, 33, 18],
];

/** Every kind and form of a kernel's calls, over some of the axes. */
function everyForm(
  kernel: RequiredKernel,
  make: Make,
  dtype: DType,
  shape: readonly number[],
  source: Source,
): KernelCase[] {
  // Products have no form but values that are special in one of four.
  const length = kernel === "matmul" ? 4 : CHOICES / 32;
  return Array.from({ length }, (_, form) => make(dtype, shape, 32 * form + source.below(32), source));
}

/** Layouts of the views of a case: all of one kind, then kinds mixed. */
function mixtures(): readonly (readonly [string, readonly Layout[]])[] {
  const kinds = Object.entries(LAYOUTS);
  const alone = kinds.map(([name, layout]) => [`${name} views`, [layout]] as const);
  const mixed = kinds.map(
    ([name, layout], i) =>
      [
        `${name} and other views`,
        [layout, kinds[(i + 3) % kinds.length]![1], kinds[(i + 5) % kinds.length]![1]],
      ] as const,
  );
  return [...alone, ...mixed];
}

async function everyLayout(context: Context, cases: readonly KernelCase[]): Promise<void> {
  const choices = mixtures();
  let next = 0;
  for (const test of cases) {
    // Every case on dense views and on two other mixtures in turn: all kinds come up many times.
    for (const i of [0, 1 + (next++ % (choices.length - 1)), 1 + (next++ % (choices.length - 1))]) {
      const [label, layouts] = choices[i]!;
      await runCase(context, test, layouts, label);
    }
  }
}

interface Example {
  readonly shape: readonly number[];
  readonly choice: number;
  readonly layouts: readonly Layout[];
  readonly seed: number;
}

const anyExample: fc.Arbitrary<Example> = fc.record({
  shape: shapes(1, 5, 5, 1),
  choice: between(0, CHOICES - 1),
  layouts: fc.array(anyLayout, { minLength: 3, maxLength: 3 }),
  seed: fc.nat(0x7fffffff),
});

const show = ({ shape, choice, layouts, seed }: Example): string =>
  `[${shape.join(", ")}], choice ${choice}, values ${seed}, layouts ${JSON.stringify(layouts)}`;

function property(
  context: Context,
  cases: (example: Example, source: Source) => readonly KernelCase[],
): Promise<void> {
  return checkProperty(
    context,
    anyExample,
    async (batch) => {
      for (const example of batch) {
        for (const test of cases(example, new Source(example.seed)))
          await runCase(context, test, example.layouts, "random layouts");
      }
    },
    show,
  );
}

function mapChecks(): Check[] {
  const common = { family: FAMILY, subject: "map" } as const;
  const declared = ({ backend }: Context): readonly DType[] =>
    DTYPE_NAMES.filter((dtype) => undeclared(backend, ["map"], dtype) === undefined);
  const mapProperty = async (context: Context): Promise<void> => {
    const types = declared(context);
    await property(context, ({ shape, choice }, source) => {
      const dtype = types[choice % types.length]!;
      const all = [...operationCases(dtype, shape, source), ...formCases(dtype, shape, source)];
      return [all[choice % all.length]!];
    });
  };
  return [
    ...DTYPE_NAMES.flatMap((dtype): Check[] => [
      {
        ...common,
        level: "kernels",
        name: `map: every scalar operation of ${dtype}`,
        run: (context) => {
          requireDType(context.backend, ["map"], dtype);
          return everyLayout(context, operationCases(dtype, [3, 17], new Source(context.seed)));
        },
      },
      {
        ...common,
        level: "kernels",
        name: `map: every form of program, views of every kind, ${dtype}`,
        run: (context) => {
          requireDType(context.backend, ["map"], dtype);
          const source = new Source(context.seed);
          return everyLayout(
            context,
            SHAPES.flatMap((shape) => [
              ...formCases(dtype, shape, source),
              ...parameterCases(dtype, shape, source),
            ]),
          );
        },
      },
      {
        ...common,
        level: "kernels",
        name: `map: ${dtype} to every dtype`,
        run: (context) => {
          requireDType(context.backend, ["map"], dtype);
          return everyLayout(context, castCases(dtype, declared(context), [5, 23], new Source(context.seed)));
        },
      },
    ]),
    ...(["f32", "f64"] as const).map(
      (dtype): Check => ({
        ...common,
        level: "kernels",
        name: `map: strict programs of ${dtype}`,
        run: (context) => {
          requireDType(context.backend, ["map"], dtype);
          return everyLayout(context, strictCases(dtype, [4, 50], new Source(context.seed)));
        },
      }),
    ),
    ...(["f32", "f64"] as const).map(
      (dtype): Check => ({
        ...common,
        level: "kernels",
        name: `map: functions of ${dtype} over their ranges`,
        run: async (context) => {
          requireDType(context.backend, ["map"], dtype);
          for (const test of rangeCases(dtype, new Source(context.seed)))
            await runCase(context, test, [LAYOUTS["contiguous"]!], "contiguous views");
        },
      }),
    ),
    {
      ...common,
      level: "kernels",
      name: "map: random bits",
      run: (context) => everyLayout(context, randomBitCases(new Source(context.seed))),
    },
    {
      ...common,
      level: "kernels",
      name: "map: long lines",
      run: (context) => everyLayout(context, formCases("f32", [2, 2500], new Source(context.seed))),
    },
    { ...common, level: "complete", name: "map on random examples", run: mapProperty },
  ];
}

function supports(support: Support): string | undefined {
  return typeof support === "string" ? undefined : support.reason;
}

/** A product with an epilogue, on the backends that take one. */
async function epilogue(context: Context): Promise<void> {
  const { backend, seed } = context;
  const source = new Source(seed);
  const types = NUMBERS.filter(
    (dtype) => isFloat(dtype) && undeclared(backend, ["matmul"], dtype) === undefined,
  );
  let ran = 0;
  let reason = "matmul declares no float dtype";
  for (const dtype of types) {
    for (const shape of [
      [4, 3, 5],
      [2, 3, 4, 2],
    ]) {
      const test = epilogueCase(dtype, shape, source);
      const inputs = test.inputs.map(({ dtype: own, values }) =>
        layOut(backend, own, values, LAYOUTS["contiguous"]!),
      );
      const outputs = test.outputs.map(({ dtype: own, values }) =>
        layOut(backend, own, values, LAYOUTS["contiguous"]!),
      );
      const declined = supports(backend.supports(laidCall(test.parts, [], inputs, outputs)));
      for (const { buffer } of [...inputs, ...outputs]) backend.free(buffer);
      if (declined !== undefined) {
        reason = declined;
        continue;
      }
      ran++;
      await runCase(context, test, [LAYOUTS["contiguous"]!], "contiguous views");
    }
  }
  if (ran === 0) throw new NotApplicable(reason);
}

/** 16-bit weights on the right of f32, which a backend that declares them widens inside the kernel. */
async function wideningMatmul(context: Context, weights: DType): Promise<void> {
  const { backend, seed } = context;
  if (backend.capabilities.matmulWeights?.includes(weights) !== true)
    throw new NotApplicable(`matmulWeights does not declare ${weights}`);
  const source = new Source(seed);
  // Beside the usual shapes a single row, and long lines, where kernels take other ways.
  const shapes = [...SHAPES.filter((shape) => shape.length >= 3), ...LONG_PRODUCTS];
  await everyLayout(
    context,
    shapes.map((shape) => matmulCase("f32", shape, source.below(CHOICES), source, weights)),
  );
}

/**
 * Sums of many terms must be accurate: a naive f32 sum of these is off by several times more than promised. Their terms
 * have one sign, so that the bound is relative to the sum.
 */
async function longSums(context: Context): Promise<void> {
  const { backend } = context;
  for (const dtype of (["f32", "f64", "f16", "bf16"] as const).filter(
    (one) => undeclared(backend, ["reduce"], one) === undefined,
  )) {
    const source = new Source(context.seed);
    // 16-bit floats reach less far: their sums stay below 64.
    const factor = dtype === "f16" || dtype === "bf16" ? 2 ** -10 : 1;
    for (const [shape, axis, same = false] of [
      [[1, 65536], 1],
      [[1, 65535], 1, true],
      [[65536, dtype === "f32" ? 3 : 1], 0],
      [[3, 4099], 1],
      [[2051, 2], 0],
    ] as const) {
      // Where all terms are the same number, naive sums round to one side most of the time.
      const term = (): number => roundTo(dtype, factor * (same ? 1 / 3 : digits(dtype, 0, 1, source)));
      const data = Array.from({ length: shape[0] * shape[1] }, term);
      const test = sumCase(dtype, { shape, data }, axis);
      await runCase(context, test, [LAYOUTS["contiguous"]!], "contiguous views");
    }
  }
}

/** Checks of the eight required kernels, called directly on views of every kind. */
export function kernelChecks(): Check[] {
  const checks = mapChecks();
  for (const [kernel, { dtypes, make }] of Object.entries(KERNELS) as [
    RequiredKernel,
    { dtypes: readonly DType[]; make: Make },
  ][]) {
    const common = { family: FAMILY, subject: kernel } as const;
    for (const dtype of dtypes) {
      checks.push({
        ...common,
        level: "kernels",
        name: `${kernel} of ${dtype}, views of every kind`,
        run: (context) => {
          requireDType(context.backend, [kernel], dtype);
          const source = new Source(context.seed);
          const cases = SHAPES.flatMap((shape) =>
            Array.from({ length: FIXED }, () => make(dtype, shape, source.below(CHOICES), source)),
          );
          return everyLayout(context, cases);
        },
      });
      checks.push({
        ...common,
        level: "kernels",
        name: `${kernel} of ${dtype}, beyond a block`,
        run: (context) => {
          requireDType(context.backend, [kernel], dtype);
          const source = new Source(context.seed);
          const shapes = kernel === "matmul" ? LONG_PRODUCTS : LONG;
          return everyLayout(
            context,
            shapes.flatMap((shape) => everyForm(kernel, make, dtype, shape, source)),
          );
        },
      });
    }
    checks.push({
      ...common,
      level: "complete",
      name: `${kernel} on random examples`,
      run: (context) => {
        const types = dtypes.filter((dtype) => undeclared(context.backend, [kernel], dtype) === undefined);
        return property(context, ({ shape, choice }, source) => [
          make(types[choice % types.length]!, shape, choice, source),
        ]);
      },
    });
  }
  checks.push(
    {
      family: FAMILY,
      subject: "matmul",
      level: "kernels",
      name: "matmul with an epilogue, where taken",
      run: epilogue,
    },
    ...(["f16", "bf16"] as const).map(
      (weights): Check => ({
        family: FAMILY,
        subject: "matmul",
        level: "kernels",
        name: `matmul of f32 and ${weights} weights, views of every kind`,
        run: (context) => wideningMatmul(context, weights),
      }),
    ),
    {
      family: FAMILY,
      subject: "reduce",
      level: "kernels",
      name: "reduce: sums of 65,536 terms",
      run: longSums,
    },
    ...longChecks(),
  );
  return checks;
}
