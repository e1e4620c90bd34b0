import type { Backend, Call, FusedCall, View } from "@nf/core";
import { Planted, replaced, setValues, valuesOf } from "./host.ts";

/* Faults of fused kernels beyond the forward in f32: in gradients, in 16 bits, in passes that are declined. */

type FusedKernel = FusedCall["kernel"];

/** Passes that a gradient is made of. */
function isBackward(call: Call): boolean {
  const { pass, inverse } = ("attributes" in call ? call.attributes : {}) as {
    readonly pass?: string;
    readonly inverse?: boolean;
  };
  return call.kernel === "embeddingGrad" || inverse === true || (pass !== undefined && pass !== "forward");
}

const isHalf = ({ dtype }: View): boolean => dtype === "f16" || dtype === "bf16";

const zeroed =
  (wanted: (call: Call) => boolean, views: (view: View) => boolean = () => true) =>
  (wrapped: Backend): Backend =>
    new Planted(wrapped, (call, run, backend) => {
      run(call);
      if (!wanted(call)) return;
      for (const view of call.outputs.filter(views))
        setValues(
          backend,
          view,
          valuesOf(backend, view).map(() => 0),
        );
    });

/** Gradients in 16 bits are zeros. */
export const noHalfGradient = (kernel: FusedKernel): ((wrapped: Backend) => Backend) =>
  zeroed((call) => call.kernel === kernel && isBackward(call), isHalf);

/** Gradients in bf16 of a pass are zeros. */
export const noBfloatGradient = (kernel: FusedKernel): ((wrapped: Backend) => Backend) =>
  zeroed(
    (call) => call.kernel === kernel && isBackward(call),
    ({ dtype }) => dtype === "bf16",
  );

/** Declines some calls; the decomposition takes their place. */
const declining =
  (declined: (call: Call) => boolean) =>
  (wrapped: Backend): Backend =>
    replaced(wrapped, (inner) => ({
      supports: (call) =>
        declined(call) ? { reason: "it is left to the decomposition" } : inner.supports(call),
    }));

/** Has the forward of every fused kernel and no other pass, as a backend may. */
export const forwardOnly: (wrapped: Backend) => Backend = declining(
  (call) => isBackward(call) && call.kernel !== "embeddingGrad",
);

/** The same, and a softmax that is off by a thousandth. */
export const forwardOnlyWrong = (wrapped: Backend): Backend =>
  forwardOnly(
    new Planted(wrapped, (call, run, backend) => {
      run(call);
      if (call.kernel !== "softmax") return;
      const [out] = call.outputs;
      setValues(
        backend,
        out,
        valuesOf(backend, out).map((value) => value * 1.001),
      );
    }),
  );

/** Declares a softmax of bf16 and never takes one. */
export const bfloatDeclined: (wrapped: Backend) => Backend = declining(
  (call) => call.kernel === "softmax" && call.outputs[0].dtype === "bf16",
);

/** Steps over many tensors give zeros in 8 bits. */
export const noByteSteps: (wrapped: Backend) => Backend = zeroed(
  (call) => call.kernel === "mapMany",
  ({ dtype }) => dtype === "i8",
);

/** Steps over many tensors write their results before all inputs are read: in place the second sees the first. */
export const writesEarly = (wrapped: Backend): Backend =>
  new Planted(wrapped, (call, run, backend) => {
    if (call.kernel !== "mapMany") {
      run(call);
      return;
    }
    run(call);
    const writes = call.program.results.length;
    const firsts = call.outputs.map((view, k) => (k % writes === 0 ? valuesOf(backend, view) : undefined));
    run(call);
    firsts.forEach((values, k) => {
      if (values !== undefined) setValues(backend, call.outputs[k] as View, values);
    });
  });
