import * as nf from "@nf/core";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { type Derivatives, derive } from "../derivatives.ts";
import { type Point, pointOf, readAll, scoped } from "../evaluate.ts";
import { digits, summed } from "../kernels/terms.ts";
import { LAYOUTS } from "../layout.ts";
import { type Row, rowName } from "../model.ts";
import { lacking } from "../needs.ts";
import { build, groups, matmul, type Nd, sum } from "../reference/nd.ts";
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

/** Runs something twice and compares all bits; gives the results of the first time. */
async function twice(
  context: Context,
  label: string,
  run: () => readonly nf.Tensor[],
): Promise<readonly ArrayLike<number>[]> {
  const reads: (readonly ArrayLike<number>[])[] = [];
  for (let time = 0; time < 2; time++) {
    await scoped(run, async (tensors) => {
      reads.push((await readAll(tensors)).map(({ data }) => data));
    });
  }
  reads[0]!.forEach((first, k) => {
    sameBits(context, `${label}, result ${k}`, first, reads[1]![k]!);
  });
  return reads[0]!;
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

/** A call of {@link large}, and what float64 makes of the same operands. */
interface LongCall {
  readonly label: string;
  readonly run: () => nf.Tensor;
  readonly wanted: readonly number[];
  /** How far roundings move each result, where terms of both signs meet; otherwise results are held against their own size. */
  readonly movement?: readonly number[];
}

const LONG = 70_000;
const PLACES = 19;

function longCalls(source: Source): LongCall[] {
  const values = (shape: readonly number[], low: number, high: number): Nd =>
    build(shape, () => digits("f32", low, high, source));
  const tensor = (x: Nd): nf.Tensor => nf.fromData(Float32Array.from(x.data), x.shape);
  // Sums of terms of one sign are as large as their terms together: naive ones in f32 are off by several times the bound.
  const positive = values([LONG], 0, 5);
  const signed = values([LONG], -5, 5);
  const [a, b] = [values([65, 301], -3, 3), values([301, 47], -3, 3)];
  // All digits of these go into the mean.
  const far = build([LONG], () => Math.fround(1000 + digits("f32", -3, 3, source)));
  const [rows, columns] = [values([2, LONG], 0, 1), values([LONG, 3], 0, 1)];
  const places = Array.from({ length: LONG }, () => source.below(PLACES));
  const met = Array.from({ length: PLACES }, (_, place) =>
    signed.data.filter((_one, i) => places[i] === place),
  );
  const mean = sum(far.data) / LONG;
  const running = new Float64Array(LONG);
  positive.data.reduce((total, value, i) => (running[i] = total + value), 0);
  const size = (list: readonly number[]): number => summed("f32", list);
  const [x, y, z, left, right] = [positive, signed, far, rows, columns].map(tensor) as [
    nf.Tensor,
    nf.Tensor,
    nf.Tensor,
    nf.Tensor,
    nf.Tensor,
  ];
  const [first, second] = [tensor(a), tensor(b)];
  const target = nf.fromData(Int32Array.from(places), [LONG], { dtype: "i32" });
  const [byColumn, byRow] = [groups(a, [0]).lists, groups(a, [1]).lists];
  const what = `${LONG.toLocaleString("en")} terms`;
  return [
    { label: `a sum of ${what}`, run: () => nf.sum(x), wanted: [sum(positive.data)] },
    {
      label: `a sum of ${what} of both signs`,
      run: () => nf.sum(y),
      wanted: [sum(signed.data)],
      movement: [size(signed.data)],
    },
    {
      label: "sums over the first axis",
      run: () => nf.sum(first, { axis: 0 }),
      wanted: byColumn.map(sum),
      movement: byColumn.map(size),
    },
    {
      label: "means over the second axis",
      run: () => nf.mean(first, { axis: 1 }),
      wanted: byRow.map((list) => sum(list) / list.length),
      movement: byRow.map((list) => size(list) / list.length),
    },
    {
      label: `the variance of ${what} far from 0`,
      run: () => nf.var(z, { ddof: 0 }),
      wanted: [sum(far.data.map((value) => (value - mean) ** 2)) / LONG],
    },
    {
      label: "a product of matrices",
      run: () => nf.matmul(first, second),
      wanted: matmul(a, b).data,
      movement: matmul(a, b, (one, other) => Math.abs(one * other)).data.map((one) => size([one])),
    },
    {
      // A sum of products like any other: blocks of it may be added up in turn, all of it may not.
      label: `a product over an inner axis of ${what}`,
      run: () => nf.matmul(left, right),
      wanted: matmul(rows, columns).data,
    },
    {
      // In turn, as scatter is defined: the bound is that of terms of both signs.
      label: `${what} scattered to ${PLACES} places`,
      run: () => nf.scatterAdd(nf.zeros([PLACES]), 0, target, y),
      wanted: met.map(sum),
      movement: met.map(size),
    },
    { label: `running sums of ${what}`, run: () => nf.cumsum(x), wanted: [...running] },
  ];
}

/** Sums so long that they are cut up: whoever finishes first must not decide the order, and none may lose digits. */
async function large(context: Context): Promise<void> {
  const missing = undeclared(context.backend, ["map", "reduce", "matmul", "scatter", "scan"], "f32");
  if (missing !== undefined) throw new NotApplicable(missing);
  const scope = new nf.Scope();
  try {
    const calls = scope.run(() => longCalls(new Source(context.seed)));
    for (const { label, run, wanted, movement } of calls) {
      const first = await twice(context, label, () => [run()]);
      const by = { dtype: "f32", tolerance: movement === undefined ? "rounded" : "summed" } as const;
      context.compare(label, first[0]!, wanted, {
        ...by,
        scale: 0,
        ...(movement && { movement: () => movement }),
      });
      for (let round = 0; round < 2; round++) await twice(context, label, () => [run()]);
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
    check(FAMILY, "complete", "long sums: same operands, same bits, as float64 has them", large),
    check(FAMILY, "complete", "same seed on another backend, same bits", twoRuns),
  ];
}
