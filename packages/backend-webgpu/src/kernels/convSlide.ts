import type { ConvCall, View } from "@nf/core";
import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { accessViews, type ViewAccess, viewsKey } from "../wgsl/views.ts";
import { axesOf, evenSplit } from "./windows.ts";

/*
 * Sums over windows that slide over a source: the forward of a convolution, and the gradient of its input, which is one
 * with channels exchanged and steps reversed. An invocation computes some neighbours along the innermost dimension, for
 * some channels.
 */

/** Where windows lie: element `k` of the window of output `o` is source element `(o * step + start + k * dilation) / divide`, where that is whole. */
export interface Slide {
  readonly groups: number;
  /** Channels of a group in the result and in the source. */
  readonly outPer: number;
  readonly inPer: number;
  readonly kernel: readonly number[];
  readonly step: readonly number[];
  readonly dilation: readonly number[];
  readonly start: readonly number[];
  readonly divide: readonly number[];
  /** Steps of the weight from channel to channel of the result, of the source, and from group to group. */
  readonly weightByOut: number;
  readonly weightByIn: number;
  readonly weightByGroup: number;
}

/** What an invocation computes. */
interface Tile {
  readonly outputs: number;
  readonly channels: number;
  /** Width of the window and direction of its steps of one, where a source element is read once for all outputs. */
  readonly unrolled: { readonly width: number; readonly back: boolean } | undefined;
  readonly divided: boolean;
  /** Whether each row of the window is a sum of its own, where the window is too large for one. */
  readonly byRow: boolean;
  /** Whether all that unrolled windows read lies in the source. */
  readonly inside: boolean;
  /** Invocations of the subgroups that read weights side by side and hand them around, or 0. */
  readonly lanes: number;
}

const WORKGROUP = 64;
/** Terms that are added one after the other. */
const LONGEST_SUM = 256;
const WIDEST_UNROLLED = 7;
/** Products below which a tile of its own is not worth a shader. */
const SMALL = 1 << 16;

/** Runs a sliding sum of a call: source, weight and perhaps a bias to a result. */
export function runSlide(gpu: Gpu, call: ConvCall, slide: Slide): void {
  const [source, weight, bias] = call.inputs as readonly [View, View, View | undefined];
  const out = call.outputs[0] as View;
  const rank = slide.kernel.length;
  const tile = tileOf(gpu, slide, call);
  const numbers = geometry(slide, tile, { source, weight, bias, out });
  const { unrolled, ...others } = tile;
  const key = `conv ${rank} ${Object.values(others).join(" ")} ${unrolled?.width} ${unrolled?.back} ${viewsKey(call)}`;
  const shader = gpu.shader(key, () => print(call, Object.keys(numbers), rank, tile));
  const groups = (numbers["groups"] as number) * (numbers["outTiles"] as number) * slide.groups;
  gpu.dispatch(shader, own(call.buffers), Object.values(numbers), [], groups);
}

function tileOf(gpu: Gpu, slide: Slide, call: ConvCall): Tile {
  const source = call.inputs[0] as View;
  const out = call.outputs[0] as View;
  const last = slide.kernel.length - 1;
  const width = slide.kernel[last] as number;
  const divided = slide.divide.some((by) => by !== 1);
  const volume = slide.kernel.reduce((product, size) => product * size, 1);
  const byRow = volume > LONGEST_SUM;
  // Small ones share one shader.
  if (out.dtype !== "f32" || out.size * slide.inPer * volume < SMALL) {
    const small = { outputs: 2, channels: 2, unrolled: undefined, inside: false, lanes: 0 };
    return { ...small, divided, byRow };
  }
  const dilation = slide.dilation[last] as number;
  const dense = slide.step[last] === 1 && Math.abs(dilation) === 1 && width <= WIDEST_UNROLLED && !divided;
  const unrolled = dense && width > 1 ? { width, back: dilation < 0 } : undefined;
  const software = gpu.adapterClass === "software";
  const along = out.shape[last + 2] as number;
  const outputs = evenSplit(along, software ? 8 : 4);
  const channels = evenSplit(slide.outPer, software ? 8 : 4);
  const size = source.shape[last + 2] as number;
  const from = (slide.start[last] as number) - (unrolled?.back ? width - 1 : 0);
  const to = from + Math.ceil(along / outputs) * outputs + width - 1;
  const inside = unrolled !== undefined && from >= 0 && to <= size && rowsInside(slide, source, out);
  const lanes = software && unrolled !== undefined && gpu.subgroupSize >= 4 ? gpu.subgroupSize : 0;
  return { outputs, channels, unrolled, divided, byRow, inside, lanes };
}

