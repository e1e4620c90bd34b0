import { type ConvCall, sizeOf, type View } from "@nf/core";
import type { GpuBuffer } from "../buffer.ts";
import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import {
  accessViews,
  coordinatesOf,
  indexOf,
  spaceNames,
  spaceNumbers,
  type ViewAccess,
  viewsKey,
} from "../wgsl/views.ts";
import { axesOf, evenSplit, outerSize, windowNames, windowNumbers } from "./windows.ts";

/*
 * The gradient of a convolution's weight: sums over all images and positions, of which there are far more than weights.
 * They are taken in chunks of lines (rows of outputs of one image), and the chunks then added up.
 */

const WORKGROUP = 64;
/** Invocations that keep an adapter busy. */
const ENOUGH = { software: 2_048, integrated: 16_384, discrete: 65_536 } as const;
/** Products below which a tile of its own is not worth a shader. */
const SMALL = 1 << 16;
const MOST_CHUNKS = 512;

/** What an invocation computes: channels of the result times elements of a window's row, from so many outputs at a time. */
interface Tile {
  readonly channels: number;
  readonly width: number;
  readonly outputs: number;
  /** Whether neighbours in the window are neighbours in x, and so are those of outputs. */
  readonly dense: boolean;
  /** Whether all elements of windows lie in x. */
  readonly inside: boolean;
  /** Invocations of the subgroups that read gradients side by side and hand them around, or 0. */
  readonly together: number;
  /** Invocations of a work group. */
  readonly lanes: number;
}

/** Runs the `weightGrad` pass: gradient of out and x to the gradient of the weight. */
export function runWeightGrad(gpu: Gpu, call: ConvCall): void {
  const { attributes, inputs, outputs } = call;
  const [gradient, x] = inputs as readonly [View, View];
  const weight = outputs[0] as View;
  const kernel = weight.shape.slice(2);
  const rank = kernel.length;
  const outSizes = gradient.shape.slice(2);
  const outPer = (weight.shape[0] as number) / attributes.groups;
  const inPer = weight.shape[1] as number;
  const shape = tileOf(gpu, call, outPer, kernel[rank - 1] as number);
  const lines = (gradient.shape[0] as number) * outerSize(outSizes);
  const outTiles = Math.ceil(outPer / shape.channels);
  const kTiles = Math.ceil((kernel[rank - 1] as number) / shape.width);
  const count = inPer * outerSize(kernel) * kTiles;
  const lanes = Math.max([8, 16, 32].find((size) => size >= count) ?? WORKGROUP, shape.together);
  const groups = Math.ceil(count / lanes);
  const perChunk = attributes.groups * outTiles * groups * lanes;
  const tile: Tile = { ...shape, lanes };
  const wanted = Math.min(lines, MOST_CHUNKS, Math.ceil(ENOUGH[gpu.adapterClass] / perChunk));
  const chunkLines = Math.ceil(lines / wanted);
  const chunks = Math.ceil(lines / chunkLines);
  const partial = gpu.scratch.take(4 * chunks * weight.size);
  const key = `${rank} ${Object.values(tile).join(" ")} ${viewsKey({ ...call, outputs: [] })}`;
  const shader = gpu.shader(`convWeight ${key}`, () => print(call, rank, tile));
  const views = [gradient, x];
  gpu.dispatch(
    shader,
    [...ownInputs(call), partial],
    [
      count,
      groups,
      lines,
      chunkLines,
      outTiles,
      kTiles,
      outPer,
      inPer,
      weight.size,
      ...windowNumbers(attributes, x.shape.slice(2), outSizes, kernel),
      ...views.flatMap(({ offset, strides }) => [offset, ...strides]),
    ],
    [],
    chunks * attributes.groups * outTiles * groups,
  );
  addChunks(gpu, weight, partial, chunks);
  gpu.scratch.give(partial);
}

