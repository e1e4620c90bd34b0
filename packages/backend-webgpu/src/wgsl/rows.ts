import { type BackendBuffer, DTYPES, mergeDimensions, type View } from "@nf/core";
import type { AdapterClass } from "../adapterClass.ts";
import type { ShaderBuffer, ShaderSource } from "../device/shader.ts";
import { accessViews, coordinatesOf, indexOf, type ViewAccess, type Viewed, viewsKey } from "./views.ts";

/**
 * How a view takes part in a kernel over rows: a `row` has elements along the last dimension, an element a row is `one`,
 * a `line` along the last dimension is the same for all rows.
 */
export type Part = "row" | "one" | "line";

/** Invocations of a work group on a GPU. */
const GPU_WORKGROUP = 64;
const MOST_LANES = 256;
/** Of a software adapter: few, so that there are groups for each of its threads. */
const SOFTWARE_WORKGROUP = 16;
/** Rows from which a software adapter has enough to do with one row an invocation. */
const MANY_ROWS = 32;
/** Elements that one lane adds up one after the other before they go to a total. */
const BLOCK = 16;

/** A kernel over the rows of its call's views: where their elements lie, and how many invocations share a row. */
export class Rows {
  /** What of it is part of the shader. */
  readonly key: string;
  /** Whether elements are taken four at a time; the prelude's types are then vectors. */
  readonly wide: boolean;
  /** Invocations that share a row, a power of two. */
  readonly lanes: number;
  readonly workgroup: number;
  readonly groups: number;
  readonly numbers: readonly number[];
  private readonly call: Viewed;
  private readonly parts: readonly Part[];
  private readonly rank: number;
  /** Whether all rows lie without gaps. */
  private readonly gapless: boolean;
  private access: ViewAccess | undefined;

  constructor(call: Viewed, parts: readonly Part[], adapterClass: AdapterClass) {
    const views = [...call.inputs, ...call.outputs];
    const { shape, size } = views[parts.indexOf("row")];
    const width = shape[shape.length - 1];
    const rows = size / width;
    this.call = call;
    this.parts = parts;
    this.wide = isWide(call.buffers, views, parts, width);
    const per = this.wide ? 4 : 1;
    const count = width / per;
    this.lanes = lanesOf(adapterClass, rows, count);
    this.workgroup = Math.max(this.lanes, adapterClass === "software" ? SOFTWARE_WORKGROUP : GPU_WORKGROUP);
    this.groups = Math.ceil((rows * this.lanes) / this.workgroup);
    const lead = shape.slice(0, -1);
    const space = mergeDimensions(
      lead,
      views.map(({ strides }, i) =>
        parts[i] === "line" ? lead.map(() => 0) : strides.slice(0, lead.length),
      ),
    );
    this.rank = space.shape.length;
    const steps = views.map(({ strides }, i) => (parts[i] === "one" ? 0 : strides[strides.length - 1]));
    this.gapless = steps.every((step, i) => parts[i] === "one" || step === 1);
    const numbers = [rows, count, width, ...space.shape];
    views.forEach(({ offset }, i) => {
      const unit = parts[i] === "one" ? 1 : per;
      numbers.push(offset / unit, ...space.strides[i].map((stride) => stride / unit));
    });
    if (!this.gapless) numbers.push(...steps);
    this.numbers = numbers;
    this.key = `${this.wide ? 4 : 1} ${this.gapless ? "" : "s"}${this.rank} ${this.lanes} ${this.workgroup} ${viewsKey(call)}`;
  }

  /** The shader whose statements are `body`, for one row: `row` is its number, `part` the invocation's among its lanes. */
  source(label: string, params: ShaderSource["params"], body: string): ShaderSource {
    const { lanes, workgroup } = this;
    const declarations = `${body.includes("greater(") || lanes > 1 ? GREATER : ""}
${lanes > 1 ? togetherText(lanes, workgroup) : ""}`;
    // Invocations beyond the last row go along, for barriers, and store nothing.
    return this.frame({
      label,
      params,
      workgroup,
      declarations,
      body: `let point = i32(invocation) / ${lanes};
let part = i32(invocation) & ${lanes - 1};
let live = point < geometry.rows;
let row = min(point, geometry.rows - 1);
${this.place()}
${body}`,
    });
  }