/** Whether windows lie inside along all dimensions but the innermost. */
function rowsInside({ kernel, step, dilation, start }: Slide, source: View, out: View): boolean {
  return axesOf(kernel.length - 1).every((d) => {
    const reach = ((kernel[d] as number) - 1) * (dilation[d] as number);
    const end = ((out.shape[d + 2] as number) - 1) * (step[d] as number) + (start[d] as number);
    return (
      (start[d] as number) + Math.min(0, reach) >= 0 &&
      end + Math.max(0, reach) < (source.shape[d + 2] as number)
    );
  });
}

interface Views {
  readonly source: View;
  readonly weight: View;
  readonly bias: View | undefined;
  readonly out: View;
}

function geometry(slide: Slide, tile: Tile, { source, weight, bias, out }: Views): Record<string, number> {
  const rank = slide.kernel.length;
  const sizes = out.shape.slice(2);
  const outTiles = Math.ceil(slide.outPer / tile.channels);
  const xTiles = Math.ceil((sizes[rank - 1] as number) / tile.outputs);
  const batch = out.shape[0] as number;
  const volume = slide.kernel.reduce((product, size) => product * size, 1);
  const numbers: Record<string, number> = {
    count: batch * xTiles,
    groups: 0,
    convGroups: slide.groups,
    outTiles,
    xTiles,
    outPer: slide.outPer,
    inPer: slide.inPer,
    block: Math.max(1, Math.floor(LONGEST_SUM / volume)),
    wo: slide.weightByOut,
    wi: slide.weightByIn,
    wg: slide.weightByGroup,
    w: weight.offset,
    x: source.offset,
    xn: source.strides[0] as number,
    xc: source.strides[1] as number,
    y: out.offset,
    yn: out.strides[0] as number,
    yc: out.strides[1] as number,
    z: bias?.offset ?? 0,
    zc: bias?.strides[0] ?? 0,
  };
  for (const d of axesOf(rank)) {
    if (d < rank - 1) numbers["count"] = (numbers["count"] as number) * (sizes[d] as number);
    numbers[`size${d}`] = source.shape[d + 2] as number;
    numbers[`out${d}`] = sizes[d] as number;
    numbers[`kernel${d}`] = slide.kernel[d] as number;
    numbers[`step${d}`] = slide.step[d] as number;
    numbers[`dilation${d}`] = slide.dilation[d] as number;
    numbers[`start${d}`] = slide.start[d] as number;
    numbers[`divide${d}`] = slide.divide[d] as number;
    numbers[`w${d}`] = weight.strides[d + 2] as number;
    numbers[`x${d}`] = source.strides[d + 2] as number;
    numbers[`y${d}`] = out.strides[d + 2] as number;
  }
  numbers["groups"] = Math.ceil((numbers["count"] as number) / WORKGROUP);
  return numbers;
}