function ownInputs({ inputs }: ConvCall): GpuBuffer[] {
  return [...own([...new Set(inputs.map(({ buffer }) => buffer))])];
}

function tileOf(gpu: Gpu, call: ConvCall, outPer: number, size: number): Omit<Tile, "lanes"> {
  const { attributes, inputs, outputs: results } = call;
  const [gradient, x] = inputs as readonly [View, View];
  const weight = results[0] as View;
  // Small ones share one shader.
  if ((gradient.size * weight.size) / (weight.shape[0] as number) < SMALL)
    return { channels: 2, width: 2, outputs: 1, dense: false, inside: false, together: 0 };
  const last = attributes.stride.length - 1;
  const dense = attributes.stride[last] === 1 && attributes.dilation[last] === 1;
  const outX = gradient.shape[last + 2] as number;
  const width = evenSplit(size, 7);
  // The last part of a window's row may reach beyond its end.
  const beyond = Math.ceil(size / width) * width - size;
  const inside = axesOf(last + 1).every((d) => {
    const [out, kernel] = [gradient.shape[d + 2], weight.shape[d + 2]] as [number, number];
    const [step, dilation] = [attributes.stride[d], attributes.dilation[d]] as [number, number];
    const reach = (out - 1) * step + (kernel - 1 + (d === last ? beyond : 0)) * dilation;
    return attributes.padding[d]?.[0] === 0 && reach < (x.shape[d + 2] as number);
  });
  const together = gpu.adapterClass === "software" && dense && gpu.subgroupSize >= 4 ? gpu.subgroupSize : 0;
  const outputs =
    (together > 0 ? [8, 7, 6, 5, 4, 3, 2] : [7, 5, 4, 6, 3, 2]).find((n) => outX % n === 0) ?? 1;
  return { channels: evenSplit(outPer, 8), width, outputs: dense ? outputs : 1, dense, inside, together };
}

