import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import {
  type Derivatives,
  derivativesOf,
  examples,
  expectClose,
  type LayoutChoice,
  lay,
  layouts,
  numbers,
  scoped,
  setUp,
  type Tolerance,
  tensorOf,
  valuesOf,
} from "./helper.ts";

/*
 * Every fused kernel against the decomposition that core owns: forward, gradient (the fused backward), the gradient
 * under createGraph, and the second gradient, over shapes, options and layouts of the operands.
 */

type Float = "f32" | "f64";

const TOLERANCES: Readonly<Record<Float, Tolerance>> = {
  f32: { relative: 1e-4, absolute: 2e-5 },
  f64: { relative: 1e-11, absolute: 1e-12 },
};

/** What a comparison runs: leaves, and a function of them. Made anew for each mode. */
interface Subject {
  readonly leaves: readonly core.Tensor[];
  readonly run: () => core.Tensor;
}

function derive(mode: core.FusionMode, make: () => Subject, second: boolean): Derivatives {
  const scope = new core.Scope();
  try {
    return scope.run(() => {
      const { leaves, run } = make();
      const like = (x: core.Tensor, seed: number): core.Tensor =>
        tensorOf(numbers(x.size, seed), x.shape, x.dtype);
      const weights = second ? (leaf: core.Tensor, i: number) => like(leaf, 20 + i) : undefined;
      return core.withFusion(mode, () => derivativesOf(run, leaves, (y) => like(y, 10), weights));
    });
  } finally {
    scope.dispose();
  }
}

/** Compares the fused kernels with the decomposition; `magnitude` is that of the second gradients' terms. */
function agree(make: () => Subject, dtype: Float, magnitude = 1): void {
  const { relative, absolute } = TOLERANCES[dtype];
  const tolerance = { relative, absolute: absolute * magnitude };
  const reference = derive("off", make, true);
  const fused = derive("force", make, false);
  const graphed = derive("force", make, true);
  const match = (label: string, got: Derivatives["grads"], expected: Derivatives["grads"]): void =>
    expected.forEach((values, i) => {
      if (values !== undefined) expectClose(got[i] ?? [], values, tolerance, `${label} ${i}`);
    });
  expectClose(fused.output, reference.output, tolerance, "output");
  match("fused gradient", fused.grads, reference.grads);
  match("gradient under createGraph", graphed.grads, reference.grads);
  match("second gradient", graphed.grads2, reference.grads2);
  expect(reference.grads.some((values) => values !== undefined)).toBe(true);
}

