import type { DenseFloats } from "../dense.ts";
import type { ConvPlan } from "./convPlan.ts";
import type { Packer } from "./gemm.ts";

/*
 * Packers. A panel is three rows or columns wide. Where the last one has fewer, it repeats its first: what that
 * computes lies outside the result and is never taken.
 */

/** Columns are pixels, depth runs through their windows. */
export function packWindows(
  { pixels, imageSize, pixel, window }: ConvPlan,
  { data, offset }: DenseFloats,
  group: number,
): Packer {
  const position = (column: number): number => {
    const image = Math.floor(column / pixels);
    return offset + group + image * imageSize + pixel[column - image * pixels];
  };
  return (panels, first, count, start, depth) => {
    let to = 0;
    for (let column = first; column < first + count; column += 3) {
      const at0 = position(column);
      const at1 = column + 1 < first + count ? position(column + 1) : at0;
      const at2 = column + 2 < first + count ? position(column + 2) : at0;
      for (let k = start; k < start + depth; k++) {
        const shift = window[k];
        panels[to] = data[(at0 + shift) | 0];
        panels[(to + 1) | 0] = data[(at1 + shift) | 0];
        panels[(to + 2) | 0] = data[(at2 + shift) | 0];
        to = (to + 3) | 0;
      }
    }
  };
}

/** Columns are window elements, depth runs through pixels. */
export function packWindowRows(
  { pixels, imageSize, pixel, window }: ConvPlan,
  { data, offset }: DenseFloats,
  group: number,
): Packer {
  return (panels, first, count, start, depth) => {
    let to = 0;
    for (let column = first; column < first + count; column += 3) {
      const shift0 = window[column];
      const shift1 = column + 1 < first + count ? window[column + 1] : shift0;
      const shift2 = column + 2 < first + count ? window[column + 2] : shift0;
      let image = Math.floor(start / pixels);
      let p = start - image * pixels;
      let base = offset + group + image * imageSize;
      for (let k = 0; k < depth; k++) {
        const at = (base + pixel[p]) | 0;
        panels[to] = data[(at + shift0) | 0];
        panels[(to + 1) | 0] = data[(at + shift1) | 0];
        panels[(to + 2) | 0] = data[(at + shift2) | 0];
        to = (to + 3) | 0;
        if (++p === pixels) {
          p = 0;
          image++;
          base = offset + group + image * imageSize;
        }
      }
    }
  };
}

/** Columns are pixels of a gradient, depth runs through its channels. */
export function packPixelColumns(
  plan: ConvPlan,
  { data, offset }: DenseFloats,
  firstImage: number,
  group: number,
): Packer {
  const { pixels, groups, outChannels } = plan;
  const position = (column: number): number => {
    const image = Math.floor(column / pixels);
    return offset + ((firstImage + image) * groups + group) * outChannels * pixels + column - image * pixels;
  };
  return (panels, first, count, start, depth) => {
    let to = 0;
    for (let column = first; column < first + count; column += 3) {
      let at0 = position(column) + start * pixels;
      let at1 = column + 1 < first + count ? position(column + 1) + start * pixels : at0;
      let at2 = column + 2 < first + count ? position(column + 2) + start * pixels : at0;
      for (let k = 0; k < depth; k++) {
        panels[to] = data[at0];
        panels[(to + 1) | 0] = data[at1];
        panels[(to + 2) | 0] = data[at2];
        to = (to + 3) | 0;
        at0 = (at0 + pixels) | 0;
        at1 = (at1 + pixels) | 0;
        at2 = (at2 + pixels) | 0;
      }
    }
  };
}

/** Rows are channels of a gradient, depth runs through its pixels. */
export function packPixelRows(
  plan: ConvPlan,
  { data, offset }: DenseFloats,
  firstImage: number,
  group: number,
): Packer {
  const { pixels, groups, outChannels } = plan;
  const imageStride = groups * outChannels * pixels;
  return (panels, first, count, start, depth) => {
    let to = 0;
    for (let row = first; row < first + count; row += 3) {
      const shift1 = row + 1 < first + count ? pixels : 0;
      const shift2 = row + 2 < first + count ? 2 * pixels : 0;
      const image = Math.floor(start / pixels);
      let p = start - image * pixels;
      let at = offset + (firstImage + image) * imageStride + (group * outChannels + row) * pixels + p;
      for (let k = 0; k < depth; k++) {
        panels[to] = data[at];
        panels[(to + 1) | 0] = data[(at + shift1) | 0];
        panels[(to + 2) | 0] = data[(at + shift2) | 0];
        to = (to + 3) | 0;
        at = (at + 1) | 0;
        if (++p === pixels) {
          p = 0;
          at += imageStride - pixels;
        }
      }
    }
  };
}