function print(call: ConvCall, rank: number, tile: Tile): ShaderSource {
  const [gradient, x] = call.inputs as readonly [View, View];
  const buffers = [...new Set([gradient.buffer, x.buffer])];
  const access = accessViews({ buffers, inputs: call.inputs, outputs: [] });
  const last = rank - 1;
  const [js, ks] = [axesOf(tile.channels), axesOf(tile.width)];
  const sums = js.flatMap((j) => ks.map((k) => `${j}_${k}`));
  const all = (text: (sum: string) => string): string => sums.map(text).join(" ");
  const outer = axesOf(last);
  const strides = (view: string): string[] => [
    `${view}`,
    ...axesOf(rank + 2).map((axis) => `${view}${axis}`),
  ];
  return {
    label: "conv weightGrad",
    buffers: [...access.buffers, { name: "partial", type: "f32", access: "write" }],
    geometry: [
      "count",
      "groups",
      "lines",
      "chunkLines",
      "outTiles",
      "kTiles",
      "outPer",
      "inPer",
      "size",
      ...windowNames(rank),
      ...strides("g"),
      ...strides("x"),
    ],
    params: [],
    workgroup: tile.lanes,
    subgroups: tile.together > 0,
    // A work group has one chunk and one tile of channels: gradients are the same for all.
    body: `let part = i32(group) / geometry.groups;
var rest = (i32(group) % geometry.groups) * ${tile.lanes} + i32(lane);
let groups = geometry.size / (geometry.outPer * geometry.inPer${axesOf(rank)
      .map((d) => ` * geometry.kernel${d}`)
      .join("")});
let channel = (part % geometry.outTiles) * ${tile.channels};
let group_ = (part / geometry.outTiles) % groups;
let chunk = part / (geometry.outTiles * groups);
${tile.together > 0 ? "let live = rest < geometry.count; rest = min(rest, geometry.count - 1);" : "if (rest >= geometry.count) { return; }"}
if (chunk * geometry.chunkLines >= geometry.lines) { return; }
let kx = (rest % geometry.kTiles) * ${tile.width}; rest = rest / geometry.kTiles;
${[...outer]
  .reverse()
  .map((d) => `let k${d} = rest % geometry.kernel${d}; rest = rest / geometry.kernel${d};`)
  .join("\n")}
let c = rest;
let first = group_ * geometry.outPer + channel;
let left = kx * geometry.dilation${last} - geometry.before${last};
${js.map((j) => `let g${j} = geometry.g + (group_ * geometry.outPer + min(channel + ${j}, geometry.outPer - 1)) * geometry.g1;`).join("\n")}
let plane = geometry.x + (group_ * geometry.inPer + c) * geometry.x1;
${tile.together > 0 ? sharedPlaces(tile, rank) : ""}
${all((s) => `var total${s} = 0.0;`)}
for (var line = chunk * geometry.chunkLines; line < min((chunk + 1) * geometry.chunkLines, geometry.lines); line++) {
var index = line;
${[...outer]
  .reverse()
  .map(
    (d) => `let o${d} = index % geometry.out${d}; index = index / geometry.out${d};
let i${d} = o${d} * geometry.step${d} - geometry.before${d} + k${d} * geometry.dilation${d};
${
  // Invocations that hand gradients around go the same way, also where windows are outside for some of them.
  tile.together > 0
    ? `let row${d} = clamp(i${d}, 0, geometry.in${d} - 1); let in_${d} = row${d} == i${d};`
    : `if (i${d} < 0 || i${d} >= geometry.in${d}) { continue; } let row${d} = i${d};`
}`,
  )
  .join("\n")}
let from_ = index * geometry.g0${outer.map((d) => ` + o${d} * geometry.g${d + 2}`).join("")};
let at = plane + index * geometry.x0${outer.map((d) => ` + row${d} * geometry.x${d + 2}`).join("")};
${all((s) => `var sum${s} = 0.0;`)}
for (var ox = 0; ox < geometry.out${last}; ox += ${tile.outputs}) {
${tile.together > 0 ? sharedProducts(tile, rank, access) : products(tile, rank, access)}
}
${all((s) => `total${s} += sum${s};`)}
}
let base = chunk * geometry.size + (${outer.reduce(
      (text, d) => `(${text}) * geometry.kernel${d} + k${d}`,
      "first * geometry.inPer + c",
    )}) * geometry.kernel${last} + kx;
let next = geometry.inPer${axesOf(rank)
      .map((d) => ` * geometry.kernel${d}`)
      .join("")};
${js
  .map(
    (j) =>
      `if (${tile.together > 0 ? "live && " : ""}channel + ${j} < geometry.outPer) { ${ks.map((k) => `if (kx + ${k} < geometry.kernel${last}) { partial[base + ${j} * next + ${k}] = total${j}_${k}; }`).join(" ")} }`,
  )
  .join("\n")}`,
  };
}

/** Declares the elements `v0`, `v1`, … of x that a tile touches and, where they may lie outside, `in0`, `in1`, …. */
function covered(
  { width, outputs, dense, inside, together }: Tile,
  rank: number,
  access: ViewAccess,
): string[] {
  const last = rank - 1;
  const rows = together > 0 ? axesOf(last).map((d) => ` && in_${d}`) : [];
  // Neighbours where windows are dense, else one for each element of a window.
  return axesOf(dense ? outputs + width - 1 : width).map((i) => {
    const place = `let p${i} = left + ox * geometry.step${last} + ${dense ? i : `${i} * geometry.dilation${last}`};`;
    const nearest = inside ? `p${i}` : `clamp(p${i}, 0, geometry.in${last} - 1)`;
    const value = `let v${i} = ${access.load(1, `(at + ${nearest} * geometry.x${rank + 1})`)};`;
    const within = `let in${i} = p${i} >= 0 && p${i} < geometry.in${last}${rows.join("")};`;
    return `${place} ${value} ${inside ? "" : within}`;
  });
}