const dtypes = fc.constantFrom<Float>("f64", "f64", "f32");
const perAxis = <T>(rank: number, one: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(one, { minLength: rank, maxLength: rank });
const between = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

interface ConvCase {
  readonly x: readonly number[];
  readonly weight: readonly number[];
  readonly bias: boolean;
  readonly options: core.ConvOptions;
  readonly layouts: readonly [LayoutChoice, LayoutChoice];
  readonly dtype: Float;
}

/** Convolutions whose kernel fits the padded input. */
function convCases(rank: number): fc.Arbitrary<ConvCase> {
  return fc
    .record({
      batch: between(1, 2),
      groups: between(1, 3),
      inChannels: between(1, 2),
      outChannels: between(1, 2),
      kernel: perAxis(rank, between(1, 3)),
      stride: perAxis(rank, between(1, 3)),
      dilation: perAxis(rank, between(1, 2)),
      padding: fc.oneof(perAxis(rank, between(0, 2)), fc.constantFrom("same", "valid")),
      room: perAxis(rank, between(0, rank === 3 ? 2 : 4)),
      bias: fc.boolean(),
      layouts: fc.tuple(layouts(rank + 2), layouts(rank + 2)),
      dtype: dtypes,
    })
    .map(({ batch, groups, inChannels, outChannels, kernel, stride, dilation, padding, room, ...rest }) => {
      const same = padding === "same";
      const amount = (i: number): number => (typeof padding === "string" ? 0 : padding[i]!);
      const spatial = kernel.map((size, i) =>
        Math.max(1, (same ? 0 : dilation[i]! * (size - 1) + 1 - 2 * amount(i)) + room[i]!),
      );
      return {
        ...rest,
        x: [batch, groups * inChannels, ...spatial],
        weight: [groups * outChannels, inChannels, ...kernel],
        options: {
          stride: same ? 1 : stride,
          padding: padding as NonNullable<core.ConvOptions["padding"]>,
          dilation,
          groups,
        },
      };
    });
}

interface PoolCase {
  readonly x: readonly number[];
  readonly max: core.MaxPoolOptions;
  readonly average: core.AvgPoolOptions;
  readonly layout: LayoutChoice;
  readonly dtype: Float;
}

/** Poolings whose window fits the padded input. */
function poolCases(rank: number): fc.Arbitrary<PoolCase> {
  const window = fc.record({
    size: between(1, 3),
    stride: between(1, 3),
    dilation: between(1, 2),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    room: between(0, rank === 3 ? 2 : 4),
  });
  return fc
    .record({
      lead: fc.tuple(between(1, 2), between(1, 2)),
      windows: perAxis(rank, window),
      ceilMode: fc.boolean(),
      countIncludePad: fc.boolean(),
      layout: layouts(rank + 2),
      dtype: dtypes,
    })
    .map(({ lead, windows, ceilMode, countIncludePad, layout, dtype }) => {
      const padding = windows.map(({ size, share }) => Math.floor((size / 2) * share));
      const common = {
        kernelSize: windows.map(({ size }) => size),
        stride: windows.map(({ stride }) => stride),
        padding,
        ceilMode,
      };
      const spatial = windows.map(({ size, dilation, room }, i) =>
        Math.max(1, dilation * (size - 1) + 1 - 2 * padding[i]! + room),
      );
      const dilation = windows.map((one) => one.dilation);
      const max = { ...common, dilation };
      return { x: [...lead, ...spatial], max, average: { ...common, countIncludePad }, layout, dtype };
    });
}

beforeAll(setUp);

describe("fused convolution equals its decomposition", () => {
  it.each([
    ["conv1d", core.conv1d, 1, 70],
    ["conv2d", core.conv2d, 2, 90],
    ["conv3d", core.conv3d, 3, 40],
  ] as const)("%s", (_name, conv, rank, count) => {
    fc.assert(
      fc.property(convCases(rank), ({ x, weight, bias, options, layouts: [forX, forWeight], dtype }) => {
        agree(() => {
          const input = lay(x, forX, 1, dtype);
          const kernel = lay(weight, forWeight, 2, dtype);
          const shift = bias ? tensorOf(numbers(weight[0]!, 3), [weight[0]!], dtype, true) : undefined;
          const leaves = [input.leaf, kernel.leaf, ...(shift ? [shift] : [])];
          return { leaves, run: () => conv(input.view, kernel.view, shift, options) };
        }, dtype);
      }),
      examples(count),
    );
  });

  it(
    "each operand alone has its gradient",
    scoped(() => {
      for (const wanted of [0, 1, 2]) {
        agree(() => {
          const shapes = [[2, 2, 5, 4], [4, 1, 2, 3], [4]];
          const [x, weight, bias] = shapes.map((shape, i) =>
            tensorOf(
              numbers(
                shape.reduce((a, b) => a * b),
                i,
              ),
              shape,
              "f64",
              i === wanted,
            ),
          ) as [core.Tensor, core.Tensor, core.Tensor];
          return { leaves: [x, weight, bias], run: () => core.conv2d(x, weight, bias, { groups: 2 }) };
        }, "f64");
      }
    }),
  );
});

describe("fused pooling equals its decomposition", () => {
  it.each([
    ["maxPool1d", core.maxPool1d, 1, 70],
    ["maxPool2d", core.maxPool2d, 2, 90],
    ["maxPool3d", core.maxPool3d, 3, 40],
  ] as const)("%s", (_name, pool, rank, count) => {
    fc.assert(
      fc.property(poolCases(rank), ({ x, max, layout, dtype }) => {
        agree(() => {
          const { leaf, view } = lay(x, layout, 1, dtype);
          return { leaves: [leaf], run: () => pool(view, max) };
        }, dtype);
      }),
      examples(count),
    );
  });

  it.each([
    ["avgPool1d", core.avgPool1d, 1, 70],
    ["avgPool2d", core.avgPool2d, 2, 90],
    ["avgPool3d", core.avgPool3d, 3, 40],
  ] as const)("%s", (_name, pool, rank, count) => {
    fc.assert(
      fc.property(poolCases(rank), ({ x, average, layout, dtype }) => {
        agree(() => {
          const { leaf, view } = lay(x, layout, 1, dtype);
          return { leaves: [leaf], run: () => pool(view, average) };
        }, dtype);
      }),
      examples(count),
    );
  });
});

describe("fused softmax equals its decomposition", () => {
  const shapes = fc.array(between(1, 5), { minLength: 1, maxLength: 4 });
  const cases = shapes.chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      axis: between(-shape.length, shape.length - 1),
      layout: layouts(shape.length),
      scale: fc.constantFrom(1, 8),
      dtype: dtypes,
    }),
  );
  it.each([
    ["softmax", core.softmax],
    ["logSoftmax", core.logSoftmax],
  ] as const)("%s", (_name, softmax) => {
    fc.assert(
      fc.property(cases, ({ shape, axis, layout, scale, dtype }) => {
        agree(
          () => {
            const { leaf, view } = lay(shape, layout, 1, dtype);
            return { leaves: [leaf], run: () => softmax(core.mul(view, scale), { axis }) };
          },
          dtype,
          scale * scale,
        );
      }),
      examples(200),
    );
  });
});

