import { DTYPES, type MatmulCall, type MergedSpace, mergeDimensions, type View } from "@nf/core";
import type { ShaderBuffer } from "../device/shader.ts";
import { computeDtype, VALUE_TYPE } from "../wgsl/access.ts";
import { printWgsl } from "../wgsl/printer.ts";
import { accessViews, indexOf, spaceNames, spaceNumbers, type ViewAccess } from "../wgsl/views.ts";

/** How an operand of a product lies: four neighbours along a dimension as one vector, or element by element. */
export type Layout = "depth" | "across" | "single";

/** A product as kernels see it: sizes, a batch of few dimensions, and for each view where a matrix lies. */
export interface Plan {
  readonly call: MatmulCall;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Matrices. */
  readonly batches: number;
  readonly batch: MergedSpace;
  /** Inputs, then the output. */
  readonly views: readonly View[];
  readonly a: Layout;
  readonly b: Layout;
  /** Whether rows of the product are stored as vectors. */
  readonly wideOut: boolean;
}

/** Works out sizes, and how wide elements may be read. */
export function planOf(call: MatmulCall): Plan {
  const views = [...call.inputs, ...call.outputs] as View[];
  const [left, right] = views as [View, View];
  const out = call.outputs[0] as View;
  const lead = out.shape.length - 2;
  const batch = mergeDimensions(
    out.shape.slice(0, lead),
    views.map(({ strides }) => strides.slice(0, lead)),
  );
  const [a, b] = layouts(call, left, right);
  return {
    call,
    rows: out.shape[lead] as number,
    columns: out.shape[lead + 1] as number,
    depth: left.shape[lead + 1] as number,
    batches: batch.shape.reduce((product, size) => product * size, 1),
    batch,
    views,
    a,
    b,
    wideOut: call.program === undefined && isWide(out, -1) && isAlone(call, out),
  };
}

/** Whether no other view lies in a view's buffer. */
function isAlone({ inputs, outputs }: MatmulCall, view: View): boolean {
  let count = 0;
  for (const other of inputs) if (other.buffer === view.buffer) count++;
  for (const other of outputs) if (other.buffer === view.buffer) count++;
  return count === 1;
}

/** Whether an f32 view can be walked in whole aligned vectors along an axis, counted from the end. */
function isWide({ dtype, shape, strides, offset }: View, axis: -1 | -2): boolean {
  const along = shape.length + axis;
  if (dtype !== "f32" || offset % 4 !== 0 || strides[along] !== 1 || (shape[along] as number) % 4 !== 0)
    return false;
  return strides.every((stride, i) => i === along || shape[i] === 1 || stride % 4 === 0);
}

function layouts(call: MatmulCall, left: View, right: View): readonly [Layout, Layout] {
  const layout = (view: View, depth: -1 | -2): Layout => {
    if (isWide(view, depth)) return "depth";
    return isWide(view, depth === -1 ? -2 : -1) ? "across" : "single";
  };
  const a = layout(left, -1);
  const b = layout(right, -2);
  if (left.buffer === right.buffer && call.inputs.length === 2 && call.outputs[0]?.buffer !== left.buffer)
    return a === "single" || b === "single" ? ["single", "single"] : [a, b];
  return [isAlone(call, left) ? a : "single", isAlone(call, right) ? b : "single"];
}

/** What of a plan is part of a shader. */
export function planKey({ call, batch, a, b, wideOut }: Plan): string {
  return `${call.program?.id ?? ""} ${batch.shape.length} ${a} ${b} ${wideOut ? "wide" : ""}`;
}

/** Names of the geometry. Steps `r0`, `c0`, … lead from row to row and from column to column of each view. */
export function planNames({ batch, views }: Plan): readonly string[] {
  const steps = views.flatMap((_, view) => [`r${view}`, `c${view}`]);
  return ["rows", "columns", "depth", "batches", ...steps, ...spaceNames(batch.shape.length, views.length)];
}

/** The numbers that go with {@link planNames}. */
export function planNumbers({ rows, columns, depth, batches, batch, views }: Plan): number[] {
  const steps = views.flatMap(({ strides }) => strides.slice(-2));
  const offsets = views.map(({ offset }) => offset);
  return [rows, columns, depth, batches, ...steps, ...spaceNumbers(batch.shape, batch.strides, offsets)];
}

/** The type that products are added up in. */
export function sumType({ views }: Plan): string {
  return VALUE_TYPE[computeDtype((views[views.length - 1] as View).dtype)];
}

/** Whether sums are rounded, so that long ones must be added in parts. */
export function isRounded({ views }: Plan): boolean {
  return DTYPES[(views[views.length - 1] as View).dtype].kind === "float";
}

/** Access to the views of a plan. */
export interface PlanAccess {
  readonly buffers: readonly ShaderBuffer[];
  /** An element of operand 0 or 1 in the type of sums, or four where its layout is wide; `at` counts elements. */
  load(operand: 0 | 1, at: string): string;
  /** Declares `finish(batch…, row, column, value)`, which stores an element of the product. */
  readonly finish: string;
}

/** Declares the buffers of a plan, operands with wide layouts as vectors. */
export function planAccess(plan: Plan): PlanAccess {
  const { call, views, wideOut } = plan;
  const access = accessViews(call);
  const types = new Map<string, string>();
  const nameOf = (view: View): string => `b${call.buffers.indexOf(view.buffer)}`;
  ([plan.a, plan.b] as const).forEach((layout, operand) => {
    if (layout !== "single") types.set(nameOf(views[operand] as View), "vec4<f32>");
  });
  const out = views[views.length - 1] as View;
  if (wideOut) types.set(nameOf(out), "vec4<f32>");
  const type = sumType(plan);
  return {
    buffers: access.buffers.map((buffer) => ({ ...buffer, type: types.get(buffer.name) ?? buffer.type })),
    load: (operand, at) =>
      (operand === 0 ? plan.a : plan.b) === "single"
        ? `${type}(${access.load(operand, at)})`
        : `${nameOf(views[operand] as View)}[(${at}) >> 2u]`,
    finish: wideOut ? storeVector(plan, nameOf(out)) : storeElement(plan, access, type),
  };
}

const placeOf = ({ batch }: Plan, view: number): string =>
  `${indexOf(batch.shape.length, view)} + row * geometry.r${view} + column * geometry.c${view}`;

function coordinates({ batch }: Plan): string {
  return batch.shape.map((_, axis) => `c${axis}: i32`).join(", ");
}

function storeVector(plan: Plan, name: string): string {
  return `fn finish(${coordinates(plan)}, row: i32, column: i32, value: vec4<f32>) {
  ${name}[(${placeOf(plan, plan.views.length - 1)}) >> 2u] = value;
}`;
}

function storeElement(plan: Plan, access: ViewAccess, type: string): string {
  const { program } = plan.call;
  const at = `let at = ${placeOf(plan, plan.views.length - 1)};`;
  const body =
    program === undefined
      ? access.store(0, "at", "value")
      : printWgsl(program, {
          // Input 0 of the program is the product, its others follow the two operands.
          load: (index) => (index === 0 ? "value" : access.load(index + 1, `(${placeOf(plan, index + 1)})`)),
          coordinate: () => "I(0)",
          store: (_, value) => access.store(0, "at", value),
        });
  return `fn finish(${coordinates(plan)}, row: i32, column: i32, value: ${type}) {\n${at}\n${body}\n}`;
}
