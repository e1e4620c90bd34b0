import type { PoolCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { type DenseFloats, readFloats, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";
import { spatial, type Triple, triple, volume, type WindowGeometry, windowGeometry } from "./window.ts";

/** One window, clipped to the input: first element and end along each dimension, in steps of the dilation. */
interface Clipped {
  readonly start: [number, number, number];
  readonly end: [number, number, number];
}

/** Makes the `pool` kernel. */
export function makePool({ workspace }: Context): (call: PoolCall) => void {
  return (call) => {
    const { attributes } = call;
    const isForward = attributes.pass === "forward";
    // The gradient of a mean does not depend on x, so x is not among its inputs.
    const x = (isForward ? call.inputs[0] : (call.inputs[1] ?? call.outputs[0])) as View;
    const out = (isForward ? call.outputs[0] : call.inputs[0]) as View;
    const geometry = windowGeometry(attributes, spatial(x), spatial(out), attributes.kernelSize);
    const planes = (x.shape[0] as number) * (x.shape[1] as number);
    const source = readFloats(x, workspace, "pool x");
    const divisors = attributes.kind === "mean" ? windowDivisors(call, geometry, workspace) : undefined;
    if (isForward) {
      writeFloats(out, workspace, "pool out", (to) => {
        if (divisors === undefined) maxForward(geometry, planes, source, to);
        else meanForward(geometry, planes, source, divisors, to);
      });
      return;
    }
    const gradient = readFloats(out, workspace, "pool gradient");
    const result = call.outputs[0] as View;
    writeFloats(result, workspace, "pool result", (to) => {
      to.data.fill(0, to.offset, to.offset + result.size);
      if (divisors === undefined) maxBackward(geometry, planes, gradient, source, to);
      else meanBackward(geometry, planes, gradient, divisors, to);
    });
  };
}

/** Clips the window of an output pixel to the input. */
function clip(geometry: WindowGeometry, axis: 0 | 1 | 2, pixel: number, window: Clipped): void {
  const { stride, dilation, before, kernelSize, inSize } = geometry;
  const first = pixel * stride[axis] - before[axis];
  const step = dilation[axis];
  const skipped = first < 0 ? Math.ceil(-first / step) : 0;
  window.start[axis] = first + skipped * step;
  window.end[axis] = Math.min(inSize[axis], first + (kernelSize[axis] - 1) * step + 1);
}

/** Visits every output pixel of a plane with its clipped window, in row-major order. */
function eachWindow(geometry: WindowGeometry, visit: (pixel: number, window: Clipped) => void): void {
  const { outSize } = geometry;
  const window: Clipped = { start: [0, 0, 0], end: [0, 0, 0] };
  let pixel = 0;
  for (let z = 0; z < outSize[0]; z++) {
    clip(geometry, 0, z, window);
    for (let y = 0; y < outSize[1]; y++) {
      clip(geometry, 1, y, window);
      for (let x = 0; x < outSize[2]; x++) {
        clip(geometry, 2, x, window);
        visit(pixel++, window);
      }
    }
  }
}

/** What each window's sum is divided by: its elements inside the input, or inside the counted padding too. */
function windowDivisors(
  { attributes }: PoolCall,
  geometry: WindowGeometry,
  workspace: Workspace,
): Float64Array {
  const divisors = workspace.float64("pool divisors", volume(geometry.outSize));
  const none: Triple = [0, 0, 0];
  const { countIncludePad, countedPadding } = attributes;
  const before = countIncludePad
    ? triple(
        countedPadding.map(([start]) => start),
        0,
      )
    : none;
  const after = countIncludePad
    ? triple(
        countedPadding.map(([, end]) => end),
        0,
      )
    : none;
  // The counted padding taken as part of the input: elements of a window inside it are counted by clipping.
  const grown: WindowGeometry = {
    ...geometry,
    before: geometry.before.map((pad, axis) => pad - (before[axis] as number)) as [number, number, number],
    inSize: geometry.inSize.map(
      (size, axis) => size + (before[axis] as number) + (after[axis] as number),
    ) as [number, number, number],
  };
  eachWindow(grown, (pixel, { start, end }) => {
    let count = 1;
    for (const axis of [0, 1, 2] as const) {
      count *= Math.max(0, Math.ceil((end[axis] - start[axis]) / geometry.dilation[axis]));
    }
    divisors[pixel] = count;
  });
  return divisors;
}

/** Position of the first greatest element (or the first NaN) of a window, from the start of `data`. */
function greatest(
  data: DenseFloats["data"],
  plane: number,
  { start, end }: Clipped,
  geometry: WindowGeometry,
): number {
  const { inSize, dilation } = geometry;
  const width = inSize[2];
  const height = inSize[1];
  const stepZ = dilation[0];
  const stepY = dilation[1];
  const stepX = dilation[2];
  const endX = end[2];
  let at = -1;
  let best = -Infinity;
  for (let z = start[0]; z < end[0]; z += stepZ) {
    for (let y = start[1]; y < end[1]; y += stepY) {
      const row = plane + (z * height + y) * width;
      for (let x = start[2]; x < endX; x += stepX) {
        const value = data[row + x];
        if (value > best || at < 0 || Number.isNaN(value)) {
          if (Number.isNaN(value)) return row + x;
          best = value;
          at = row + x;
        }
      }
    }
  }
  return at;
}

function maxForward(geometry: WindowGeometry, planes: number, x: DenseFloats, to: DenseFloats): void {
  const planeSize = volume(geometry.inSize);
  const pixels = volume(geometry.outSize);
  for (let plane = 0; plane < planes; plane++) {
    const from = x.offset + plane * planeSize;
    const out = to.offset + plane * pixels;
    eachWindow(geometry, (pixel, window) => {
      const at = greatest(x.data, from, window, geometry);
      to.data[out + pixel] = at < 0 ? -Infinity : x.data[at];
    });
  }
}

function maxBackward(
  geometry: WindowGeometry,
  planes: number,
  gradient: DenseFloats,
  x: DenseFloats,
  to: DenseFloats,
): void {
  const planeSize = volume(geometry.inSize);
  const pixels = volume(geometry.outSize);
  for (let plane = 0; plane < planes; plane++) {
    const from = x.offset + plane * planeSize;
    const shift = to.offset - x.offset;
    const out = gradient.offset + plane * pixels;
    eachWindow(geometry, (pixel, window) => {
      const at = greatest(x.data, from, window, geometry);
      if (at >= 0) to.data[at + shift] += gradient.data[out + pixel];
    });
  }
}

function meanForward(
  geometry: WindowGeometry,
  planes: number,
  x: DenseFloats,
  divisors: Float64Array,
  to: DenseFloats,
): void {
  const { inSize, dilation } = geometry;
  const planeSize = volume(inSize);
  const pixels = volume(geometry.outSize);
  for (let plane = 0; plane < planes; plane++) {
    const from = x.offset + plane * planeSize;
    const out = to.offset + plane * pixels;
    eachWindow(geometry, (pixel, { start, end }) => {
      let sum = 0;
      for (let z = start[0]; z < end[0]; z += dilation[0]) {
        for (let y = start[1]; y < end[1]; y += dilation[1]) {
          const row = from + (z * inSize[1] + y) * inSize[2];
          for (let c = start[2]; c < end[2]; c += dilation[2]) sum += x.data[row + c];
        }
      }
      to.data[out + pixel] = sum / divisors[pixel];
    });
  }
}

function meanBackward(
  geometry: WindowGeometry,
  planes: number,
  gradient: DenseFloats,
  divisors: Float64Array,
  to: DenseFloats,
): void {
  const { inSize, dilation } = geometry;
  const planeSize = volume(inSize);
  const pixels = volume(geometry.outSize);
  for (let plane = 0; plane < planes; plane++) {
    const into = to.offset + plane * planeSize;
    const out = gradient.offset + plane * pixels;
    eachWindow(geometry, (pixel, { start, end }) => {
      const share = gradient.data[out + pixel] / divisors[pixel];
      for (let z = start[0]; z < end[0]; z += dilation[0]) {
        for (let y = start[1]; y < end[1]; y += dilation[1]) {
          const row = into + (z * inSize[1] + y) * inSize[2];
          for (let c = start[2]; c < end[2]; c += dilation[2]) to.data[row + c] += share;
        }
      }
    });
  }
}
