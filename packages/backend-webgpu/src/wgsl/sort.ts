import type { SortCall, View } from "@nf/core";
import type { ShaderSource } from "../device/shader.ts";
import { KEYS, keyOf } from "./keys.ts";
import { lineCoordinates, lineStart } from "./lines.ts";
import { accessViews, spaceNames } from "./views.ts";

/** Invocations of a work group. */
export const WORKGROUP = 64;
/** Elements that are put in order by counting who comes before. */
export const BLOCK = 16;

/** What every step knows: how many elements there are in all and in a line, and the number of the element. */
const element = (more: string): string => `let point = i32(invocation);
if (point >= geometry.count) { return; }
let line = point / geometry.length;
let i = point % geometry.length;
${more}`;

/** Puts blocks of each line in order: keys and positions. */
export function blocksSource({ inputs, attributes }: SortCall, kept: number): ShaderSource {
  const { dtype, buffer } = inputs[0] as View;
  const access = accessViews({ buffers: [buffer], inputs, outputs: [] });
  const key = (at: string): string =>
    keyOf(dtype, access.load(0, `start0 + ${at} * geometry.step0`), attributes.descending);
  return {
    label: "sort blocks",
    buffers: [
      ...access.buffers,
      { name: "keys", type: "u32", access: "write" },
      { name: "places", type: "u32", access: "write" },
    ],
    geometry: ["count", "length", "step0", ...spaceNames(kept, 1)],
    params: [],
    workgroup: WORKGROUP,
    declarations: KEYS,
    body: element(`${lineCoordinates(kept, "line")}
let start0 = ${lineStart(kept, 0)};
let key = ${key("i")};
let first = i - i % ${BLOCK};
let last = min(first + ${BLOCK}, geometry.length);
var at = line * geometry.length + first;
for (var j = first; j < last; j++) {
let other = ${key("j")};
at += select(0, 1, other < key || (other == key && j < i));
}
keys[at] = key;
places[at] = u32(i);`),
  };
}

/** Merges neighbouring runs: each element finds how many of the other run come before it. */
export function mergeSource(): ShaderSource {
  return {
    label: "sort merge",
    buffers: [
      { name: "keys", type: "u32", access: "read" },
      { name: "places", type: "u32", access: "read" },
      { name: "toKeys", type: "u32", access: "write" },
      { name: "toPlaces", type: "u32", access: "write" },
    ],
    geometry: ["count", "length", "run"],
    params: [],
    workgroup: WORKGROUP,
    body: element(`let key = keys[point];
let run = i / geometry.run;
let right = run % 2 == 1;
let start = line * geometry.length;
let first = min(select(run + 1, run - 1, right) * geometry.run, geometry.length);
// Of equal ones those of the left run come first.
var low = first;
var high = min(first + geometry.run, geometry.length);
while (low < high) {
let middle = (low + high) / 2;
let other = keys[start + middle];
if (other < key || (right && other == key)) { low = middle + 1; } else { high = middle; }
}
let at = start + i + low - select(first, run * geometry.run, right);
toKeys[at] = key;
toPlaces[at] = places[point];`),
  };
}

/** Stores values and positions in their order. */
export function storeSource(call: SortCall, kept: number): ShaderSource {
  const access = accessViews(call);
  return {
    label: "sort store",
    buffers: [...access.buffers, { name: "places", type: "u32", access: "read" }],
    geometry: ["count", "length", "step0", "step1", "step2", ...spaceNames(kept, 3)],
    params: [],
    workgroup: WORKGROUP,
    body: element(`${lineCoordinates(kept, "line")}
let place = i32(places[point]);
let origin = ${lineStart(kept, 0)} + place * geometry.step0;
let at0 = ${lineStart(kept, 1)} + i * geometry.step1;
let at1 = ${lineStart(kept, 2)} + i * geometry.step2;
let value = ${access.load(0, "origin")};
${access.store(0, "at0", "value")}
${access.store(1, "at1", "place")}`),
  };
}