function print(call: ConvCall, names: readonly string[], rank: number, tile: Tile): ShaderSource {
  const access = accessViews(call);
  const last = rank - 1;
  const [is, js] = [axesOf(tile.outputs), axesOf(tile.channels)];
  const sums = js.flatMap((j) => is.map((i) => `${j}_${i}`));
  const all = (text: (sum: string) => string): string => sums.map(text).join(" ");
  // Invocations that hand weights around go the same way, also through rows that are outside for some of them.
  const place = (d: number, together: boolean): string =>
    together
      ? `let i${d} = clamp(p${d}, 0, geometry.size${d} - 1); let in${d} = p${d} == i${d};`
      : `${tile.divided ? `if (p${d} % geometry.divide${d} != 0) { continue; }` : ""}
let i${d} = p${d}${tile.divided ? ` / geometry.divide${d}` : ""};
if (p${d} < 0 || i${d} >= geometry.size${d}) { continue; }`;
  const outer = (along: string, together: boolean): string =>
    axesOf(last).reduceRight(
      (inner, d) => `for (var k${d} = 0; k${d} < geometry.kernel${d}; k${d}++) {
let p${d} = o${d} * geometry.step${d} + geometry.start${d} + k${d} * geometry.dilation${d};
${place(d, together)}
${inner}
}`,
      `let at = image + c * geometry.xc${axesOf(last)
        .map((d) => ` + i${d} * geometry.x${d}`)
        .join("")};
let wat = c * geometry.wi${axesOf(last)
        .map((d) => ` + k${d} * geometry.w${d}`)
        .join("")};
${along}
${tile.byRow ? all((s) => `total${s} += sum${s}; sum${s} = 0.0;`) : ""}`,
    );
  const sum = (
    along: string,
    together = false,
  ): string => `for (var c0 = 0; c0 < geometry.inPer; c0 += geometry.block) {
${all((s) => `var sum${s} = 0.0;`)}
for (var c = c0; c < min(c0 + geometry.block, geometry.inPer); c++) {
${outer(along, together)}
}
${all((s) => `total${s} += sum${s};`)}
}`;
  const careful = sum(row(tile, last, access));
  const quick = tile.unrolled && sum(unrolledRow(tile, tile.unrolled, last, access), tile.lanes > 0);
  // Unrolled windows take zeros for what lies outside: an infinite weight makes NaN of them.
  const sumUp =
    quick === undefined
      ? careful
      : tile.inside
        ? quick
        : `${quick}
if (${sums.map((s) => `isNan(total${s})`).join(" || ")}) {
${all((s) => `total${s} = 0.0;`)}
${careful}
}`;
  const bias = call.inputs.length > 2;
  const stores = js.flatMap((j) => [
    `if (${tile.lanes > 0 ? "live && " : ""}channel + ${j} < geometry.outPer) {`,
    `let line = result + ${j} * geometry.yc;`,
    bias ? `let bias = ${access.load(2, `(geometry.z + (first + ${j}) * geometry.zc)`)};` : "",
    ...is.map(
      (i) =>
        `if (ox + ${i} < geometry.out${last}) { let at = line + (ox + ${i}) * geometry.y${last}; ${access.store(0, "at", `(total${j}_${i}${bias ? " + bias" : ""})`)} }`,
    ),
    "}",
  ]);
  return {
    label: "conv",
    buffers: access.buffers,
    geometry: names,
    params: [],
    workgroup: WORKGROUP,
    subgroups: tile.lanes > 0,
    // A work group has one tile of channels: its weights are the same for all.
    body: `let channels = i32(group) / geometry.groups;
var rest = (i32(group) % geometry.groups) * ${WORKGROUP} + i32(lane);
let channel = (channels % geometry.outTiles) * ${tile.channels};
let g = channels / geometry.outTiles;
${tile.lanes > 0 ? "let live = rest < geometry.count; rest = min(rest, geometry.count - 1);" : "if (rest >= geometry.count) { return; }"}
if (channels >= geometry.outTiles * geometry.convGroups) { return; }
let ox = (rest % geometry.xTiles) * ${tile.outputs}; rest = rest / geometry.xTiles;
${axesOf(last)
  .reverse()
  .map((d) => `let o${d} = rest % geometry.out${d}; rest = rest / geometry.out${d};`)
  .join("\n")}
let n = rest;
let first = g * geometry.outPer + channel;
let image = geometry.x + n * geometry.xn + g * geometry.inPer * geometry.xc;
let result = geometry.y + n * geometry.yn + first * geometry.yc${axesOf(last)
      .map((d) => ` + o${d} * geometry.y${d}`)
      .join("")};
${js.map((j) => `let w${j} = geometry.w + g * geometry.wg + min(channel + ${j}, geometry.outPer - 1) * geometry.wo;`).join("\n")}
${tile.unrolled === undefined ? "" : sharedPlaces(tile, tile.unrolled.width, last)}
${all((s) => `var total${s} = 0.0;`)}
let left = ox * geometry.step${last} + geometry.start${last};
${sumUp}
${stores.join("\n")}`,
  };
}