  /** A shader over the same views that walks rows in its own way. */
  frame(own: Omit<ShaderSource, "buffers" | "geometry" | "width">): ShaderSource {
    const geometry = ["rows", "count", "width"];
    const views = this.parts.map((_, view) => view);
    for (let axis = 0; axis < this.rank; axis++) geometry.push(`n${axis}`);
    for (const view of views) {
      geometry.push(`o${view}`);
      for (let axis = 0; axis < this.rank; axis++) geometry.push(`s${view}_${axis}`);
    }
    if (!this.gapless) for (const view of views) geometry.push(`t${view}`);
    const buffers = this.wide ? this.wideBuffers() : this.accessOf().buffers;
    return { ...own, buffers, geometry, width: this.wide ? 4 : 1 };
  }

  /** Statements that find where each view's elements of the row numbered `row` begin. */
  place(): string {
    const begins = this.parts.map((_, view) => `let r${view} = ${indexOf(this.rank, view)};`);
    return `${coordinatesOf(this.rank, "row")}\n${begins.join("\n")}`;
  }

  /** What follows is done for each element `i` of the row. */
  each(body: string): string {
    return `for (var i = part; i < geometry.count; i += ${this.lanes}) {\n${body}\n}`;
  }

  /** Sums over the row's elements `i` of terms that may use what `before` declares; each becomes a variable. */
  sums(terms: Readonly<Record<string, string>>, before = ""): string {
    const names = Object.keys(terms);
    const block = BLOCK * this.lanes;
    return `${names.map((name) => `var all_${name} = F(0.0);`).join(" ")}
for (var b = part; b < geometry.count; b += ${block}) {
  let end = min(b + ${block}, geometry.count);
  ${names.map((name) => `var some_${name} = F(0.0);`).join(" ")}
  for (var i = b; i < end; i += ${this.lanes}) {
    ${before}
    ${names.map((name) => `some_${name} += ${terms[name]};`).join("\n    ")}
  }
  ${names.map((name) => `all_${name} += some_${name};`).join(" ")}
}
${names.map((name) => `var ${name} = ${this.together("Sum", this.wide ? `dot(all_${name}, F(1.0))` : `all_${name}`)};`).join("\n")}`;
  }

  /** The greatest of a value over the row's elements `i`; a NaN may win or lose. */
  greatest(name: string, value: string): string {
    const among = this.wide
      ? `greater(greater(all_${name}.x, all_${name}.y), greater(all_${name}.z, all_${name}.w))`
      : `all_${name}`;
    return `var all_${name} = F(-bitcast<f32>(bitsOfInf));
${this.each(`let x = ${value}; all_${name} = select(all_${name}, x, x > all_${name});`)}
let ${name} = ${this.together("Max", among)};`;
  }

  /** A function of the prelude at a number that is one a row. */
  ofOne(name: string, value: string): string {
    return this.wide ? `${name}(F(${value})).x` : `${name}(${value})`;
  }

  /** Input `view` at the row's element `i`; for `one`, which is one number, `i` does not count. */
  load(view: number): string {
    if (!this.wide) return this.accessOf().load(view, this.at(view));
    if (this.parts[view] === "one") return this.loadOne(view);
    return `${this.name(view)}[${this.at(view)}]`;
  }

  /** A single number of an input: of `one`, or of a row at an element that `at` numbers. */
  loadOne(view: number, at = "0"): string {
    if (this.parts[view] === "one") {
      if (!this.wide) return this.accessOf().load(view, `r${view}`);
      const { dtype } = this.call.inputs[view];
      return dtype === "f32"
        ? `bitcast<f32>(${this.name(view)}[r${view}])`
        : `bitcast<${dtype}>(${this.name(view)}[r${view}])`;
    }
    if (this.wide) return `${this.name(view)}[r${view} + ((${at}) >> 2u)][u32(${at}) & 3u]`;
    return this.accessOf().load(
      view,
      this.gapless ? `(r${view} + ${at})` : `(r${view} + (${at}) * geometry.t${view})`,
    );
  }

  /** Output `output` at the row's element `i`, as stored before. */
  loadOutput(output: number): string {
    const view = this.call.inputs.length + output;
    return this.wide
      ? `${this.name(view)}[${this.at(view)}]`
      : this.accessOf().loadOutput(output, this.at(view));
  }

