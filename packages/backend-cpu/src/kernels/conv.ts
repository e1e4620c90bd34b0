import type { ConvCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { type DenseFloats, readFloats, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";
import { multiply, type Packer, packRows } from "./gemm.ts";
import {
  gridPositions,
  spatial,
  type Triple,
  volume,
  type WindowGeometry,
  windowGeometry,
} from "./window.ts";

/*
 * Convolution as matrix multiplication (im2col), with the columns copied straight into the engine's panels. Columns
 * count the output pixels of all images, and a pixel's window element `k` lies at `pixel + window[k]` of the padded
 * input, for two small tables made once a call.
 */

/** Padded images are copied at most this many elements at a time. */
const MOST_PADDED = 1 << 22;

/** One convolution, with tables of positions. */
interface Plan {
  readonly batch: number;
  readonly groups: number;
  /** Channels of one group. */
  readonly inChannels: number;
  readonly outChannels: number;
  readonly geometry: WindowGeometry;
  /** Output pixels of one image. */
  readonly pixels: number;
  /** Elements of a window over all channels of a group: the depth of the product. */
  readonly windowSize: number;
  /** Elements of one padded channel, and of one padded image. */
  readonly channelSize: number;
  readonly imageSize: number;
  /** Position of each output pixel's window in a padded channel. */
  readonly pixel: Int32Array;
  /** Position of each window element relative to that. */
  readonly window: Int32Array;
}

function makePlan({ attributes }: ConvCall, workspace: Workspace, x: View, weight: View, out: View): Plan {
  const geometry = windowGeometry(attributes, spatial(x), spatial(out), spatial(weight));
  const { groups } = attributes;
  const inChannels = (x.shape[1] as number) / groups;
  const pixels = volume(geometry.outSize);
  const channelSize = volume(geometry.paddedSize);
  const kernelVolume = volume(geometry.kernelSize);
  const windowSize = inChannels * kernelVolume;
  const pixel = workspace.int32("conv pixel", pixels);
  const window = workspace.int32("conv window", windowSize);
  gridPositions(geometry.outSize, geometry.stride, geometry.paddedSize, pixel);
  for (let channel = 0; channel < inChannels; channel++) {
    gridPositions(
      geometry.kernelSize,
      geometry.dilation,
      geometry.paddedSize,
      window,
      channel * kernelVolume,
      channel * channelSize,
    );
  }
  return {
    batch: x.shape[0] as number,
    groups,
    inChannels,
    outChannels: (out.shape[1] as number) / groups,
    geometry,
    pixels,
    windowSize,
    channelSize,
    imageSize: channelSize * inChannels * groups,
    pixel,
    window,
  };
}

/** Makes the `conv` kernel. */
export function makeConv({ workspace }: Context): (call: ConvCall) => void {
  return (call) => {
    const [first, second, third] = call.inputs as readonly [View, View, View | undefined];
    const result = call.outputs[0] as View;
    switch (call.attributes.pass) {
      case "forward": {
        const plan = makePlan(call, workspace, first, second, result);
        const x = readFloats(first, workspace, "conv x");
        const weight = readFloats(second, workspace, "conv weight");
        const bias = third === undefined ? undefined : readFloats(third, workspace, "conv bias");
        writeFloats(result, workspace, "conv result", (to) => forward(workspace, plan, x, weight, bias, to));
        return;
      }
      case "inputGrad": {
        const plan = makePlan(call, workspace, result, second, first);
        const gradient = readFloats(first, workspace, "conv gradient");
        const weight = readFloats(second, workspace, "conv weight");
        writeFloats(result, workspace, "conv result", (to) =>
          inputGrad(workspace, plan, gradient, weight, to),
        );
        return;
      }
      default: {
        const plan = makePlan(call, workspace, second, result, first);
        const gradient = readFloats(first, workspace, "conv gradient");
        const x = readFloats(second, workspace, "conv x");
        writeFloats(result, workspace, "conv result", (to) => weightGrad(workspace, plan, gradient, x, to));
      }
    }
  };
}

function forward(
  workspace: Workspace,
  plan: Plan,
  x: DenseFloats,
  weight: DenseFloats,
  bias: DenseFloats | undefined,
  to: DenseFloats,
): void {
  const { groups, inChannels, outChannels, pixels, windowSize, channelSize } = plan;
  eachChunk(plan, (firstImage, images) => {
    const input = padded(workspace, plan, x, firstImage, images);
    for (let group = 0; group < groups; group++) {
      const rows = packRows({
        data: weight.data,
        offset: weight.offset + group * outChannels * windowSize,
        rowStride: windowSize,
        columnStride: 1,
      });
      const columns = packWindows(plan, input, group * inChannels * channelSize);
      multiply(
        outChannels,
        images * pixels,
        windowSize,
        rows,
        columns,
        (block, rowLength, row, column, m, n) => {
          for (let i = 0; i < m; i++) {
            const channel = group * outChannels + row + i;
            const shift = bias === undefined ? 0 : bias.data[bias.offset + channel];
            let from = i * rowLength;
            eachRun(column, n, pixels, (image, pixel, length) => {
              const at = to.offset + ((firstImage + image) * groups * outChannels + channel) * pixels + pixel;
              for (let p = 0; p < length; p++) to.data[at + p] = block[from + p] + shift;
              from += length;
            });
          }
        },
      );
    }
  });
}

function inputGrad(
  workspace: Workspace,
  plan: Plan,
  gradient: DenseFloats,
  weight: DenseFloats,
  to: DenseFloats,
): void {
  const { groups, inChannels, outChannels, pixels, windowSize, channelSize, imageSize, pixel, window } = plan;
  eachChunk(plan, (firstImage, images) => {
    const sums = workspace.float64("conv padded", images * imageSize).fill(0, 0, images * imageSize);
    for (let group = 0; group < groups; group++) {
      const rows = packRows({
        data: weight.data,
        offset: weight.offset + group * outChannels * windowSize,
        rowStride: 1,
        columnStride: windowSize,
      });
      const columns = packPixelColumns(plan, gradient, firstImage, group);
      multiply(
        windowSize,
        images * pixels,
        outChannels,
        rows,
        columns,
        (block, rowLength, row, column, m, n) => {
          for (let i = 0; i < m; i++) {
            const shift = group * inChannels * channelSize + window[row + i];
            let from = i * rowLength;
            eachRun(column, n, pixels, (image, first, length) => {
              const at = image * imageSize + shift;
              for (let p = 0; p < length; p++) sums[at + pixel[first + p]] += block[from + p];
              from += length;
            });
          }
        },
      );
    }
    unpad(plan, sums, firstImage, images, to);
  });
}

function weightGrad(
  workspace: Workspace,
  plan: Plan,
  gradient: DenseFloats,
  x: DenseFloats,
  to: DenseFloats,
): void {
  const { groups, inChannels, outChannels, pixels, windowSize, channelSize } = plan;
  const size = groups * outChannels * windowSize;
  const sums = workspace.float64("conv weight sums", size).fill(0, 0, size);
  eachChunk(plan, (firstImage, images) => {
    const input = padded(workspace, plan, x, firstImage, images);
    for (let group = 0; group < groups; group++) {
      const rows = packPixelRows(plan, gradient, firstImage, group);
      const columns = packWindowRows(plan, input, group * inChannels * channelSize);
      multiply(
        outChannels,
        windowSize,
        images * pixels,
        rows,
        columns,
        (block, rowLength, row, column, m, n) => {
          for (let i = 0; i < m; i++) {
            const at = (group * outChannels + row + i) * windowSize + column;
            for (let j = 0; j < n; j++) sums[at + j] += block[i * rowLength + j];
          }
        },
      );
    }
  });
  for (let i = 0; i < size; i++) to.data[to.offset + i] = sums[i];
}

/** Calls `visit` for chunks of images whose padded copies stay small. */
function eachChunk({ batch, imageSize }: Plan, visit: (firstImage: number, images: number) => void): void {
  const chunk = Math.max(1, Math.floor(MOST_PADDED / imageSize));
  for (let first = 0; first < batch; first += chunk) visit(first, Math.min(chunk, batch - first));
}

/** Splits columns, which count pixels of all images, into runs within one image. */
function eachRun(
  first: number,
  count: number,
  pixels: number,
  visit: (image: number, pixel: number, length: number) => void,
): void {
  let image = Math.floor(first / pixels);
  let pixel = first - image * pixels;
  for (let done = 0; done < count; ) {
    const length = Math.min(pixels - pixel, count - done);
    visit(image, pixel, length);
    done += length;
    image++;
    pixel = 0;
  }
}

function hasPadding({ geometry }: Plan): boolean {
  return geometry.paddedSize.some((size, axis) => size !== geometry.inSize[axis]);
}

/** Some images with zeros around them; without padding they stay where they are. */
function padded(
  workspace: Workspace,
  plan: Plan,
  x: DenseFloats,
  firstImage: number,
  images: number,
): DenseFloats {
  if (!hasPadding(plan)) return { data: x.data, offset: x.offset + firstImage * plan.imageSize };
  const data = workspace.float64("conv padded", images * plan.imageSize).fill(0, 0, images * plan.imageSize);
  eachRow(plan, firstImage, images, (outside, inside, length) => {
    for (let i = 0; i < length; i++) data[inside + i] = x.data[x.offset + outside + i];
  });
  return { data, offset: 0 };
}

/** Stores padded images without their padding. */
function unpad(plan: Plan, sums: Float64Array, firstImage: number, images: number, to: DenseFloats): void {
  eachRow(plan, firstImage, images, (outside, inside, length) => {
    for (let i = 0; i < length; i++) to.data[to.offset + outside + i] = sums[inside + i];
  });
}

/** Visits rows of images: where each starts outside, among all unpadded images, and inside the padded ones. */
function eachRow(
  plan: Plan,
  firstImage: number,
  images: number,
  visit: (outside: number, inside: number, length: number) => void,
): void {
  const { geometry, groups, inChannels, channelSize } = plan;
  const [depth, height, width] = geometry.inSize;
  const [, paddedHeight, paddedWidth] = geometry.paddedSize;
  const [front, top, left]: Triple = geometry.before;
  const channels = groups * inChannels;
  let outside = firstImage * channels * depth * height * width;
  for (let channel = 0; channel < images * channels; channel++) {
    for (let z = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        const inside = channel * channelSize + ((z + front) * paddedHeight + y + top) * paddedWidth + left;
        visit(outside, inside, width);
        outside += width;
      }
    }
  }
}

/*
 * Packers. A panel is three rows or columns wide. Where the last one has fewer, it repeats its first: what that
 * computes lies outside the result and is never taken.
 */

/** Columns are pixels, depth runs through their windows. */
function packWindows(
  { pixels, imageSize, pixel, window }: Plan,
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
function packWindowRows(
  { pixels, imageSize, pixel, window }: Plan,
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
function packPixelColumns(
  plan: Plan,
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
function packPixelRows(plan: Plan, { data, offset }: DenseFloats, firstImage: number, group: number): Packer {
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