/** An element of the source's row `at`, the nearest one for an index outside. */
const element = (access: ViewAccess, last: number, index: string): string =>
  access.load(0, `(at + clamp(${index}, 0, geometry.size${last} - 1) * geometry.x${last})`);

/** Walks along a window of any width and steps; what lies outside adds nothing, whatever its weight. */
function row({ outputs, channels, divided }: Tile, last: number, access: ViewAccess): string {
  const values = axesOf(outputs).map((i) => {
    const p = `let t${i} = left + ${i} * geometry.step${last} + k * geometry.dilation${last};`;
    const [index, whole] = divided
      ? [`(t${i} / geometry.divide${last})`, `t${i} % geometry.divide${last} == 0 && `]
      : [`t${i}`, ""];
    const inside = `${whole}t${i} >= 0 && ${index} < geometry.size${last}`;
    return `${p} let in${i} = ${inside}; let v${i} = ${element(access, last, index)};`;
  });
  const products = axesOf(channels).map(
    (j) =>
      `let f${j} = ${access.load(1, `(w${j} + wat + k * geometry.w${last})`)}; ${axesOf(outputs)
        .map((i) => `sum${j}_${i} += select(0.0, v${i} * f${j}, in${i});`)
        .join(" ")}`,
  );
  return `for (var k = 0; k < geometry.kernel${last}; k++) {\n${[...values, ...products].join("\n")}\n}`;
}

/** Where the weights of a window's row lie that an invocation reads for its subgroup. */
function sharedPlaces({ channels, lanes }: Tile, width: number, last: number): string {
  if (lanes === 0) return "";
  const count = width * channels;
  return axesOf(Math.ceil(count / lanes))
    .map(
      (m) => `let n${m} = min(${m * lanes} + i32(sublane), ${count - 1});
let h${m}at = geometry.w + g * geometry.wg + min(channel + n${m} % ${channels}, geometry.outPer - 1) * geometry.wo + n${m} / ${channels} * geometry.w${last};`,
    )
    .join("\n");
}

/** Reads all that the windows of the tile cover once. */
function unrolledRow(
  tile: Tile,
  { width, back }: { readonly width: number; readonly back: boolean },
  last: number,
  access: ViewAccess,
): string {
  const { channels, lanes, outputs } = tile;
  const shift = back ? width - 1 : 0;
  const reads = lanes === 0 ? 0 : Math.ceil((width * channels) / lanes);
  const weight = (k: number, j: number): string => {
    if (lanes === 0) return access.load(1, `(w${j} + wat + ${k} * geometry.w${last})`);
    const n = k * channels + j;
    return `subgroupBroadcast(h${Math.floor(n / lanes)}, ${n % lanes}u)`;
  };
  return [
    ...covered(tile, outputs + width - 1, shift, last, access),
    ...axesOf(reads).map((m) => `let h${m} = ${access.load(1, `(h${m}at + wat)`)};`),
    ...axesOf(channels).flatMap((j) => [
      ...axesOf(width).map((k) => `let f${k}_${j} = ${weight(k, j)};`),
      ...axesOf(outputs).map(
        (i) =>
          `sum${j}_${i} += ${axesOf(width)
            .map((k) => `v${i + (back ? shift - k : k)} * f${k}_${j}`)
            .join(" + ")};`,
      ),
    ]),
  ].join("\n");
}

/** Declares `v0`, `v1`, …: the source from `shift` before `left` on. */
function covered(
  { inside, lanes }: Tile,
  count: number,
  shift: number,
  last: number,
  access: ViewAccess,
): string[] {
  const rows = lanes === 0 ? [] : axesOf(last).map((d) => ` && in${d}`);
  return axesOf(count).map((i) => {
    const place = `let t${i} = left + ${i - shift};`;
    if (inside) return `${place} let v${i} = ${access.load(0, `(at + t${i} * geometry.x${last})`)};`;
    const within = `t${i} >= 0 && t${i} < geometry.size${last}${rows.join("")}`;
    return `${place} let v${i} = select(0.0, ${element(access, last, `t${i}`)}, ${within});`;
  });
}