  /** Stores output `output` at the row's element `i`. */
  store(output: number, value: string): string {
    const view = this.call.inputs.length + output;
    if (this.wide) return `if (live) { ${this.name(view)}[${this.at(view)}] = ${value}; }`;
    return `if (live) { let at = ${this.at(view)}; let stored = ${value}; ${this.accessOf().store(output, "at", "stored")} }`;
  }

  /** Stores an output that has one number a row. */
  storeOne(output: number, value: string): string {
    const view = this.call.inputs.length + output;
    const stored = this.wide
      ? `${this.name(view)}[at] = bitcast<u32>(stored);`
      : this.accessOf().store(output, "at", "stored");
    return `if (live && part == 0) { let at = r${view}; let stored = ${value}; ${stored} }`;
  }

  private together(how: "Sum" | "Max", value: string): string {
    return this.lanes > 1 ? `row${how}(${value}, lane)` : value;
  }

  private at(view: number): string {
    if (this.parts[view] === "one") return `r${view}`;
    return this.gapless ? `(r${view} + i)` : `(r${view} + i * geometry.t${view})`;
  }

  private name(view: number): string {
    const { buffers, inputs, outputs } = this.call;
    return `b${buffers.indexOf((view < inputs.length ? inputs[view] : outputs[view - inputs.length]).buffer)}`;
  }

  private accessOf(): ViewAccess {
    this.access ??= accessViews(this.call);
    return this.access;
  }

  private wideBuffers(): readonly ShaderBuffer[] {
    const { buffers, inputs, outputs } = this.call;
    const views = [...inputs, ...outputs];
    const written = new Set(outputs.map(({ buffer }) => buffer));
    return buffers.map((buffer, index) => ({
      name: `b${index}`,
      type: this.parts[views.findIndex((view) => view.buffer === buffer)] === "one" ? "u32" : "vec4<f32>",
      access: written.has(buffer) ? "write" : "read",
    }));
  }
}

/** Whether all rows can be walked in whole vectors of f32. */
function isWide(
  buffers: readonly BackendBuffer[],
  views: readonly View[],
  parts: readonly Part[],
  width: number,
): boolean {
  if (width % 4 !== 0) return false;
  const kinds = new Map<BackendBuffer, boolean>();
  for (let i = 0; i < views.length; i++) {
    const { buffer, dtype, offset, strides } = views[i];
    const one = parts[i] === "one";
    if ((kinds.get(buffer) ?? one) !== one) return false;
    kinds.set(buffer, one);
    if (one ? DTYPES[dtype].bytes !== 4 : dtype !== "f32" || offset % 4 !== 0) return false;
    if (one) continue;
    const inner = strides.length - 1;
    if (strides[inner] !== 1) return false;
    for (let axis = 0; axis < inner; axis++) if (strides[axis] % 4 !== 0) return false;
  }
  return kinds.size === buffers.length;
}

/** A GPU wants many invocations that read side by side; a software adapter few, but enough for its threads. */
function lanesOf(adapterClass: AdapterClass, rows: number, count: number): number {
  const most = adapterClass === "software" ? (rows < MANY_ROWS ? SOFTWARE_WORKGROUP : 1) : MOST_LANES;
  let lanes = 1;
  while (lanes < most && lanes * 4 <= count) lanes *= 2;
  return lanes;
}

/** Sums and greatest values over the lanes of a row, which all get them. */
function togetherText(lanes: number, workgroup: number): string {
  const fold = (name: string, combine: string): string => `fn ${name}(value: f32, lane: u32) -> f32 {
  together[lane] = value;
  workgroupBarrier();
  for (var half = ${lanes / 2}u; half > 0u; half = half >> 1u) {
    if ((lane & ${lanes - 1}u) < half) { together[lane] = ${combine}; }
    workgroupBarrier();
  }
  let result = together[lane & ~${lanes - 1}u];
  workgroupBarrier();
  return result;
}`;
  return `var<workgroup> together: array<f32, ${workgroup}>;
${fold("rowSum", "together[lane] + together[lane + half]")}
${fold("rowMax", "greater(together[lane], together[lane + half])")}`;
}

const GREATER = "fn greater(a: f32, b: f32) -> f32 { return select(a, b, b > a); }";
/** Whether a number is infinite, in shaders whose prelude may be of vectors. */
export const infinite = (value: string): string => `((bitcast<u32>(${value}) & 0x7fffffffu) == 0x7f800000u)`;
export const NAN = "bitcast<f32>(bitsOfNan)";
