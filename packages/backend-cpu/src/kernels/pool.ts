import type { PoolCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { type DenseFloats, readFloats, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";
import { spatial, type Triple, triple, volume, type WindowGeometry, windowGeometry } from "./window.ts";

/** For each output position along a dimension: the first element of its window inside the input, and the end. */
interface Span {
  readonly start: Int32Array;
  readonly end: Int32Array;
}

/** Spans along the three dimensions. */
type Spans = readonly [Span, Span, Span];

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
    const spans = makeSpans(geometry);
    const pixels = volume(geometry.outSize);
    if (isForward) {
      writeFloats(out, workspace, "pool out", (to) => {
        if (attributes.kind === "mean") {
          meanForward(geometry, spans, planes, source, windowDivisors(call, geometry, workspace), to);
          return;
        }
        const positions = workspace.int32("pool positions", pixels);
        for (let plane = 0; plane < planes; plane++) {
          greatestPositions(geometry, spans, source, plane, positions);
          const at = to.offset + plane * pixels;
          for (let p = 0; p < pixels; p++)
            to.data[at + p] = positions[p] < 0 ? -Infinity : source.data[positions[p]];
        }
      });
      return;
    }
    const gradient = readFloats(out, workspace, "pool gradient");
    const result = call.outputs[0] as View;
    writeFloats(result, workspace, "pool result", (to) => {
      to.data.fill(0, to.offset, to.offset + result.size);
      if (attributes.kind === "mean") {
        meanBackward(geometry, spans, planes, gradient, windowDivisors(call, geometry, workspace), to);
        return;
      }
      const positions = workspace.int32("pool positions", pixels);
      const shift = to.offset - source.offset;
      for (let plane = 0; plane < planes; plane++) {
        greatestPositions(geometry, spans, source, plane, positions);
        const at = gradient.offset + plane * pixels;
        for (let p = 0; p < pixels; p++)
          if (positions[p] >= 0) to.data[positions[p] + shift] += gradient.data[at + p];
      }
    });
  };
}

/** Clips the windows along each dimension to the input. */
function makeSpans({ stride, dilation, before, kernelSize, inSize, outSize }: WindowGeometry): Spans {
  const along = (axis: 0 | 1 | 2): Span => {
    const start = new Int32Array(outSize[axis]);
    const end = new Int32Array(outSize[axis]);
    const step = dilation[axis];
    for (let i = 0; i < outSize[axis]; i++) {
      const first = i * stride[axis] - before[axis];
      start[i] = first < 0 ? first + Math.ceil(-first / step) * step : first;
      end[i] = Math.min(inSize[axis], first + (kernelSize[axis] - 1) * step + 1);
    }
    return { start, end };
  };
  return [along(0), along(1), along(2)];
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
  const { before: padding, inSize, outSize, dilation } = geometry;
  // The counted padding taken as part of the input: elements of a window inside it are counted by clipping.
  const spans = makeSpans({
    ...geometry,
    before: [padding[0] - before[0], padding[1] - before[1], padding[2] - before[2]],
    inSize: [
      inSize[0] + before[0] + after[0],
      inSize[1] + before[1] + after[1],
      inSize[2] + before[2] + after[2],
    ],
  });
  const count = (axis: 0 | 1 | 2, i: number): number =>
    Math.max(0, Math.ceil((spans[axis].end[i] - spans[axis].start[i]) / dilation[axis]));
  let pixel = 0;
  for (let z = 0; z < outSize[0]; z++) {
    for (let y = 0; y < outSize[1]; y++) {
      const area = count(0, z) * count(1, y);
      for (let x = 0; x < outSize[2]; x++) divisors[pixel++] = area * count(2, x);
    }
  }
  return divisors;
}

/**
 * For each window of a plane the position of its first greatest element (or first NaN) in `source.data`; -1 where the
 * window lies in the padding.
 */
function greatestPositions(
  { inSize, outSize, dilation }: WindowGeometry,
  [spanZ, spanY, spanX]: Spans,
  { data, offset }: DenseFloats,
  plane: number,
  positions: Int32Array,
): void {
  const [, height, width] = inSize;
  const [stepZ, stepY, stepX] = dilation;
  const base = offset + plane * volume(inSize);
  let pixel = 0;
  for (let oz = 0; oz < outSize[0]; oz++) {
    for (let oy = 0; oy < outSize[1]; oy++) {
      for (let ox = 0; ox < outSize[2]; ox++) {
        const startX = spanX.start[ox];
        const endX = spanX.end[ox];
        const endY = spanY.end[oy];
        const endZ = spanZ.end[oz];
        let best = -Infinity;
        let at = -1;
        for (let z = spanZ.start[oz]; z < endZ; z += stepZ) {
          for (let y = spanY.start[oy]; y < endY; y += stepY) {
            const row = (base + Math.imul(Math.imul(z, height) + y, width)) | 0;
            for (let x = startX; x < endX; x += stepX) {
              const value = data[(row + x) | 0];
              // Written so that a NaN passes: then nothing is greater any more, not even another NaN.
              if (!(value <= best) && !Number.isNaN(best)) {
                best = value;
                at = (row + x) | 0;
              } else if (at < 0) at = (row + x) | 0;
            }
          }
        }
        positions[pixel++] = at;
      }
    }
  }
}

function meanForward(
  { inSize, outSize, dilation }: WindowGeometry,
  [spanZ, spanY, spanX]: Spans,
  planes: number,
  x: DenseFloats,
  divisors: Float64Array,
  to: DenseFloats,
): void {
  const pixels = volume(outSize);
  for (let plane = 0; plane < planes; plane++) {
    const from = x.offset + plane * volume(inSize);
    const out = to.offset + plane * pixels;
    let pixel = 0;
    for (let oz = 0; oz < outSize[0]; oz++) {
      for (let oy = 0; oy < outSize[1]; oy++) {
        for (let ox = 0; ox < outSize[2]; ox++) {
          let sum = 0;
          for (let z = spanZ.start[oz]; z < spanZ.end[oz]; z += dilation[0]) {
            for (let y = spanY.start[oy]; y < spanY.end[oy]; y += dilation[1]) {
              const row = from + (z * inSize[1] + y) * inSize[2];
              for (let c = spanX.start[ox]; c < spanX.end[ox]; c += dilation[2]) sum += x.data[row + c];
            }
          }
          to.data[out + pixel] = sum / divisors[pixel];
          pixel++;
        }
      }
    }
  }
}

function meanBackward(
  { inSize, outSize, dilation }: WindowGeometry,
  [spanZ, spanY, spanX]: Spans,
  planes: number,
  gradient: DenseFloats,
  divisors: Float64Array,
  to: DenseFloats,
): void {
  const pixels = volume(outSize);
  for (let plane = 0; plane < planes; plane++) {
    const into = to.offset + plane * volume(inSize);
    const out = gradient.offset + plane * pixels;
    let pixel = 0;
    for (let oz = 0; oz < outSize[0]; oz++) {
      for (let oy = 0; oy < outSize[1]; oy++) {
        for (let ox = 0; ox < outSize[2]; ox++) {
          const share = gradient.data[out + pixel] / divisors[pixel];
          pixel++;
          for (let z = spanZ.start[oz]; z < spanZ.end[oz]; z += dilation[0]) {
            for (let y = spanY.start[oy]; y < spanY.end[oy]; y += dilation[1]) {
              const row = into + (z * inSize[1] + y) * inSize[2];
              for (let c = spanX.start[ox]; c < spanX.end[ox]; c += dilation[2]) to.data[row + c] += share;
            }
          }
        }
      }
    }
  }
}
