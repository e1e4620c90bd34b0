import type { PoolCall } from "@nf/core";
import type { ViewAccess } from "../wgsl/views.ts";
import { axesOf } from "./windows.ts";

/** What an invocation computes: one element of the output, of x's gradient, or that of a whole window. */
export type PoolWay = "forward" | "element" | "window";

/** The text of a way of pooling. `c0`, `c1`, … are batch, channel and the position of a window or of an element. */
export function poolBody(
  { kind, kernelSize }: PoolCall["attributes"],
  way: PoolWay,
  inputs: number,
  access: ViewAccess,
): { readonly declarations: string; readonly body: string } {
  const axes = axesOf(kernelSize.length);
  const plane = (view: number): string =>
    `geometry.o${view} + c0 * geometry.s${view}_0 + c1 * geometry.s${view}_1`;
  const place = (view: number, at: (d: number) => string): string =>
    axes.map((d) => ` + ${at(d)} * geometry.s${view}_${d + 2}`).join("");
  const parts = { axes, plane, place, access, last: inputs, long: isLong(kernelSize) };
  if (way === "forward")
    return { declarations: "", body: kind === "max" ? maxForward(parts) : meanForward(parts) };
  return way === "window" ? windowBackward(parts, kind) : elementBackward(parts, kind);
}

interface Parts {
  readonly axes: readonly number[];
  /** Where the plane of `c0` and `c1` begins in a view. */
  readonly plane: (view: number) => string;
  /** What a position in the plane adds to that. */
  readonly place: (view: number, at: (d: number) => string) => string;
  readonly access: ViewAccess;
  /** The output's number among the views. */
  readonly last: number;
  readonly long: boolean;
}

/** Loops over the elements `i0`, `i1`, … inside x of the window at `w0`, `w1`, …. */
function eachElement(axes: readonly number[], window: (d: number) => string, body: string): string {
  return axes.reduceRight(
    (inner, d) => `for (var k${d} = 0; k${d} < geometry.kernel${d}; k${d}++) {
let i${d} = ${window(d)} * geometry.step${d} - geometry.before${d} + k${d} * geometry.dilation${d};
if (i${d} < 0 || i${d} >= geometry.in${d}) { continue; }
${inner}
}`,
    body,
  );
}

/** Elements of a window that count for its mean: those inside x and the counted padding. */
function divisor(axes: readonly number[], window: (d: number) => string): string {
  return `var divisor = 1;
${axes
  .map(
    (d) => `{
let start = ${window(d)} * geometry.step${d} - geometry.before${d};
let skipped = max(0, (-geometry.low${d} - start + geometry.dilation${d} - 1) / geometry.dilation${d});
let reached = (geometry.in${d} + geometry.high${d} - 1 - start) / geometry.dilation${d} + 1;
divisor *= max(0, min(geometry.kernel${d}, reached) - skipped);
}`,
  )
  .join("\n")}`;
}

/** The number of element `k0`, `k1`, … of a window, row by row. */
const numberOf = (axes: readonly number[]): string =>
  axes.reduce((text, d) => (text === "" ? `k${d}` : `(${text}) * geometry.kernel${d} + k${d}`), "");

/** Terms that are added one after the other. */
const RUN = 64;

/** Whether sums over a window need more than one run. */
export const isLong = (kernelSize: readonly number[]): boolean =>
  kernelSize.reduce((product, size) => product * size, 1) > RUN;

/** A sum of the terms that `add` takes, where it is long in runs and in runs of these. */
function summed(long: boolean): { declare: string; add: (term: string) => string; value: string } {
  if (!long) return { declare: "var sum = 0.0;", add: (term) => `sum += ${term};`, value: "sum" };
  return {
    declare: "var sum = 0.0; var middle = 0.0; var total = 0.0; var terms = 0;",
    add: (term) => `sum += ${term};
terms++;
if (terms % ${RUN} == 0) {
middle += sum; sum = 0.0;
if (terms % ${RUN * RUN} == 0) { total += middle; middle = 0.0; }
}`,
    value: "(total + (middle + sum))",
  };
}

