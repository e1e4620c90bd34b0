import type { ConvOptions, ConvTransposeOptions, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Operand, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { conv, convTranspose, perAxis } from "../reference/windows.ts";
import { between, data, FLOATS, optionsText, row, shapesText } from "./define.ts";

const FAMILY = "convolution";

interface ConvSetup {
  readonly x: readonly number[];
  readonly weight: readonly number[];
  readonly bias: boolean;
  readonly options: ConvOptions;
}

/** Zeros before each spatial dimension, for amounts and for "same" with kernels of odd reach. */
function paddingOf({ weight, options: { padding = 0, dilation } }: ConvSetup): readonly number[] {
  const kernel = weight.slice(2);
  if (padding === "valid") return kernel.map(() => 0);
  if (padding === "same")
    return kernel.map((size, i) => (perAxis(dilation, kernel.length, 1)[i]! * (size - 1)) / 2);
  return perAxis(padding, kernel.length, 0);
}

function operandsOf(
  { x, weight, bias }: { x: readonly number[]; weight: readonly number[]; bias: boolean },
  biasSize: number,
): Operand[] {
  return [data(x), data(weight), ...(bias ? [data([biasSize])] : [])];
}

type ConvCall = (x: Tensor, weight: Tensor, bias: Tensor | undefined, options: ConvOptions) => Tensor;

function convInstance(call: ConvCall, setup: ConvSetup): Instance {
  const { x, weight, bias, options } = setup;
  const rank = x.length - 2;
  return {
    label: shapesText(x, weight) + (bias ? " with bias" : "") + optionsText(options),
    operands: operandsOf(setup, weight[0]!),
    chain: reference.count(weight.slice(1)),
    run: ([input, kernel, shift]) => call(input!, kernel!, shift, options),
    reference: ([input, kernel, shift]) => {
      const geometry = {
        stride: perAxis(options.stride, rank, 1),
        dilation: perAxis(options.dilation, rank, 1),
        padding: paddingOf(setup),
      };
      return conv(input!, kernel!, shift, geometry, options.groups ?? 1);
    },
  };
}

/** Convolutions whose kernel fits the padded input. */
function anyConv(rank: number): fc.Arbitrary<ConvSetup> {
  const each = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.array(one, { minLength: rank, maxLength: rank });
  return fc
    .record({
      batch: between(1, 2),
      groups: between(1, 2),
      inChannels: between(1, 2),
      outChannels: between(1, 2),
      kernel: each(between(1, 3)),
      stride: each(between(1, 3)),
      dilation: each(between(1, 2)),
      padding: each(between(0, 2)),
      room: each(between(0, rank === 3 ? 1 : 3)),
      bias: fc.boolean(),
    })
    .map(({ batch, groups, inChannels, outChannels, kernel, stride, dilation, padding, room, bias }) => ({
      x: [
        batch,
        groups * inChannels,
        ...kernel.map((size, i) => Math.max(1, dilation[i]! * (size - 1) + 1 - 2 * padding[i]! + room[i]!)),
      ],
      weight: [groups * outChannels, inChannels, ...kernel],
      bias,
      options: { stride, padding, dilation, groups },
    }));
}

const CONVS = { conv1d: nf.conv1d, conv2d: nf.conv2d, conv3d: nf.conv3d } as const;

function convRow(op: "conv1d" | "conv2d" | "conv3d", rank: number, fixed: readonly ConvSetup[]): Row {
  const call: ConvCall = CONVS[op];
  return row(FAMILY, {
    op,
    kernels: ["matmul", "reduce"],
    tolerance: "composed",
    dtypes: FLOATS,
    instances: fixed.map((setup) => convInstance(call, setup)),
    ...(rank < 3 && {
      large: [
        {
          x: [1, 18, ...[19, 17].slice(-rank)],
          weight: [9, 18, ...[3, 3].slice(-rank)],
          bias: true,
          options: {},
        },
        {
          x: [2, 6, ...[13, 34].slice(-rank)],
          weight: [10, 3, ...[5, 4].slice(-rank)],
          bias: false,
          options: { stride: 2, padding: 2, groups: 2 },
        },
      ].map((setup) => convInstance(call, setup)),
    }),
    arbitrary: anyConv(rank).map((setup) => convInstance(call, setup)),
  });
}

interface TransposeSetup extends Omit<ConvSetup, "options"> {
  readonly options: ConvTransposeOptions;
}

const TRANSPOSED = {
  convTranspose1d: nf.convTranspose1d,
  convTranspose2d: nf.convTranspose2d,
  convTranspose3d: nf.convTranspose3d,
} as const;

function transposeRow(op: keyof typeof TRANSPOSED, rank: number, fixed: readonly TransposeSetup[]): Row {
  const instance = (setup: TransposeSetup): Instance => {
    const { x, weight, bias, options } = setup;
    const groups = options.groups ?? 1;
    return {
      label: shapesText(x, weight) + (bias ? " with bias" : "") + optionsText(options),
      operands: operandsOf(setup, weight[1]! * groups),
      chain: reference.count([weight[0]! / groups, ...weight.slice(2)]),
      run: ([input, kernel, shift]) => TRANSPOSED[op](input!, kernel!, shift, options),
      reference: ([input, kernel, shift]) => {
        const geometry = {
          stride: perAxis(options.stride, rank, 1),
          dilation: perAxis(options.dilation, rank, 1),
          padding: perAxis(options.padding, rank, 0),
        };
        return convTranspose(
          input!,
          kernel!,
          shift,
          geometry,
          groups,
          perAxis(options.outputPadding, rank, 0),
        );
      },
    };
  };
  const each = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.array(one, { minLength: rank, maxLength: rank });
  const any = fc
    .record({
      batch: between(1, 2),
      groups: between(1, 2),
      inChannels: between(1, 2),
      outChannels: between(1, 2),
      kernel: each(between(1, 3)),
      stride: each(between(1, 3)),
      dilation: each(between(1, 2)),
      size: each(between(1, 3)),
      padding: each(between(0, 1)),
      extra: each(between(0, 1)),
      bias: fc.boolean(),
    })
    .map(
      ({
        batch,
        groups,
        inChannels,
        outChannels,
        kernel,
        stride,
        dilation,
        size,
        padding,
        extra,
        bias,
      }): TransposeSetup => {
        const outputPadding = extra.map((amount, i) =>
          Math.min(amount, Math.max(stride[i]!, dilation[i]!) - 1),
        );
        const whole = size.map(
          (length, i) => (length - 1) * stride[i]! + dilation[i]! * (kernel[i]! - 1) + 1 + outputPadding[i]!,
        );
        return {
          x: [batch, groups * inChannels, ...size],
          weight: [groups * inChannels, outChannels, ...kernel],
          bias,
          options: {
            stride,
            dilation,
            groups,
            outputPadding,
            padding: padding.map((amount, i) => (whole[i]! - 2 * amount >= 1 ? amount : 0)),
          },
        };
      },
    );
  return row(FAMILY, {
    op,
    kernels: ["matmul", "reduce"],
    tolerance: "composed",
    instances: fixed.map(instance),
    arbitrary: any.map(instance),
  });
}

/** Windows as columns, and their sum back. */
function unfoldRows(): readonly Row[] {
  type Setup = {
    readonly image: readonly [number, number, number, number];
    readonly options: { kernelSize: number[]; stride: number[]; padding: number[]; dilation: number[] };
  };
  const columns = (
    x: reference.Nd,
    { kernelSize, stride, padding, dilation }: Setup["options"],
  ): reference.Nd => {
    const [batch, channels, height, width] = x.shape as [number, number, number, number];
    const positions = [height, width].map(
      (size, i) =>
        Math.floor((size + 2 * padding[i]! - dilation[i]! * (kernelSize[i]! - 1) - 1) / stride[i]!) + 1,
    ) as [number, number];
    const area = kernelSize[0]! * kernelSize[1]!;
    return reference.build([batch, channels * area, positions[0] * positions[1]], ([n, column, place]) => {
      const [c, tapY, tapX] = reference.indexAt([channels, kernelSize[0]!, kernelSize[1]!], column!) as [
        number,
        number,
        number,
      ];
      const [row_, col] = reference.indexAt(positions, place!) as [number, number];
      const y = row_ * stride[0]! - padding[0]! + tapY * dilation[0]!;
      const z = col * stride[1]! - padding[1]! + tapX * dilation[1]!;
      return y < 0 || y >= height || z < 0 || z >= width ? 0 : reference.at(x, [n!, c, y, z]);
    });
  };
  const unfold = ({ image, options }: Setup): Instance => ({
    label: shapesText(image) + optionsText(options),
    operands: [data(image)],
    run: ([x]) => nf.unfold(x!, options),
    reference: ([x]) => columns(x!, options),
  });
  const fold = ({ image, options }: Setup): Instance => {
    const numbered = columns(
      reference.build(image, (_, position) => position + 1),
      options,
    );
    return {
      label: shapesText(numbered.shape) + optionsText({ ...options, outputSize: image.slice(2) }),
      operands: [data(numbered.shape)],
      run: ([x]) => nf.fold(x!, { ...options, outputSize: image.slice(2) }),
      reference: ([x]) => {
        const result = new Array<number>(reference.count(image)).fill(0);
        numbered.data.forEach((number, i) => {
          if (number > 0) result[number - 1]! += x!.data[i]!;
        });
        return reference.nd(image, result);
      },
    };
  };
  const plain = { kernelSize: [2, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1] };
  const fixed: readonly Setup[] = [
    { image: [2, 2, 3, 4], options: plain },
    {
      image: [1, 1, 5, 4],
      options: { kernelSize: [3, 2], stride: [2, 1], padding: [1, 1], dilation: [1, 2] },
    },
  ];
  const pair = (low: number, high: number): fc.Arbitrary<number[]> =>
    fc.array(between(low, high), { minLength: 2, maxLength: 2 });
  const any = fc
    .record({
      kernelSize: pair(1, 3),
      stride: pair(1, 2),
      padding: pair(0, 1),
      dilation: pair(1, 2),
      room: pair(0, 2),
      channels: between(1, 2),
    })
    .map(({ room, channels, ...options }): Setup => {
      const [height, width] = room.map((extra, i) =>
        Math.max(
          1,
          options.dilation[i]! * (options.kernelSize[i]! - 1) + 1 - 2 * options.padding[i]! + extra,
        ),
      ) as [number, number];
      return { image: [1, channels, height, width], options };
    });
  return [
    row(FAMILY, {
      op: "unfold",
      tolerance: "exact",
      instances: fixed.map(unfold),
      arbitrary: any.map(unfold),
    }),
    row(FAMILY, {
      op: "fold",
      kernels: ["reduce"],
      tolerance: "composed",
      instances: fixed.map(fold),
      arbitrary: any.map(fold),
    }),
  ];
}

/** Convolutions in one to three dimensions, transposed ones, windows as columns. */
export function convolutionRows(): readonly Row[] {
  return [
    convRow("conv1d", 1, [
      { x: [2, 3, 7], weight: [4, 3, 3], bias: true, options: {} },
      { x: [1, 2, 6], weight: [2, 1, 2], bias: false, options: { stride: 2, padding: 1, groups: 2 } },
      { x: [1, 1, 5], weight: [2, 1, 3], bias: true, options: { padding: "same", dilation: 2 } },
    ]),
    convRow("conv2d", 2, [
      { x: [2, 3, 5, 6], weight: [4, 3, 3, 2], bias: true, options: {} },
      { x: [1, 2, 5, 5], weight: [2, 2, 3, 3], bias: true, options: { padding: 1 } },
      { x: [1, 2, 6, 5], weight: [2, 2, 3, 3], bias: false, options: { stride: [2, 1], padding: [1, 2] } },
      { x: [1, 4, 4, 4], weight: [4, 2, 2, 2], bias: true, options: { groups: 2 } },
      { x: [1, 3, 4, 4], weight: [3, 1, 3, 3], bias: false, options: { groups: 3, padding: 1 } },
      { x: [1, 2, 7, 6], weight: [1, 2, 2, 3], bias: false, options: { dilation: [2, 2] } },
      { x: [2, 2, 3, 3], weight: [3, 2, 1, 1], bias: true, options: {} },
      { x: [1, 1, 4, 4], weight: [1, 1, 3, 3], bias: false, options: { padding: "same" } },
    ]),
    convRow("conv3d", 3, [
      { x: [1, 2, 3, 4, 3], weight: [2, 2, 2, 2, 2], bias: true, options: {} },
      {
        x: [1, 2, 3, 3, 3],
        weight: [2, 1, 2, 2, 2],
        bias: false,
        options: { stride: 2, padding: 1, groups: 2 },
      },
    ]),
    transposeRow("convTranspose1d", 1, [
      { x: [2, 2, 4], weight: [2, 3, 3], bias: true, options: {} },
      {
        x: [1, 2, 3],
        weight: [2, 1, 3],
        bias: false,
        options: { stride: 2, padding: 1, outputPadding: 1, groups: 2 },
      },
    ]),
    transposeRow("convTranspose2d", 2, [
      { x: [2, 2, 3, 3], weight: [2, 3, 2, 3], bias: true, options: {} },
      {
        x: [1, 2, 3, 2],
        weight: [2, 2, 3, 3],
        bias: true,
        options: { stride: 2, padding: 1, outputPadding: 1 },
      },
      {
        x: [1, 4, 2, 2],
        weight: [4, 1, 2, 2],
        bias: false,
        options: { stride: [2, 1], groups: 2, dilation: 2 },
      },
    ]),
    transposeRow("convTranspose3d", 3, [
      {
        x: [1, 2, 2, 2, 2],
        weight: [2, 1, 2, 2, 2],
        bias: true,
        options: { stride: [1, 2, 1], padding: [1, 0, 0], groups: 2 },
      },
    ]),
    ...unfoldRows(),
  ];
}
