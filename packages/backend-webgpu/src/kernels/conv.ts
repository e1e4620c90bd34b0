import type { ConvCall, View } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { runSlide, type Slide } from "./convSlide.ts";
import { runWeightGrad } from "./convWeightGrad.ts";
import { supportsWindows, WINDOW_DTYPES } from "./windows.ts";

/** The `conv` kernel: direct, with tiles of outputs and channels in registers. */
export function makeConv({ gpu }: Context): KernelEntry<ConvCall> {
  return {
    dtypes: WINDOW_DTYPES,
    supports: supportsWindows,
    run: (call) => {
      const { pass } = call.attributes;
      if (pass === "weightGrad") runWeightGrad(gpu, call);
      else runSlide(gpu, call, pass === "forward" ? forward(call) : inputGrad(call));
    },
  };
}

function forward({ attributes, inputs, outputs }: ConvCall): Slide {
  const [, weight] = inputs as readonly [View, View];
  const { stride, dilation, padding, groups } = attributes;
  const [byOut, byIn] = weight.strides as readonly [number, number];
  const out = outputs[0] as View;
  return {
    groups,
    outPer: (out.shape[1] as number) / groups,
    inPer: weight.shape[1] as number,
    kernel: weight.shape.slice(2),
    step: stride,
    dilation,
    start: padding.map(([before]) => -before),
    divide: stride.map(() => 1),
    weightByOut: byOut,
    weightByIn: byIn,
    weightByGroup: byOut * ((out.shape[1] as number) / groups),
  };
}

/** The gradient of x slides over that of out backwards; what strides skipped is found by division. */
function inputGrad({ attributes, inputs }: ConvCall): Slide {
  const [, weight] = inputs as readonly [View, View];
  const { stride, dilation, padding, groups } = attributes;
  const [byOut, byIn] = weight.strides as readonly [number, number];
  const perGroup = (weight.shape[0] as number) / groups;
  return {
    groups,
    outPer: weight.shape[1] as number,
    inPer: perGroup,
    kernel: weight.shape.slice(2),
    step: stride.map(() => 1),
    dilation: dilation.map((step) => -step),
    start: padding.map(([before]) => before),
    divide: stride,
    weightByOut: byIn,
    weightByIn: byOut,
    weightByGroup: byOut * perGroup,
  };
}