describe("fused cross-entropy equals its decomposition", () => {
  const cases = fc
    .record({
      batch: between(1, 5),
      classes: between(1, 6),
      spatial: fc.array(between(1, 3), { maxLength: 2 }),
      labelSmoothing: fc.constantFrom(0, 0.1, 1),
      reduction: fc.constantFrom("mean" as const, "sum" as const, "none" as const),
      ignored: fc.boolean(),
      targetSeed: fc.nat(1000),
      dtype: dtypes,
    })
    .chain((shared) => layouts(shared.spatial.length + 2).map((layout) => ({ ...shared, layout })));

  it("over shapes, targets, smoothing, reductions and ignored rows", () => {
    fc.assert(
      fc.property(cases, (test) => {
        const { batch, classes, spatial, labelSmoothing, reduction, ignored, targetSeed, dtype, layout } =
          test;
        const targetShape = [batch, ...spatial];
        const count = targetShape.reduce((a, b) => a * b);
        const targets = numbers(count, targetSeed).map((value, i) =>
          // The first row always counts: a mean over nothing is NaN either way.
          ignored && i > 0 && value > 1 ? -100 : Math.abs(Math.round(value * 64)) % classes,
        );
        agree(() => {
          const { leaf, view } = lay([batch, classes, ...spatial], layout, 1, dtype);
          const target = tensorOf(targets, targetShape, "i32");
          const options = { labelSmoothing, reduction };
          return { leaves: [leaf], run: () => core.crossEntropy(view, target, options) };
        }, dtype);
      }),
      examples(200),
    );
  });
});

describe("fusion modes", () => {
  const image = (): core.Tensor => tensorOf(numbers(50, 1), [1, 2, 5, 5], "f32");

  it(
    "NaN takes the same way through fused and decomposed",
    scoped(() => {
      const withNaN = tensorOf([1, NaN, 3, -1, 0.5, Infinity, 2, -Infinity], [1, 1, 2, 4]);
      const functions = [
        () => core.maxPool2d(withNaN, { kernelSize: [1, 2] }),
        () => core.avgPool2d(withNaN, { kernelSize: [1, 2] }),
        () => core.softmax(withNaN, { axis: 2 }),
        () => core.logSoftmax(withNaN),
        () => core.conv2d(withNaN, core.zeros([1, 1, 1, 2])),
        () => core.crossEntropy(withNaN.reshape([2, 4]), tensorOf([0, 1], [2], "i32"), { reduction: "none" }),
      ];
      for (const run of functions) {
        const fused = valuesOf(core.withFusion("force", run));
        expectClose(fused, valuesOf(core.withFusion("off", run)), TOLERANCES.f32);
        expect(fused.some(Number.isNaN)).toBe(true);
      }
    }),
  );

  it(
    "16-bit floats agree to their precision",
    scoped(() => {
      for (const dtype of ["f16", "bf16"] as const) {
        const x = image().cast(dtype);
        const weight = tensorOf(numbers(36, 2), [2, 2, 3, 3]).cast(dtype);
        const functions = [
          () => core.conv2d(x, weight),
          () => core.maxPool2d(x, { kernelSize: 2 }),
          () => core.avgPool2d(x, { kernelSize: 2 }),
          () => core.softmax(x),
          () => core.logSoftmax(x),
        ];
        const tolerance = dtype === "f16" ? 4e-3 : 3e-2;
        for (const run of functions) {
          const fused = core.withFusion("force", run);
          expect(fused.dtype).toBe(dtype);
          const reference = valuesOf(core.withFusion("off", run));
          expectClose(valuesOf(fused), reference, { relative: tolerance, absolute: 4 * tolerance });
        }
      }
    }),
  );

  it(
    "force refuses what has no fused kernel, by name; auto and off compute it",
    scoped(() => {
      const pooled = (): core.Tensor => core.maxPool2d(core.zeros([0, 1, 4, 4]), { kernelSize: 2 });
      expect(() => core.withFusion("force", pooled)).toThrow(
        /^pool: .*no fused kernel for this call.*"force"/,
      );
      for (const mode of ["auto", "off"] as const)
        expect(core.withFusion(mode, pooled).shape).toEqual([0, 1, 2, 2]);
    }),
  );

  it(
    "is back where it was after an error",
    scoped(() => {
      expect(() =>
        core.withFusion("force", () => {
          throw new RangeError("inside");
        }),
      ).toThrow(RangeError);
      expect(core.softmax(core.zeros([0, 3])).shape).toEqual([0, 3]);
    }),
  );
});
