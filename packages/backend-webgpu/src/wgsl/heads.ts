import type { BackendBuffer, View } from "@nf/core";
import type { ShaderBuffer } from "../device/shader.ts";
import { accessViews, type ViewAccess, type Viewed, viewsKey } from "./views.ts";

/**
 * Views of attention in a shader: `[batch, heads, positions, headDim]`, the same without headDim (one number a query), and
 * masks `[batch, heads, queries, keys]`. Elements of headDim are taken as values of a type `V`, of which there are
 * `length`: vectors where headDim is a multiple of 4.
 */
export class Heads {
  /** What of the views is part of the shader. */
  readonly key: string;
  /** The type `V`. */
  readonly type: "f32" | "vec4<f32>";
  /** How many values of `V` make up headDim: written out where registers hold them, else a number of the call. */
  readonly length: string;
  readonly names: readonly string[];
  readonly numbers: readonly number[];
  readonly buffers: readonly ShaderBuffer[];
  private readonly call: Viewed;
  private readonly views: readonly View[];
  /** Whether a `V` is one element of its buffer. */
  private readonly wide: boolean;
  private readonly access: ViewAccess;

  /** Whether values along headDim stay in registers; otherwise they are read again, and sums lie in memory. */
  readonly registers: boolean;

  /**
   * @param headed whether each view's last dimension is headDim; inputs, then outputs
   * @param registers for GPUs. Compilers of software adapters take seconds for so much written out code.
   */
  constructor(call: Viewed, headed: readonly boolean[], headDim: number, registers: boolean) {
    this.registers = registers;
    const views = [...call.inputs, ...call.outputs];
    this.call = call;
    this.views = views;
    this.type = headDim % 4 === 0 ? "vec4<f32>" : "f32";
    const length = headDim % 4 === 0 ? headDim / 4 : headDim;
    this.length = registers ? String(length) : "geometry.length";
    this.wide = isWide(call.buffers, views, headed, headDim);
    this.access = accessViews(call);
    const names = ["length"];
    const numbers = [length];
    views.forEach(({ offset, strides }, view) => {
      const unit = this.wide && headed[view] ? 4 : 1;
      names.push(`o${view}`, `a${view}`, `b${view}`, `c${view}`, `d${view}`);
      const [a, b, c, d = 0] = strides;
      numbers.push(offset / unit, a / unit, b / unit, c / unit, d);
    });
    this.names = names;
    this.numbers = numbers;
    const written = new Set(call.outputs.map(({ buffer }) => buffer));
    this.buffers = this.wide
      ? call.buffers.map((buffer, index) => ({
          name: `b${index}`,
          type: headed[views.findIndex((view) => view.buffer === buffer)] ? "vec4<f32>" : "f32",
          access: written.has(buffer) ? "write" : "read",
        }))
      : this.access.buffers;
    this.key = `${this.wide ? "wide" : ""} ${registers ? headDim : this.type} ${viewsKey(call)}`;
  }

  /** Statements for each `V` of headDim, written out where that keeps values in registers. */
  over(text: (d: string) => string): string {
    if (this.wide && this.registers)
      return Array.from({ length: Number(this.length) }, (_, d) => text(String(d))).join("\n");
    return `for (var d = 0; d < ${this.length}; d++) {\n${text("d")}\n}`;
  }

  /** The `d`-th value of an input from where its position begins: of an array that holds it, or read anew. */
  kept(array: string, view: number, from: string, d: string): string {
    return this.registers ? `${array}[${d}]` : this.load(view, from, d);
  }

  /** Where a view's numbers of a position begin, or its one number lies. */
  at(view: number, sample: string, head: string, position: string): string {
    return `(geometry.o${view} + ${sample} * geometry.a${view} + ${head} * geometry.b${view} + ${position} * geometry.c${view})`;
  }

  /** The `d`-th value of an input of headDim, from where its position begins. */
  load(view: number, from: string, d: string): string {
    if (this.wide) return `${this.name(view)}[${from} + ${d}]`;
    const element = (which: string): string =>
      this.access.load(view, `(${from} + (${which}) * geometry.d${view})`);
    if (this.type === "f32") return element(d);
    return `V(${[0, 1, 2, 3].map((k) => element(`4 * ${d} + ${k}`)).join(", ")})`;
  }

  /** A single number of an input. */
  loadOne(view: number, at: string): string {
    return this.wide ? `${this.name(view)}[${at}]` : this.access.load(view, at);
  }

  /** Stores the `d`-th value of an output of headDim. */
  store(output: number, from: string, d: string, value: string): string {
    const view = this.call.inputs.length + output;
    if (this.wide) return `${this.name(view)}[${from} + ${d}] = ${value};`;
    const place = (which: string): string => `${from} + (${which}) * geometry.d${view}`;
    if (this.type === "f32")
      return `{ let at = ${place(d)}; let stored = ${value}; ${this.access.store(output, "at", "stored")} }`;
    return `{ let whole = ${value}; for (var k = 0; k < 4; k++) {
  let at = ${place(`4 * ${d} + k`)}; let stored = whole[k]; ${this.access.store(output, "at", "stored")}
} }`;
  }

  /** Stores a single number. */
  storeOne(output: number, at: string, value: string): string {
    const view = this.call.inputs.length + output;
    if (this.wide) return `${this.name(view)}[${at}] = ${value};`;
    return `{ let at = ${at}; let stored = ${value}; ${this.access.store(output, "at", "stored")} }`;
  }

  private name(view: number): string {
    return `b${this.call.buffers.indexOf(this.views[view].buffer)}`;
  }
}

/** Whether all values of headDim can be read and written in whole vectors of f32, and all others are f32 too. */
function isWide(
  buffers: readonly BackendBuffer[],
  views: readonly View[],
  headed: readonly boolean[],
  headDim: number,
): boolean {
  if (headDim % 4 !== 0) return false;
  const kinds = new Map<BackendBuffer, boolean>();
  for (let i = 0; i < views.length; i++) {
    const { buffer, dtype, offset, strides } = views[i];
    if (dtype !== "f32") return false;
    if ((kinds.get(buffer) ?? headed[i]) !== headed[i]) return false;
    kinds.set(buffer, headed[i]);
    if (!headed[i]) continue;
    if (strides[3] !== 1 || offset % 4 !== 0) return false;
    for (let axis = 0; axis < 3; axis++) if (strides[axis] % 4 !== 0) return false;
  }
  return kinds.size === buffers.length;
}
