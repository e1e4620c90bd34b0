import type { View } from "@nf/core";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderBuffer } from "../device/shader.ts";
import type { Heads } from "../wgsl/heads.ts";

/** Names of the whole numbers of an attention, in the order of {@link sizesOf}. */
export const SIZES: readonly string[] = ["queries", "keys", "share", "heads", "padded"];

/** Queries, keys, heads of q that share a head of k and v, heads, and rows of sums a head. */
export function sizesOf(q: View, k: View, padded: number): readonly number[] {
  return [q.shape[2], k.shape[2], q.shape[1] / k.shape[1], q.shape[1], padded];
}

/** Invocations of a work group, each with a query or key of its own. */
export const groupSize = ({ adapterClass }: Gpu): number => (adapterClass === "software" ? 8 : 64);

/** Products below which keys and queries are taken one by one, whose shader compiles several times as fast. */
const SMALL = 1 << 16;

/** How many keys or queries an attention takes together, of as many as its shader may. */
export function blockOf({ shape: [batch, heads, queries, headDim] }: View, k: View, most: number): number {
  return batch * heads * queries * headDim * k.shape[2] < SMALL ? 1 : most;
}

/** Text for each number below a count. */
export const each = (count: number, text: (n: number) => string, join = "\n"): string =>
  Array.from({ length: count }, (_, n) => text(n)).join(join);

/** A `V` in memory that an invocation has to itself, where registers do not hold its sums. */
export function sumsBuffer(views: Heads): readonly ShaderBuffer[] {
  return views.registers ? [] : [{ name: "memory", type: views.type, access: "write" }];
}

/**
 * Sums along headDim, 0 at first: how one is spelled, and the statements that declare them.
 *
 * @param position of what the invocation computes, which no other has, whether it counts or not
 * @param place which of `places` sums of a position these are
 */
export function sumsOf(
  views: Heads,
  name: string,
  [head, position]: readonly [string, string],
  place = 0,
  places = 1,
): { readonly declare: string; of(d: string): string } {
  const { length, registers } = views;
  const of = (d: string): string => (registers ? `${name}[${d}]` : `memory[${name}At + ${d}]`);
  const declare = registers
    ? `var ${name}: array<V, ${length}>;`
    : `let ${name}At = ((${head} * geometry.padded + ${position}) * ${places} + ${place}) * ${length};`;
  return { declare: `${declare}\n${views.over((d) => `${of(d)} = V(0.0);`)}`, of };
}

/** Statements that give each invocation of a grid its query, and say which keys it may attend to. */
export function queryText(causal: boolean, size: number): string {
  return `let sample = i32(cell.z);
let head = i32(cell.y);
let kvHead = head / geometry.share;
let first = i32(cell.x) * ${size};
let query = min(first + i32(lane), geometry.queries - 1);
let live = first + i32(lane) < geometry.queries;
${
  causal
    ? `let later = geometry.keys - geometry.queries + 1;
let visible = clamp(query + later, 0, geometry.keys);
let least = clamp(first + later, 0, geometry.keys);
let most = clamp(min(first + ${size - 1}, geometry.queries - 1) + later, 0, geometry.keys);`
    : "let visible = geometry.keys; let least = visible; let most = visible;"
}`;
}

/**
 * Statements for the keys that a work group's queries attend to: a block at a time as long as all of them see them, then
 * one by one. `j` is the block's first key.
 *
 * @param guarded whether there are keys that some of them do not see
 */
export function overKeys(
  block: number,
  guarded: boolean,
  text: (count: number, guarded: boolean) => string,
): string {
  // One by one, one loop does for all.
  if (block === 1) return `for (var j = 0; j < most; j++) {\n${text(1, guarded)}\n}`;
  return `let whole = least - least % ${block};
for (var j = 0; j < whole; j += ${block}) {
${text(block, false)}
}
for (var j = whole; j < most; j++) {
${text(1, guarded)}
}`;
}

/**
 * Declares `s0`, `s1`, …: scores of `count` keys from `j` on. Minus infinity where a guarded one is not seen.
 *
 * @param operands numbers of the views of q, k and the mask
 */
export function scores(
  views: Heads,
  [q, k, mask]: readonly [number, number, number | undefined],
  count: number,
  guarded: boolean,
): string {
  const score = (n: number): string => {
    const product = `${whole(views, `p${n}`)} * params.p0`;
    const added =
      mask === undefined
        ? product
        : `${product} + ${views.loadOne(mask, `(maskAt + (j + ${n}) * geometry.d${mask})`)}`;
    return `let s${n} = ${guarded ? `select(-bitcast<f32>(bitsOfInf), ${added}, j < visible)` : added};`;
  };
  return `${each(count, (n) => `let k${n} = ${views.at(k, "sample", "kvHead", `(j + ${n})`)}; var p${n} = V(0.0);`)}
${views.over((d) => `{ let x = ${views.kept("q", q, "qAt", d)}; ${each(count, (n) => `p${n} += x * ${views.load(k, `k${n}`, d)};`, " ")} }`)}
${each(count, score)}`;
}

/** The sum of a `V`'s elements. */
export const whole = (views: Heads, value: string): string =>
  views.type === "f32" ? value : `dot(${value}, V(1.0))`;

/** Declares an array of an input's values along headDim, where registers hold them. */
export function keep(views: Heads, array: string, view: number, from: string): string {
  if (!views.registers) return "";
  return `var ${array}: array<V, ${views.length}>;\n${views.over((d) => `${array}[${d}] = ${views.load(view, from, d)};`)}`;
}
