import type { ConvCall, PoolCall, Support, View, WindowAttributes } from "@nf/core";

/** Three numbers, one a spatial dimension; missing outer dimensions are filled up. */
export type Triple = readonly [number, number, number];

/** Most spatial dimensions of a convolution or pooling here. */
const MOST_SPATIAL = 3;

/** Whether windows of these many dimensions can run. */
export function supportsWindows({ kernel, attributes }: ConvCall | PoolCall): Support {
  const rank = attributes.stride.length;
  return rank <= MOST_SPATIAL
    ? "yes"
    : { reason: `${kernel} over ${rank} spatial dimensions; at most ${MOST_SPATIAL}` };
}

/** Fills a list of at most three spatial numbers up to three, at the front. */
export function triple(list: readonly number[], missing: number): Triple {
  const at = (axis: number): number => list[axis - MOST_SPATIAL + list.length] ?? missing;
  return [at(0), at(1), at(2)];
}

/** Where the windows of a convolution or pooling lie, with every tensor seen as having three spatial dimensions. */
export interface WindowGeometry {
  readonly inSize: Triple;
  readonly outSize: Triple;
  readonly kernelSize: Triple;
  readonly stride: Triple;
  readonly dilation: Triple;
  readonly before: Triple;
  /** Sizes of the input with its padding. */
  readonly paddedSize: Triple;
}

/** The geometry of windows of `kernelSize` that lead from spatial sizes `inSize` to `outSize`. */
export function windowGeometry(
  { stride, dilation, padding }: WindowAttributes,
  inSize: readonly number[],
  outSize: readonly number[],
  kernelSize: readonly number[],
): WindowGeometry {
  const input = triple(inSize, 1);
  const before = triple(
    padding.map(([start]) => start),
    0,
  );
  const after = triple(
    padding.map(([, end]) => end),
    0,
  );
  return {
    inSize: input,
    outSize: triple(outSize, 1),
    kernelSize: triple(kernelSize, 1),
    stride: triple(stride, 1),
    dilation: triple(dilation, 1),
    before,
    paddedSize: [
      input[0] + before[0] + after[0],
      input[1] + before[1] + after[1],
      input[2] + before[2] + after[2],
    ],
  };
}

/** Number of elements. */
export function volume([a, b, c]: Triple): number {
  return a * b * c;
}

/** The spatial sizes of a `[batch, channels, …]` view. */
export function spatial(view: View): readonly number[] {
  return view.shape.slice(2);
}

/**
 * Row-major positions in a grid of `size`, of the points `(z * step[0], y * step[1], x * step[2])` for a grid of
 * `count` of them.
 */
export function gridPositions(
  count: Triple,
  step: Triple,
  size: Triple,
  to: Int32Array,
  first = 0,
  shift = 0,
): void {
  let at = first;
  for (let z = 0; z < count[0]; z++) {
    for (let y = 0; y < count[1]; y++) {
      const row = shift + (z * step[0] * size[1] + y * step[1]) * size[2];
      for (let x = 0; x < count[2]; x++) to[at++] = row + x * step[2];
    }
  }
}
