import { type Backend, type DType, OptionError, type Tensor, use } from "@nf/core";
import fc from "fast-check";
import { backendMaker, checkArray, checkNames, checkNumber } from "./arguments.ts";
import { allRows } from "./cases/index.ts";
import type { CreateBackend } from "./check.ts";
import { runGraphs } from "./checks/graphs.ts";
import { listOf, type Point, pointOf, readAll, scoped, tensorsOf } from "./evaluate.ts";
import { short, table } from "./format.ts";
import { anyGraph, nmse } from "./graphs/graph.ts";
import { LAYOUTS } from "./layout.ts";
import type { Row } from "./model.ts";
import { lacking } from "./needs.ts";
import { DEFAULT_EXAMPLES, DEFAULT_SEED } from "./options.ts";
import { Source, seedOf } from "./source.ts";

/** Options of {@link compareBackends}. */
export interface CompareOptions {
  /** Where values come from; default fixed. */
  readonly seed?: number;
  /** Random graphs; default 200. */
  readonly examples?: number;
  /** Only operations of these families; default all. */
  readonly families?: readonly string[];
}

/** How far the results of an operation are apart. */
export interface ComparisonRow {
  readonly op: string;
  readonly family: string;
  readonly dtype: DType;
  readonly worstAbsolute: number;
  /** Relative to the second backend's value, or to 1 where that is smaller. */
  readonly worstRelative: number;
  /** Largest normalised mean square error of a result. */
  readonly nmse: number;
}

/** Numeric differences between two backends. */
export interface Comparison {
  readonly a: string;
  readonly b: string;
  /** By operation and dtype that both declare, in the order of the suite. */
  readonly rows: readonly ComparisonRow[];
  readonly graphs: { readonly count: number; readonly worstNmse: number };
}

type Values = readonly ArrayLike<number>[];

async function valuesOn(backend: Backend, points: readonly Point[]): Promise<Values> {
  await use(backend);
  let values: Values = [];
  await scoped(
    () => points.flatMap((point) => listOf(point.instance.run(tensorsOf(point), point.dtype))),
    async (tensors: readonly Tensor[]) => {
      values = (await readAll(tensors)).map(({ data }) => data);
    },
  );
  return values;
}

interface Distance {
  absolute: number;
  relative: number;
  nmse: number;
}

function widen(found: Distance, got: ArrayLike<number>, wanted: ArrayLike<number>): void {
  found.nmse = Math.max(found.nmse, nmse(got, wanted));
  for (let i = 0; i < wanted.length; i++) {
    const [a, b] = [got[i] as number, wanted[i] as number];
    if (a === b || Object.is(a, b)) continue;
    const miss = Math.abs(a - b);
    const absolute = Number.isNaN(miss) ? Infinity : miss;
    found.absolute = Math.max(found.absolute, absolute);
    found.relative = Math.max(found.relative, absolute / Math.max(1, Number.isFinite(b) ? Math.abs(b) : 1));
  }
}

async function compareRow(
  a: Backend,
  b: Backend,
  row: Row,
  seed: number,
  found: Map<string, ComparisonRow>,
): Promise<void> {
  const layouts = [LAYOUTS["contiguous"]!, LAYOUTS["everything at once"]!];
  for (const dtype of row.dtypes) {
    if ([a, b].some((backend) => lacking(backend, row, dtype) !== undefined)) continue;
    const source = new Source(seedOf(`${row.op} ${row.variant} ${dtype}`, seed));
    const points = row.instances.flatMap((instance) =>
      layouts.map((layout) => pointOf(instance, dtype, [layout], source.split())),
    );
    const [got, wanted] = [await valuesOn(a, points), await valuesOn(b, points)];
    const key = `${row.op} ${dtype}`;
    const before = found.get(key);
    const distance: Distance = {
      absolute: before?.worstAbsolute ?? 0,
      relative: before?.worstRelative ?? 0,
      nmse: before?.nmse ?? 0,
    };
    got.forEach((values, k) => {
      widen(distance, values, wanted[k]!);
    });
    const { absolute: worstAbsolute, relative: worstRelative } = distance;
    found.set(key, {
      op: row.op,
      family: row.family,
      dtype,
      worstAbsolute,
      worstRelative,
      nmse: distance.nmse,
    });
  }
}

function rowsOf(families: readonly string[] | undefined): readonly Row[] {
  const rows = allRows();
  if (families === undefined) return rows;
  const known = new Set(rows.map(({ family }) => family));
  const unknown = families.find((family) => !known.has(family));
  if (unknown !== undefined)
    throw new OptionError(
      `There is no family "${unknown}" of operations. Choose from ${[...known].join(", ")}.`,
    );
  return rows.filter(({ family }) => families.includes(family));
}

/**
 * Runs every operation, and random graphs, on two backends with the same operands, and measures how far results are
 * apart. Differences are measured, not judged. Whichever backend was in use before is not in use afterwards.
 *
 * @throws OptionError for an option or a family that does not exist, or what is of the wrong kind
 * @throws BackendError where one of the functions gives no backend
 */
export async function compareBackends(
  createA: CreateBackend,
  createB: CreateBackend,
  options: CompareOptions = {},
): Promise<Comparison> {
  const makeA = backendMaker("compareBackends", "createA", createA);
  const makeB = backendMaker("compareBackends", "createB", createB);
  checkNames("compareBackends", options, ["seed", "examples", "families"]);
  const { seed = DEFAULT_SEED, examples = DEFAULT_EXAMPLES } = options;
  checkNumber("compareBackends", "seed", seed, 0);
  checkNumber("compareBackends", "examples", examples, 1);
  if (options.families !== undefined) checkArray("compareBackends", "families", options.families);
  const rows = rowsOf(options.families);
  // What was made is ended, also where the second function gives no backend.
  const made: Backend[] = [];
  try {
    const a = await makeA();
    made.push(a);
    const b = await makeB();
    made.push(b);
    const found = new Map<string, ComparisonRow>();
    for (const row of rows) await compareRow(a, b, row, seed, found);
    const graphs = fc.sample(anyGraph, { seed, numRuns: examples });
    const [got, wanted] = [
      await runGraphs(a, graphs, "f32", false),
      await runGraphs(b, graphs, "f32", false),
    ];
    const errors = got.flatMap((values, i) => values.map((one, k) => nmse(one, wanted[i]![k]!)));
    return {
      a: a.name,
      b: b.name,
      rows: [...found.values()],
      graphs: { count: graphs.length, worstNmse: Math.max(0, ...errors) },
    };
  } finally {
    for (const backend of made) await backend.dispose();
  }
}

/** A comparison for people: operations that differ, most of all first, and how many do not. */
export function formatComparison({ a, b, rows, graphs }: Comparison): string {
  const differing = rows.filter(({ worstAbsolute }) => worstAbsolute > 0).sort((x, y) => y.nmse - x.nmse);
  const head = ["operation", "dtype", "family", "absolute", "relative", "NMSE"];
  const cells = differing.map((one) => [
    one.op,
    one.dtype,
    one.family,
    short(one.worstAbsolute),
    short(one.worstRelative),
    short(one.nmse),
  ]);
  return [
    `${a} against ${b}`,
    "",
    ...(cells.length === 0 ? [] : [...table([head, ...cells]), ""]),
    `${rows.length - differing.length} of ${rows.length} operations by dtype agree to the bit; ` +
      `${graphs.count} random graphs in f32: worst NMSE ${short(graphs.worstNmse)}`,
  ].join("\n");
}
