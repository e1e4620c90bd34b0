import type { ConvCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { type DenseFloats, readFloats, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";
import { packPixelColumns, packPixelRows, packWindowRows, packWindows } from "./convPack.ts";
import { type ConvPlan, makePlan } from "./convPlan.ts";
import { multiply, packRows } from "./gemm.ts";
import type { Triple } from "./window.ts";

/*
 * Convolution as matrix multiplication (im2col), with the columns copied straight into the engine's panels. Columns
 * count the output pixels of all images, and a pixel's window element `k` lies at `pixel + window[k]` of the padded
 * input, for two small tables made once a call.
 */

/** Padded images are copied at most this many elements at a time. */
const MOST_PADDED = 1 << 22;

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
  plan: ConvPlan,
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
  plan: ConvPlan,
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
  plan: ConvPlan,
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
function eachChunk(
  { batch, imageSize }: ConvPlan,
  visit: (firstImage: number, images: number) => void,
): void {
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

function hasPadding({ geometry }: ConvPlan): boolean {
  return geometry.paddedSize.some((size, axis) => size !== geometry.inSize[axis]);
}

/** Some images with zeros around them; without padding they stay where they are. */
function padded(
  workspace: Workspace,
  plan: ConvPlan,
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
function unpad(
  plan: ConvPlan,
  sums: Float64Array,
  firstImage: number,
  images: number,
  to: DenseFloats,
): void {
  eachRow(plan, firstImage, images, (outside, inside, length) => {
    for (let i = 0; i < length; i++) to.data[to.offset + outside + i] = sums[inside + i];
  });
}

/** Visits rows of images: where each starts outside, among all unpadded images, and inside the padded ones. */
function eachRow(
  plan: ConvPlan,
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
