import { DTYPES, type DType, type Expr, makeView, program, scalar as s, softmax } from "@nf/core";
import { data } from "../cases/define.ts";
import { softmax as softmaxOf, softmaxRows } from "../cases/softmax.ts";
import { type Check, type Context, NotApplicable, requireDType, undeclared } from "../check.ts";
import { runPoints } from "../checks/forward.ts";
import { pointOf } from "../evaluate.ts";
import { DENSE } from "../layout.ts";
import type { Instance } from "../model.ts";
import { lacking } from "../needs.ts";
import { lines, type Nd, nd } from "../reference/nd.ts";
import { Source } from "../source.ts";
import type { Choice } from "./choices.ts";
import { gatherCase, sortCase } from "./other-cases.ts";
import { argReduceCase, scanCase } from "./reduce-cases.ts";
import { callOf, type KernelCase, runCase } from "./run.ts";

/** Longer than what 16 bits count, and no multiple of anything that kernels cut their work into. */
const LENGTH = 70_001;
/** More than 65,535 groups of 256: what a GPU takes in one dimension of one call. In u8 it is 17 MB. */
const MANY = 65_535 * 256 + 41;

/** Whole numbers of which the greatest and the least stand near the end. */
function towardsTheEnd(source: Source): Nd {
  const values = Array.from({ length: LENGTH }, () => source.below(60_000));
  values[LENGTH - 2] = 70_000;
  values[LENGTH - 5] = -1;
  return nd([LENGTH], values);
}

/**
 * Factors or what they divide 1 into, so that products of any number of them stay near 1: left to themselves they leave
 * f32 after 10,000, and a product that was once taken as 0, as subnormal numbers may be, stays 0.
 */
function aboutOne({ shape, data: factors }: Nd): Nd {
  let product = 1;
  const values = factors.map((factor) => {
    const value = factor > 1 === product > 1 ? Math.fround(1 / factor) : factor;
    product *= value;
    return value;
  });
  return nd(shape, values);
}

type Make = (dtype: DType, shape: readonly number[], choice: Choice, source: Source) => KernelCase;

const KERNELS = {
  argReduce: argReduceCase,
  sort: sortCase,
  scan: scanCase,
  gather: gatherCase,
} as const satisfies Record<string, Make>;

/** Every kind of a kernel's calls on a single line. */
async function longLine(context: Context, kernel: keyof typeof KERNELS): Promise<void> {
  requireDType(context.backend, [kernel], "f32");
  const source = new Source(context.seed);
  const kinds = { argReduce: 2, sort: 2, scan: 3, gather: 5 }[kernel];
  for (let kind = 0; kind < kinds; kind++) {
    const made = KERNELS[kernel]("f32", [LENGTH], 32 * kind + 1, source);
    // Where positions come out, special values near the start would be all that is ever found.
    const values =
      kernel === "argReduce" || kernel === "sort"
        ? towardsTheEnd(source)
        : kernel === "scan" && kind === 1
          ? aboutOne(made.inputs[0]!.values)
          : undefined;
    const test = values === undefined ? made : { ...made, inputs: [{ dtype: "f32" as const, values }] };
    await runCase(context, test, [DENSE], `a line of ${LENGTH}`);
  }
}

/** One more than each of very many numbers. The host walks them in place: lists of so many would take too long. */
async function manyElements(context: Context): Promise<void> {
  const { backend } = context;
  const dtype: DType | undefined = (["u8", "f32"] as const).find(
    (one) => undeclared(backend, ["map"], one) === undefined,
  );
  if (dtype === undefined) throw new NotApplicable("map declares neither u8 nor f32");
  const Words = dtype === "u8" ? Uint8Array : Float32Array;
  const values = new Words(MANY);
  // A factor whose high bits change from one element to the next and repeat nowhere near.
  for (let i = 0; i < MANY; i++) values[i] = Math.imul(i, 0x9e3779b1) >>> 25;
  const { bytes, compute } = DTYPES[dtype];
  const input = backend.allocate(MANY * bytes);
  const output = backend.allocate(MANY * bytes);
  try {
    backend.write(input, 0, new Uint8Array(values.buffer));
    const made = program("more", [compute], [], ([x]) => s.add(x as Expr, 1));
    const viewOf = (buffer: typeof input) => makeView(buffer, dtype, [MANY], [1], 0);
    backend.execute(callOf({ kernel: "map", program: made }, [], [viewOf(input)], [viewOf(output)]));
    const read = await backend.read(output, 0, MANY * bytes);
    const got = new Words(read.slice().buffer);
    for (let i = 0; i < MANY; i++)
      if (got[i] !== values[i]! + 1)
        context.fail(`${MANY} elements of ${dtype}: at ${i}: ${got[i]} instead of ${values[i]! + 1}`);
  } finally {
    backend.free(input);
    backend.free(output);
  }
}

/** Softmax of a single line. */
async function longSoftmax(context: Context): Promise<void> {
  const row = softmaxRows().find(({ op }) => op === "softmax")!;
  const reason = lacking(context.backend, row, "f32");
  if (reason !== undefined) throw new NotApplicable(reason);
  const instance: Instance = {
    label: `a line of ${LENGTH}`,
    operands: [data([1, LENGTH])],
    chain: 3,
    run: ([x]) => softmax(x!),
    reference: ([x]) => lines(x!, 1, softmaxOf),
  };
  const point = pointOf(instance, "f32", [DENSE], new Source(context.seed));
  await runPoints(context, row, [{ point, label: instance.label }]);
}

/** Checks of single lines, and of maps, that are longer than what short counters hold. */
export function longChecks(): Check[] {
  return [
    ...(Object.keys(KERNELS) as (keyof typeof KERNELS)[]).map(
      (kernel): Check => ({
        family: "kernels",
        subject: kernel,
        level: "kernels",
        name: `${kernel}: a line of ${LENGTH}`,
        run: (context) => longLine(context, kernel),
      }),
    ),
    {
      family: "kernels",
      subject: "map",
      level: "kernels",
      name: `map: ${MANY} elements`,
      run: manyElements,
    },
  ];
}

/** Checks of operations on single lines that are as long. They come after the checks of their rows. */
export function longRowChecks(): Check[] {
  return [
    {
      family: "softmax",
      subject: "softmax",
      level: "inference",
      name: `softmax of a line of ${LENGTH}`,
      run: longSoftmax,
    },
  ];
}
