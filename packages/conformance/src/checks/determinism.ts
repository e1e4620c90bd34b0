import * as nf from "@nf/core";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { type Derivatives, derive } from "../derivatives.ts";
import { type Point, pointOf, readAll, scoped } from "../evaluate.ts";
import { LAYOUTS } from "../layout.ts";
import { type Row, rowName } from "../model.ts";
import { lacking } from "../needs.ts";
import { Source, seedOf } from "../source.ts";
import { check, expectThat } from "./expect.ts";
import { weightsFor } from "./gradient.ts";

const FAMILY = "determinism";

function sameBits(
  context: Context,
  label: string,
  first: ArrayLike<number>,
  second: ArrayLike<number>,
): void {
  for (let i = 0; i < first.length; i++)
    if (!Object.is(first[i], second[i]))
      context.fail(`${label}: element ${i} is ${first[i]} the first time and ${second[i]} the second`);
}

/** Runs something twice and compares all bits. */
async function twice(context: Context, label: string, run: () => readonly nf.Tensor[]): Promise<void> {
  const reads: (readonly ArrayLike<number>[])[] = [];
  for (let time = 0; time < 2; time++) {
    await scoped(run, async (tensors) => {
      reads.push((await readAll(tensors)).map(({ data }) => data));
    });
  }
  reads[0]!.forEach((first, k) => {
    sameBits(context, `${label}, result ${k}`, first, reads[1]![k]!);
  });
}

const flat = ({ results, gradients }: Derivatives): readonly nf.Tensor[] => [
  ...results,
  ...gradients.filter((one) => one !== undefined),
];

/** Every operation of a family, forward and with its gradient. */
async function operations(context: Context, rows: readonly Row[]): Promise<void> {
  let ran = 0;
  for (const row of rows) {
    if (!row.dtypes.includes("f32") || lacking(context.backend, row, "f32", ["reduce"]) !== undefined)
      continue;
    const source = new Source(seedOf(rowName(row), context.seed));
    const points: Point[] = row.instances.flatMap((instance) =>
      [LAYOUTS["contiguous"]!, LAYOUTS["permuted"]!].map((layout) =>
        pointOf(instance, "f32", [layout], source.split()),
      ),
    );
    const weights = points.map((point) =>
      row.order === 0 ? { results: [] } : weightsFor(point, row, 1, source.split()),
    );
    await twice(context, rowName(row), () =>
      points.flatMap((point, i) => flat(derive(row.order === 0 ? still(point) : point, weights[i]!))),
    );
    ran++;
  }
  if (ran === 0) throw new NotApplicable("no operation of the family computes f32 here");
}

/** The point with no operand that a gradient is taken of. */
const still = (point: Point): Point => ({
  ...point,
  instance: {
    ...point.instance,
    operands: point.instance.operands.map((operand) => ({ ...operand, gradient: false })),
  },
});

/** Sums so long that they are cut up: whoever finishes first must not decide the order. */
async function large(context: Context): Promise<void> {
  const missing = undeclared(context.backend, ["map", "reduce", "matmul", "scatter", "scan"], "f32");
  if (missing !== undefined) throw new NotApplicable(missing);
  const source = new Source(context.seed);
  const values = (...shape: number[]): nf.Tensor =>
    nf.fromData(
      Float32Array.from({ length: nf.sizeOf(shape) }, () => source.between(-5000, 5000) / 977),
      shape,
    );
  const scope = new nf.Scope();
  try {
    const [long, a, b] = scope.run(() => [values(70_000), values(65, 301), values(301, 47)] as const);
    const target = scope.run(() =>
      nf.fromData(
        Int32Array.from({ length: 70_000 }, () => source.below(19)),
        [70_000],
        { dtype: "i32" },
      ),
    );
    for (let round = 0; round < 3; round++) {
      await twice(context, "a sum of 70,000 terms", () => [nf.sum(long)]);
      await twice(context, "sums over both axes", () => [
        nf.sum(a, { axis: 0 }),
        nf.mean(a, { axis: 1 }),
        nf.var(a),
      ]);
      await twice(context, "a product of matrices", () => [nf.matmul(a, b)]);
      await twice(context, "70,000 terms scattered to 19 places", () => [
        nf.scatterAdd(nf.zeros([19]), 0, target, long),
      ]);
      await twice(context, "running sums", () => [nf.cumsum(long)]);
    }
  } finally {
    scope.dispose();
  }
}

/** The same seed on two backends made alike. */
async function twoRuns(context: Context): Promise<void> {
  const run = async (): Promise<readonly ArrayLike<number>[]> => {
    let values: readonly ArrayLike<number>[] = [];
    const work = (): readonly nf.Tensor[] => {
      const generator = new nf.Generator(7);
      const x = nf.randn([33, 20], { generator });
      const w = nf.randn([20, 9], { generator });
      const found = nf.grad((one: nf.Tensor) => nf.mean(nf.square(nf.softmax(nf.matmul(x, one)))))(
        w,
      ) as nf.Tensor;
      return [x, nf.dropout(x, { p: 0.3, generator }), found];
    };
    await scoped(work, async (tensors) => {
      values = (await readAll(tensors)).map(({ data }) => data);
    });
    return values;
  };
  const first = await run();
  const other = await context.createBackend();
  let second: readonly ArrayLike<number>[];
  try {
    await nf.use(other);
    second = await run();
  } finally {
    await nf.use(context.backend);
    if (other !== context.backend) await other.dispose();
  }
  expectThat(context, first.length === second.length, "another number of results");
  first.forEach((one, k) => {
    sameBits(context, `result ${k} on a second backend`, one, second[k]!);
  });
}

/** Checks that a call gives the same bits every time. Backends for which that does not hold document it, and skip them. */
export function determinismChecks(rows: readonly Row[]): Check[] {
  const families = [...new Set(rows.map(({ family }) => family))];
  return [
    ...families.map((family) =>
      check(FAMILY, "complete", `${family}: same operands, same bits`, (context) =>
        operations(
          context,
          rows.filter((row) => row.family === family),
        ),
      ),
    ),
    check(FAMILY, "complete", "long sums: same operands, same bits", large),
    check(FAMILY, "complete", "same seed on another backend, same bits", twoRuns),
  ];
}
