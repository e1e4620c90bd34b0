import { type ComputeDType, type Program, printProgram, type ReduceKind } from "@nf/core";
import { compile } from "./compile.ts";
import { coordinateText, LoopNest } from "./loops.ts";
import { declareParams, javascript, loadElement, storeElement } from "./print.ts";
import type { CompiledKernel, Layout } from "./variants.ts";

/** What a compiled reduction was made for. */
export interface ReduceLayout extends Layout {
  readonly kinds: readonly ReduceKind[];
  /** Whether each dimension is reduced. */
  readonly reduced: readonly boolean[];
  /** Whether the last dimension is kept and a whole chunk of it is accumulated side by side, so that memory is read in order. */
  readonly sideBySide: boolean;
}

/** Elements of the last dimension that accumulate side by side. */
const CHUNK = 512;

/**
 * Compiles a reduction: kept dimensions outside, reduced ones inside, the program in the innermost loop. Sums of f32
 * add up in doubles; sums of f64 carry their rounding error along (Neumaier 1974), which beats pairwise summation.
 */
export function compileReduce(program: Program, layout: ReduceLayout): CompiledKernel {
  const { rank, dtypes, steps, kinds, reduced, sideBySide } = layout;
  const inputCount = program.inputs.length;
  const nest = new LoopNest(rank, steps);
  const last = rank - 1;
  const element = (name: string): string => (sideBySide ? `${name}[(i${last} - chunk) | 0]` : name);
  const accumulators = kinds.map((kind, index) =>
    accumulator(kind, (program.results[index] as Program["results"][number]).dtype, index, element),
  );
  const language = javascript(program, {
    load: (index) =>
      loadElement(dtypes[index] as Layout["dtypes"][number], `a${index}`, nest.position(index)),
    coordinate: (axis) => coordinateText(program, layout.coordinates, axis),
    store: (index, value) => (accumulators[index] as Accumulator).combine(value),
  });
  const body = (): void => {
    for (const line of printProgram(program, language)) nest.line(line);
  };
  const storeResults = (): void => {
    for (let k = 0; k < kinds.length; k++) {
      const view = inputCount + k;
      const result = (accumulators[k] as Accumulator).result;
      nest.line(
        storeElement(dtypes[view] as Layout["dtypes"][number], `a${view}`, nest.position(view), result),
      );
    }
  };
  const kept = reduced.flatMap((isReduced, dimension) =>
    isReduced || (sideBySide && dimension === last) ? [] : [dimension],
  );
  const inner = reduced.flatMap((isReduced, dimension) => (isReduced ? [dimension] : []));
  for (const dimension of kept) nest.open(dimension);
  if (sideBySide) {
    nest.line(`for (let chunk = 0; chunk < d${last}; chunk += ${CHUNK}) {`);
    nest.line(`const end = Math.min(chunk + ${CHUNK}, d${last});`);
    for (const { names, start } of accumulators)
      for (const [i, name] of names.entries()) nest.line(`${name}.fill(${start[i]});`);
    for (const dimension of inner) nest.open(dimension);
    nest.open(last, "chunk", "end");
    body();
    nest.close();
    for (const _dimension of inner) nest.close();
    nest.open(last, "chunk", "end");
    storeResults();
    nest.close();
    nest.line("}");
  } else {
    for (const { names, start } of accumulators)
      for (const [i, name] of names.entries()) nest.line(`let ${name} = ${start[i]};`);
    for (const dimension of inner) nest.open(dimension);
    body();
    for (const _dimension of inner) nest.close();
    storeResults();
  }
  for (const _dimension of kept) nest.close();
  const rows = sideBySide
    ? accumulators
        .flatMap(({ names }) => names.map((name) => `const ${name} = new Float64Array(${CHUNK});`))
        .join("\n")
    : "";
  const source = `${rows}\n${nest.declarations()}\n${declareParams(program)}\n${nest.text()}`;
  return compile(program, ["arrays", "offsets", "sizes", "strides", "params"], source);
}

/** How one output is combined. */
interface Accumulator {
  /** Variables, and what they start from. */
  readonly names: readonly string[];
  readonly start: readonly string[];
  /** Statements that take in one value. */
  combine(value: string): string;
  /** The value to store in the end. */
  readonly result: string;
}

function accumulator(
  kind: ReduceKind,
  dtype: ComputeDType,
  index: number,
  element: (name: string) => string,
): Accumulator {
  const name = `r${index}`;
  const total = element(name);
  const simple = (start: string, combine: (value: string) => string): Accumulator => ({
    names: [name],
    start: [start],
    combine,
    result: total,
  });
  const truth = (value: string): string => (dtype === "bool" ? value : `${value} !== 0`);
  const int = dtype === "i32" || dtype === "u32";
  const wrapped = (text: string): string => (dtype === "i32" ? `(${text}) | 0` : `(${text}) >>> 0`);
  if (kind === "any" || (dtype === "bool" && (kind === "sum" || kind === "max"))) {
    return simple("0", (value) => `if (${truth(value)}) ${total} = 1;`);
  }
  if (kind === "all" || dtype === "bool")
    return simple("1", (value) => `if (!(${truth(value)})) ${total} = 0;`);
  if (kind === "max" || kind === "min") {
    const compare = kind === "max" ? ">" : "<";
    const start = int ? integerLimit(kind, dtype) : kind === "max" ? "-Infinity" : "Infinity";
    // Once the accumulator is NaN no comparison holds, so NaN stays.
    return simple(
      start,
      (value) => `{ const v = ${value}; if (v ${compare} ${total} || v !== v) ${total} = v; }`,
    );
  }
  if (kind === "prod") {
    return simple("1", (value) =>
      int ? `${total} = ${wrapped(`Math.imul(${total}, ${value})`)};` : `${total} *= ${value};`,
    );
  }
  if (dtype !== "f64")
    return simple("0", (value) =>
      int ? `${total} = ${wrapped(`${total} + ${value}`)};` : `${total} += ${value};`,
    );
  const error = element(`e${index}`);
  return {
    names: [name, `e${index}`],
    start: ["0", "0"],
    combine: (value) =>
      `{ const v = ${value}, s = ${total} + v; ${error} += Math.abs(${total}) >= Math.abs(v) ? ${total} - s + v : v - s + ${total}; ${total} = s; }`,
    // Infinities make the error NaN; the plain sum is right then.
    result: `(${error} === ${error} ? ${total} + ${error} : ${total})`,
  };
}

function integerLimit(kind: "max" | "min", dtype: ComputeDType): string {
  if (dtype === "u32") return kind === "max" ? "0" : "4294967295";
  return kind === "max" ? "-2147483648" : "2147483647";
}
