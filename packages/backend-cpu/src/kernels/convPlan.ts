import type { ConvCall, View } from "@nf/core";
import type { Workspace } from "../workspace.ts";
import { gridPositions, spatial, volume, type WindowGeometry, windowGeometry } from "./window.ts";

/** One convolution, with tables of positions. */
export interface ConvPlan {
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

/** Works out a convolution of the views. */
export function makePlan(
  { attributes }: ConvCall,
  workspace: Workspace,
  x: View,
  weight: View,
  out: View,
): ConvPlan {
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
