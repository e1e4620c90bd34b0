/* Convolution and pooling by their definitions: every output element adds up (or compares) its window. */
import { at, build, count, indexAt, type Nd } from "./nd.ts";

/** Geometry of a window, one entry a spatial dimension. */
export interface Geometry {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
}

/** A number for all spatial dimensions, or one each. */
export function perAxis(
  value: number | readonly number[] | undefined,
  rank: number,
  fallback: number,
): readonly number[] {
  if (value === undefined) return new Array<number>(rank).fill(fallback);
  return typeof value === "number" ? new Array<number>(rank).fill(value) : value;
}

/** x `[batch, in, …]` with weight `[out, in / groups, …]`. */
export function conv(
  x: Nd,
  weight: Nd,
  bias: Nd | undefined,
  { stride, padding, dilation }: Geometry,
  groups: number,
): Nd {
  const [batch] = x.shape as [number];
  const [outChannels, perGroup, ...kernel] = weight.shape as [number, number, ...number[]];
  const spatial = kernel.map(
    (size, i) =>
      Math.floor((x.shape[i + 2]! + 2 * padding[i]! - dilation[i]! * (size - 1) - 1) / stride[i]!) + 1,
  );
  const sizes = x.shape.slice(2);
  const [volume, reach] = [count(sizes), count(kernel)];
  const taps = Array.from({ length: reach }, (_, k) => indexAt(kernel, k));
  // Where each tap that meets the image meets it, by the window's place: the same in all channels.
  const meetings = Array.from({ length: count(spatial) }, (_, at) => {
    const place = indexAt(spatial, at);
    return taps.flatMap((tap, k) => {
      const position = place.map((p, i) => p * stride[i]! - padding[i]! + tap[i]! * dilation[i]!);
      if (position.some((p, i) => p < 0 || p >= sizes[i]!)) return [];
      return [[k, position.reduce((offset, p, i) => offset * sizes[i]! + p, 0)] as const];
    });
  });
  return build([batch, outChannels, ...spatial], ([n, channel], i) => {
    const group = Math.floor(channel! / (outChannels / groups));
    const met = meetings[i % meetings.length]!;
    let total = bias === undefined ? 0 : bias.data[channel!]!;
    for (let c = 0; c < perGroup; c++) {
      const image = (n! * x.shape[1]! + group * perGroup + c) * volume;
      const filter = (channel! * perGroup + c) * reach;
      for (const [k, offset] of met) total += x.data[image + offset]! * weight.data[filter + k]!;
    }
    return total;
  });
}

/** The transpose of {@link conv}: x `[batch, in, …]` spread with weight `[in, out / groups, …]`. */
export function convTranspose(
  x: Nd,
  weight: Nd,
  bias: Nd | undefined,
  { stride, padding, dilation }: Geometry,
  groups: number,
  outputPadding: readonly number[],
): Nd {
  const [batch, channels, ...inner] = x.shape as [number, number, ...number[]];
  const [, perGroup, ...kernel] = weight.shape as [number, number, ...number[]];
  const spatial = inner.map(
    (size, i) =>
      (size - 1) * stride[i]! - 2 * padding[i]! + dilation[i]! * (kernel[i]! - 1) + outputPadding[i]! + 1,
  );
  const shape = [batch, perGroup * groups, ...spatial];
  const result = build(shape, ([, channel]) => (bias === undefined ? 0 : bias.data[channel!]!));
  const data = [...result.data];
  const strides = shape.map((_, axis) => count(shape.slice(axis + 1)));
  for (let i = 0; i < x.data.length; i++) {
    const [n, c, ...place] = indexAt(x.shape, i);
    const group = Math.floor(c! / (channels / groups));
    for (let out = 0; out < perGroup; out++) {
      for (let k = 0; k < count(kernel); k++) {
        const tap = indexAt(kernel, k);
        const target = place.map(
          (p, axis) => p * stride[axis]! - padding[axis]! + tap[axis]! * dilation[axis]!,
        );
        if (target.some((p, axis) => p < 0 || p >= spatial[axis]!)) continue;
        const index = [n!, group * perGroup + out, ...target];
        const position = index.reduce((sum, p, axis) => sum + p * strides[axis]!, 0);
        data[position] = data[position]! + x.data[i]! * at(weight, [c!, out, ...tap]);
      }
    }
  }
  return { shape, data };
}

/** Positions of windows along one dimension of a pooling, ceil mode included. */
export function poolPositions(
  length: number,
  size: number,
  stride: number,
  padding: number,
  dilation: number,
  ceil: boolean,
): number {
  const room = length + 2 * padding - dilation * (size - 1) - 1;
  const positions = (ceil ? Math.ceil(room / stride) : Math.floor(room / stride)) + 1;
  // PyTorch: the last window starts inside the input or the padding before it.
  return ceil && (positions - 1) * stride >= length + padding ? positions - 1 : positions;
}

/** What a pooling makes of a window: its elements inside x, and how many places it covers with the padding. */
export function pool(
  x: Nd,
  kernel: readonly number[],
  { stride, padding, dilation }: Geometry,
  ceil: boolean,
  f: (values: readonly number[], withPadding: number) => number,
): Nd {
  const spatial = kernel.map((size, i) =>
    poolPositions(x.shape[i + 2]!, size, stride[i]!, padding[i]!, dilation[i]!, ceil),
  );
  const taps = Array.from({ length: count(kernel) }, (_, k) => indexAt(kernel, k));
  return build([...x.shape.slice(0, 2), ...spatial], ([n, c, ...place]) => {
    const values: number[] = [];
    let withPadding = 0;
    for (const tap of taps) {
      const position = place.map((p, i) => p * stride[i]! - padding[i]! + tap[i]! * dilation[i]!);
      if (position.every((p, i) => p < x.shape[i + 2]! + padding[i]!)) withPadding++;
      if (position.every((p, i) => p >= 0 && p < x.shape[i + 2]!)) values.push(at(x, [n!, c!, ...position]));
    }
    return f(values, withPadding);
  });
}