/** The product of a gradient and an element of x: nothing outside of x, whatever the gradient. */
const product = ({ inside }: Tile, gradient: string, i: number): string =>
  inside ? `${gradient} * v${i}` : `select(0.0, ${gradient} * v${i}, in${i})`;

/** What a few outputs of a line add to the sums. */
function products(tile: Tile, rank: number, access: ViewAccess): string {
  const { channels, outputs, width } = tile;
  const lines = axesOf(outputs).flatMap((i) =>
    axesOf(channels).map(
      (j) =>
        `{ let g = ${access.load(0, `(g${j} + from_ + (ox + ${i}) * geometry.g${rank + 1})`)}; ${axesOf(width)
          .map((k) => `sum${j}_${k} += ${product(tile, "g", i + k)};`)
          .join(" ")} }`,
    ),
  );
  return [...covered(tile, rank, access), ...lines].join("\n");
}

/** Where the gradients of a tile lie that an invocation reads for its subgroup. */
function sharedPlaces({ channels, outputs, together }: Tile, rank: number): string {
  const count = channels * outputs;
  return axesOf(Math.ceil(count / together))
    .map(
      (m) => `let n${m} = min(${m * together} + i32(sublane), ${count - 1});
let h${m}at = geometry.g + (group_ * geometry.outPer + min(channel + n${m} % ${channels}, geometry.outPer - 1)) * geometry.g1 + n${m} / ${channels} * geometry.g${rank + 1};`,
    )
    .join("\n");
}

/** The same by subgroups. */
function sharedProducts(tile: Tile, rank: number, access: ViewAccess): string {
  const { channels, outputs, together, width } = tile;
  const reads = axesOf(Math.ceil((channels * outputs) / together)).map(
    (m) => `let h${m} = ${access.load(0, `(h${m}at + from_ + ox * geometry.g${rank + 1})`)};`,
  );
  const lines = axesOf(channels).flatMap((j) => [
    ...axesOf(outputs).map((i) => {
      const n = i * channels + j;
      return `let g${i}_${j} = subgroupBroadcast(h${Math.floor(n / together)}, ${n % together}u);`;
    }),
    ...axesOf(width).map((k) => {
      const terms = axesOf(outputs).map((i) => product(tile, `g${i}_${j}`, i + k));
      return `sum${j}_${k} += ${terms.join(" + ")};`;
    }),
  ]);
  return [...covered(tile, rank, access), ...reads, ...lines].join("\n");
}

/** Adds chunk after chunk of `[chunks, …shape]` to where the result lies. */
function addChunks(gpu: Gpu, out: View, partial: GpuBuffer, chunks: number): void {
  const rank = out.shape.length;
  const call = { buffers: [out.buffer], inputs: [], outputs: [out] };
  const shader = gpu.shader(`addChunks ${rank} ${viewsKey(call)}`, () => {
    const access = accessViews(call);
    return {
      label: "conv weightGrad, sum of chunks",
      buffers: [...access.buffers, { name: "partial", type: "f32", access: "read" }],
      geometry: ["count", "chunks", ...spaceNames(rank, 1)],
      params: [],
      workgroup: WORKGROUP,
      body: `let point = i32(invocation);
if (point >= geometry.count) { return; }
var total = 0.0;
for (var first = 0; first < geometry.chunks; first += 32) {
var sum = 0.0;
for (var k = first; k < min(first + 32, geometry.chunks); k++) { sum += partial[k * geometry.count + point]; }
total += sum;
}
${coordinatesOf(rank, "point")}
let at = ${indexOf(rank, 0)};
${access.store(0, "at", "total")}`,
    };
  });
  gpu.dispatch(
    shader,
    [...own([out.buffer]), partial],
    [sizeOf(out.shape), chunks, ...spaceNumbers(out.shape, [out.strides], [out.offset])],
    [],
    Math.ceil(out.size / WORKGROUP),
  );
}
