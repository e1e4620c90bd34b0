import {
  type ComputeDType,
  DTYPES,
  type DType,
  type Expr,
  evaluate,
  isFloat,
  type Program,
  program,
  scalar as s,
} from "@nf/core";
import { type Context, NotApplicable } from "../check.ts";
import { anyValue } from "../kernels/map-cases.ts";
import { decode, elementsOf, type Laid, layOut } from "../kernels/memory.ts";
import { laidCall } from "../kernels/run.ts";
import { LAYOUTS } from "../layout.ts";
import { build, type Nd } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { roundTo } from "../values.ts";

/** Of each group: the state that is rewritten, p and m, and what is read beside it, g. */
const STATE = 2;
const READ = 3;

/** A step of an optimiser in miniature. Both results need every input, so that none may be written before all are read. */
function stepOf(compute: ComputeDType): Program {
  const types: readonly ComputeDType[] = [compute, compute, compute];
  if (compute === "bool")
    return program("step", types, [], ([p, m, g]) => [
      s.xor(p as Expr, s.and(m as Expr, g as Expr)),
      s.or(m as Expr, s.and(p as Expr, g as Expr)),
    ]);
  return program("step", types, [compute], ([p, m, g], [rate]) => [
    s.sub(p as Expr, s.mul(s.max(m as Expr, g as Expr), rate as Expr)),
    s.sub(s.max(m as Expr, p as Expr), s.mul(g as Expr, rate as Expr)),
  ]);
}

/** Programs whose results are inputs as they are: in place, one result overwrites what another still is. */
function moversOf(compute: ComputeDType): readonly Program[] {
  const types: readonly ComputeDType[] = [compute, compute, compute];
  const larger = compute === "bool" ? s.or : s.max;
  return [
    program("swap", types, [], ([p, m]) => [m as Expr, p as Expr]),
    program("shift", types, [], ([p, m, g]) => [larger(m as Expr, g as Expr), p as Expr]),
  ];
}

/** A half leaves one rounding in each result, whatever is fused. */
const paramsOf = (compute: ComputeDType): readonly number[] =>
  compute === "bool" ? [] : [compute === "f32" || compute === "f64" ? 0.5 : 3];

const SHAPES: readonly (readonly number[])[] = [[3], [2, 4], [1, 5, 2]];

/** One program over several groups of tensors: the same as a `map` for each, into other memory and in place. */
export async function mapMany(context: Context): Promise<void> {
  const types = context.backend.capabilities.dtypes.mapMany;
  if (types === undefined) throw new NotApplicable("no fused mapMany is declared");
  const source = new Source(context.seed);
  for (const dtype of types) {
    const { compute } = DTYPES[dtype];
    for (const inPlace of [false, true]) {
      await steps(context, dtype, stepOf(compute), paramsOf(compute), inPlace, source.split());
      for (const mover of moversOf(compute)) await steps(context, dtype, mover, [], inPlace, source.split());
    }
  }
}

async function steps(
  context: Context,
  dtype: DType,
  made: Program,
  params: readonly number[],
  inPlace: boolean,
  source: Source,
): Promise<void> {
  const { backend } = context;
  const label = `mapMany ${dtype}, ${made.name}${inPlace ? ", in place" : ""}`;
  const layouts = [LAYOUTS["contiguous"]!, LAYOUTS["everything at once"]!, LAYOUTS["offset"]!];
  const given = SHAPES.map((shape) => Array.from({ length: READ }, () => valuesOf(dtype, shape, source)));
  const inputs = given.map((group) => group.map((x, i) => layOut(backend, dtype, x, layouts[i]!)));
  const outputs = inputs.map((group, g) =>
    inPlace
      ? group.slice(0, STATE)
      : Array.from({ length: STATE }, (_, k) =>
          layOut(
            backend,
            dtype,
            build(SHAPES[g]!, () => (dtype === "bool" ? 1 : 9)),
            layouts[READ - 1 - k]!,
          ),
        ),
  );
  try {
    const call = laidCall(
      { kernel: "mapMany", program: made, attributes: { groups: SHAPES.length } },
      params,
      inputs.flat(),
      outputs.flat(),
    );
    if (backend.supports(call) !== "yes") context.fail(`${label} is declared and declined`);
    backend.execute(call);
    for (const [g, group] of outputs.entries()) {
      const points = given[g]![0]!.data.map((_, i) =>
        evaluate(
          made,
          given[g]!.map(({ data }) => data[i]!),
          params,
        ),
      );
      for (const [k, laid] of group.entries()) {
        const wanted = points.map((results) => stored(dtype, results[k]!));
        await compareOutput(context, `${label}, group ${g}, output ${k}`, laid, wanted);
      }
    }
  } finally {
    for (const buffer of new Set([...inputs, ...outputs].flat().map((one) => one.buffer)))
      backend.free(buffer);
  }
}

const stored = (dtype: DType, value: number): number => (isFloat(dtype) ? value : roundTo(dtype, value));

function valuesOf(dtype: DType, shape: readonly number[], source: Source): Nd {
  return build(shape, () => anyValue(dtype, source));
}

async function compareOutput(
  context: Context,
  label: string,
  { view, buffer, memory }: Laid,
  wanted: readonly number[],
): Promise<void> {
  const { dtype } = view;
  const bytes = await context.backend.read(buffer, 0, memory.length * DTYPES[dtype].bytes);
  const own = decode(dtype, bytes).slice(0, memory.length);
  const { values, places } = elementsOf(view, own);
  context.compare(label, values, wanted, { dtype, tolerance: "rounded" });
  const strayed = memory.findIndex((value, place) => !places.has(place) && own[place] !== value);
  if (strayed >= 0)
    context.fail(`${label}: element ${strayed} of the buffer was written to, outside the output`);
}