const position = (d: number): string => `c${d + 2}`;

function maxForward({ axes, plane, place, access }: Parts): string {
  return `let base = ${plane(0)};
var best = -inf();
${eachElement(
  axes,
  position,
  `let value = ${access.load(0, `(base${place(0, (d) => `i${d}`)})`)};
if ((isNan(value) || value > best) && !isNan(best)) { best = value; }`,
)}
let at = ${plane(1)}${place(1, position)};
${access.store(0, "at", "best")}`;
}

function meanForward({ axes, plane, place, access, long }: Parts): string {
  const sum = summed(long);
  return `let base = ${plane(0)};
${sum.declare}
${eachElement(axes, position, sum.add(access.load(0, `(base${place(0, (d) => `i${d}`)})`)))}
${divisor(axes, position)}
let at = ${plane(1)}${place(1, position)};
${access.store(0, "at", `${sum.value} / f32(divisor)`)}`;
}

/** Declares `winner(base, w…)`: the number, row by row within the window, of its first greatest element in x. */
function winner({ axes, place, access }: Parts): string {
  return `fn winner(base: i32, ${axes.map((d) => `w${d}: i32`).join(", ")}) -> i32 {
var best = -inf();
var at = -1;
${eachElement(
  axes,
  (d) => `w${d}`,
  `let value = ${access.load(1, `(base${place(1, (d) => `i${d}`)})`)};
if (at < 0 || ((isNan(value) || value > best) && !isNan(best))) { best = value; at = ${numberOf(axes)}; }`,
)}
return at;
}`;
}

/** An invocation a window that shares no element with another: it writes all of its elements. */
function windowBackward(parts: Parts, kind: "max" | "mean"): { declarations: string; body: string } {
  const { axes, plane, place, access, last } = parts;
  const gradient = access.load(0, `(${plane(0)}${place(0, position)})`);
  const store = `let at = ${plane(last)}${place(last, (d) => `i${d}`)};\n`;
  if (kind === "max") {
    return {
      declarations: winner(parts),
      body: `let gradient = ${gradient};
let first = winner(${plane(1)}, ${axes.map(position).join(", ")});
${eachElement(axes, position, `${store}${access.store(0, "at", `select(0.0, gradient, first == ${numberOf(axes)})`)}`)}`,
    };
  }
  return {
    declarations: "",
    body: `${divisor(axes, position)}
let share = ${gradient} / f32(divisor);
${eachElement(axes, position, `${store}${access.store(0, "at", "share")}`)}`,
  };
}

/** An invocation an element of x: it looks through the windows that it lies in. */
function elementBackward(parts: Parts, kind: "max" | "mean"): { declarations: string; body: string } {
  const { axes, plane, place, access, last } = parts;
  const sum = summed(parts.long);
  const gradient = access.load(0, `(${plane(0)}${place(0, (d) => `w${d}`)})`);
  const take =
    kind === "max"
      ? `if (winner(${plane(1)}, ${axes.map((d) => `w${d}`).join(", ")}) == ${numberOf(axes)}) { ${sum.add(gradient)} }`
      : `${divisor(axes, (d) => `w${d}`)}\n${sum.add(`${gradient} / f32(divisor)`)}`;
  const body = axes.reduceRight(
    (inner, d) => `for (var k${d} = 0; k${d} < geometry.kernel${d}; k${d}++) {
let shifted${d} = ${position(d)} + geometry.before${d} - k${d} * geometry.dilation${d};
if (shifted${d} < 0 || shifted${d} % geometry.step${d} != 0) { continue; }
let w${d} = shifted${d} / geometry.step${d};
if (w${d} >= geometry.out${d}) { continue; }
${inner}
}`,
    take,
  );
  return {
    declarations: kind === "max" ? winner(parts) : "",
    body: `${sum.declare}
${body}
let at = ${plane(last)}${place(last, position)};
${access.store(0, "at", sum.value)}`,
  };
}
