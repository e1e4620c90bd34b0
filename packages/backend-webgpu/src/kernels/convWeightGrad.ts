import { type ConvCall, sizeOf, type View } from "@nf/core";
import type { GpuBuffer } from "../buffer.ts";
import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { accessViews, coordinatesOf, indexOf, spaceNames, spaceNumbers, viewsKey } from "../wgsl/views.ts";
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
  const shape = tileOf(call, outSizes[rank - 1] as number, outPer, kernel[rank - 1] as number);
  const lines = (gradient.shape[0] as number) * outerSize(outSizes);
  const outTiles = Math.ceil(outPer / shape.channels);
  const kTiles = Math.ceil((kernel[rank - 1] as number) / shape.width);
  const count = inPer * outerSize(kernel) * kTiles;
  const lanes = [8, 16, 32].find((size) => size >= count) ?? WORKGROUP;
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

function tileOf(
  { attributes, inputs, outputs }: ConvCall,
  outX: number,
  outPer: number,
  width: number,
): Omit<Tile, "lanes"> {
  const gradient = inputs[0] as View;
  const weight = outputs[0] as View;
  // Small ones share one shader.
  if ((gradient.size * weight.size) / (weight.shape[0] as number) < SMALL)
    return { channels: 2, width: 2, outputs: 1, dense: false };
  const last = attributes.stride.length - 1;
  const dense = attributes.stride[last] === 1 && attributes.dilation[last] === 1;
  const together = [7, 5, 4, 6, 3, 2].find((size) => outX % size === 0) ?? 1;
  return {
    channels: evenSplit(outPer, 8),
    width: evenSplit(width, 7),
    outputs: dense ? together : 1,
    dense,
  };
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
    // A work group has one chunk and one tile of channels: gradients are the same for all, which software adapters read once.
    body: `let part = i32(group) / geometry.groups;
var rest = (i32(group) % geometry.groups) * ${tile.lanes} + i32(lane);
let groups = geometry.size / (geometry.outPer * geometry.inPer${axesOf(rank)
      .map((d) => ` * geometry.kernel${d}`)
      .join("")});
let channel = (part % geometry.outTiles) * ${tile.channels};
let group_ = (part / geometry.outTiles) % groups;
let chunk = part / (geometry.outTiles * groups);
if (rest >= geometry.count || chunk * geometry.chunkLines >= geometry.lines) { return; }
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
${all((s) => `var total${s} = 0.0;`)}
for (var line = chunk * geometry.chunkLines; line < min((chunk + 1) * geometry.chunkLines, geometry.lines); line++) {
var index = line;
${[...outer]
  .reverse()
  .map(
    (d) => `let o${d} = index % geometry.out${d}; index = index / geometry.out${d};
let i${d} = o${d} * geometry.step${d} - geometry.before${d} + k${d} * geometry.dilation${d};
if (i${d} < 0 || i${d} >= geometry.in${d}) { continue; }`,
  )
  .join("\n")}
let from_ = index * geometry.g0${outer.map((d) => ` + o${d} * geometry.g${d + 2}`).join("")};
let at = plane + index * geometry.x0${outer.map((d) => ` + i${d} * geometry.x${d + 2}`).join("")};
${all((s) => `var sum${s} = 0.0;`)}
for (var ox = 0; ox < geometry.out${last}; ox += ${tile.outputs}) {
${products(tile, rank, access)}
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
      `if (channel + ${j} < geometry.outPer) { ${ks.map((k) => `if (kx + ${k} < geometry.kernel${last}) { partial[base + ${j} * next + ${k}] = total${j}_${k}; }`).join(" ")} }`,
  )
  .join("\n")}`,
  };
}

/** What a few outputs of a line add to the sums. */
function products(
  { channels, width, outputs, dense }: Tile,
  rank: number,
  access: ReturnType<typeof accessViews>,
): string {
  const last = rank - 1;
  // Elements of x that a tile touches: neighbours where windows are dense, else one for each element of a window.
  const covered = dense ? outputs + width - 1 : width;
  const values = axesOf(covered).map((i) => {
    const by = dense ? `${i}` : `${i} * geometry.dilation${last}`;
    const load = access.load(1, `(at + clamp(p${i}, 0, geometry.in${last} - 1) * geometry.x${rank + 1})`);
    return `let p${i} = left + ox * geometry.step${last} + ${by}; let v${i} = select(0.0, ${load}, p${i} >= 0 && p${i} < geometry.in${last});`;
  });
  const lines = axesOf(outputs).flatMap((i) =>
    axesOf(channels).map(
      (j) =>
        `{ let g = ${access.load(0, `(g${j} + from_ + (ox + ${i}) * geometry.g${rank + 1})`)}; ${axesOf(width)
          .map((k) => `sum${j}_${k} += g * v${i + k};`)
          .join(" ")} }`,
    ),
  );
  return [...values, ...lines].join("\n");
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
