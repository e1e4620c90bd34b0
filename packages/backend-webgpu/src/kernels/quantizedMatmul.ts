import type { QuantizedMatmulCall, Support, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { accessViews, viewsKey } from "../wgsl/views.ts";
import { axesOf, WINDOW_DTYPES } from "./windows.ts";

const WORKGROUP = 64;
const BLOCK = 32;
/** Bytes of a block: a half as scale, then the codes. */
const BLOCK_BYTES = { q8_0: 34, q4_0: 18 } as const;
/** Rows of x that meet a block once it is unpacked. */
const MOST_ROWS = 8;

/** The `quantizedMatmul` kernel: blocks are unpacked where they are used. */
export function makeQuantizedMatmul({ gpu }: Context): KernelEntry<QuantizedMatmulCall> {
  return { dtypes: WINDOW_DTYPES, supports, run: (call) => runQuantized(gpu, call) };
}

function supports({ inputs }: QuantizedMatmulCall): Support {
  return (inputs[1] as View).contiguous ? "yes" : "after-copy";
}

/** What a shader is made for. */
interface Shape {
  readonly rows: number;
  /** Invocations that share a column, each with some of its blocks. */
  readonly split: number;
  /** Whether x is read four elements at a time. */
  readonly wide: boolean;
}

function runQuantized(gpu: Gpu, call: QuantizedMatmulCall): void {
  const { attributes, inputs, outputs } = call;
  const { format, inner, columns } = attributes;
  const [x, bytes] = inputs as readonly [View, View];
  const out = outputs[0] as View;
  const count = out.shape[0] as number;
  const rows = count === 1 ? 1 : count <= 4 ? 4 : MOST_ROWS;
  const wide = isWide(call, x);
  // A GPU has more lanes than a row of x gives columns; a software adapter gains nothing from sharing.
  const split = gpu.adapterClass === "software" || count > MOST_ROWS ? 1 : 16;
  const shape = { rows, split, wide };
  const shader = gpu.shader(`quantized ${format} ${rows} ${split} ${wide} ${viewsKey(call)}`, () =>
    source(call, shape),
  );
  const rowTiles = Math.ceil(count / rows);
  const columnTiles = Math.ceil(columns / (WORKGROUP / split));
  gpu.dispatch(
    shader,
    own(call.buffers),
    [
      count,
      columns,
      inner / BLOCK,
      columnTiles,
      bytes.offset,
      x.offset,
      ...x.strides.slice(-2),
      out.offset,
      ...out.strides.slice(-2),
    ],
    [],
    rowTiles * columnTiles,
  );
}

function isWide({ inputs, outputs }: QuantizedMatmulCall, x: View): boolean {
  if (x.dtype !== "f32" || x.strides[1] !== 1 || x.offset % 4 !== 0) return false;
  if (x.shape[0] !== 1 && (x.strides[0] as number) % 4 !== 0) return false;
  return inputs[1]?.buffer !== x.buffer && outputs[0]?.buffer !== x.buffer;
}

function source(call: QuantizedMatmulCall, { rows, split, wide }: Shape): ShaderSource {
  const { format } = call.attributes;
  const [x, bytes] = call.inputs as readonly [View, View];
  const access = accessViews(call);
  const nameOf = (view: View): string => `b${call.buffers.indexOf(view.buffer)}`;
  const all = (text: (r: number) => string): string => axesOf(rows).map(text).join(" ");
  // Four neighbours of row r of x, at an element of the block.
  const four = (r: number, at: string): string =>
    wide
      ? `${nameOf(x)}[(x${r} + ${at}) >> 2u]`
      : `vec4<f32>(${axesOf(4)
          .map((i) => access.load(0, `(x${r} + (${at} + ${i}) * geometry.xc)`))
          .join(", ")})`;
  const words = format === "q8_0" ? 8 : 4;
  const codes =
    format === "q8_0"
      ? `let q = vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
${all((r) => `sum${r} += q * ${four(r, "at_")};`)}`
      : `let nibbles = vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u);
let low = vec4<f32>(nibbles & vec4<u32>(15u)) - vec4<f32>(8.0);
let high = vec4<f32>((nibbles >> vec4<u32>(4u)) & vec4<u32>(15u)) - vec4<f32>(8.0);
${all((r) => `sum${r} += low * ${four(r, "at_")} + high * ${four(r, "(at_ + 16)")};`)}`;
  const store = all(
    (r) =>
      `if (row + ${r} < geometry.rows) { let at = geometry.y + (row + ${r}) * geometry.yr + column * geometry.yc; ${access.store(0, "at", `total${r}`)} }`,
  );
  return {
    label: `quantizedMatmul ${format}`,
    buffers: access.buffers.map((buffer) =>
      wide && buffer.name === nameOf(x) ? { ...buffer, type: "vec4<f32>" } : buffer,
    ),
    geometry: ["rows", "columns", "blocks", "columnTiles", "bytes", "x", "xr", "xc", "y", "yr", "yc"],
    params: [],
    workgroup: WORKGROUP,
    declarations: split === 1 ? "" : `var<workgroup> parts: array<f32, ${WORKGROUP * rows}>;`,
    body: `let row = (i32(group) / geometry.columnTiles) * ${rows};
let column = (i32(group) % geometry.columnTiles) * ${WORKGROUP / split} + i32(lane / ${split}u);
let share = i32(lane % ${split}u);
${all((r) => `let x${r} = geometry.x + min(row + ${r}, geometry.rows - 1) * geometry.xr; var total${r} = 0.0;`)}
let start = geometry.bytes + min(column, geometry.columns - 1) * geometry.blocks * ${BLOCK_BYTES[format]};
for (var block = share; block < geometry.blocks; block += ${split}) {
let at = start + block * ${BLOCK_BYTES[format]};
let scale = halfToFloat(${byteAt(nameOf(bytes), "at")} | (${byteAt(nameOf(bytes), "(at + 1)")} << 8u));
let first = (at + 2) >> 2u;
let shift = (u32(at + 2) & 3u) << 3u;
var rest = ${nameOf(bytes)}[first];
${all((r) => `var sum${r} = vec4<f32>();`)}
for (var k = 0; k < ${words}; k++) {
let next = ${nameOf(bytes)}[first + k + 1];
let word = (rest >> shift) | select(next << (32u - shift), 0u, shift == 0u);
rest = next;
let at_ = block * ${BLOCK} + 4 * k;
${codes}
}
${all((r) => `total${r} += scale * ((sum${r}.x + sum${r}.y) + (sum${r}.z + sum${r}.w));`)}
}
${split === 1 ? `if (column < geometry.columns) { ${store} }` : shared(rows, split, store, all)}`,
  };
}

const byteAt = (buffer: string, at: string): string =>
  `((${buffer}[${at} >> 2u] >> ((u32(${at}) & 3u) << 3u)) & 0xffu)`;

/** Adds up what the invocations of a column have, in halves. */
function shared(
  rows: number,
  split: number,
  store: string,
  all: (text: (r: number) => string) => string,
): string {
  return `${all((r) => `parts[lane * ${rows}u + ${r}u] = total${r};`)}
for (var half = ${split / 2}u; half > 0u; half = half / 2u) {
workgroupBarrier();
if (lane % ${split}u < half) { ${all((r) => `parts[lane * ${rows}u + ${r}u] += parts[(lane + half) * ${rows}u + ${r}u];`)} }
}
if (share == 0 && column < geometry.columns && row < geometry.rows) {
${all((r) => `total${r} = parts[lane * ${rows}u + ${r}u];`)}
${store}
}`;
}
