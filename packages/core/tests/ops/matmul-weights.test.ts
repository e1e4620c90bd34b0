import { cpu } from "@nf/backend-cpu";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type Backend,
  BackendDecorator,
  cast,
  currentBackend,
  linear,
  matmul,
  memory,
  noGrad,
  parameter,
  permute,
  randn,
  resetPeakMemory,
  sum,
  Tensor,
  transpose,
  use,
  validate,
} from "../../src/index.ts";
import { scoped, valuesOf } from "./helper.ts";

/** A backend that widens no weights itself. */
class Plain extends BackendDecorator {
  constructor(wrapped: Backend) {
    const { matmulWeights: _none, ...capabilities } = wrapped.capabilities;
    super("plain", wrapped, capabilities);
  }
}

const BACKENDS: readonly (readonly [string, () => Promise<Backend>])[] = [
  ["which widens them itself", cpu],
  ["under validate", async () => validate(await cpu())],
  ["which does not", async () => new Plain(await cpu())],
];

describe.each(BACKENDS)("16-bit weights on a backend %s", (_name, create) => {
  beforeAll(async () => {
    await use(create());
  });

  it.each([
    ["bf16", [1, 24], [7, 24]],
    ["f16", [1, 24], [7, 24]],
    ["bf16", [24], [9, 24]],
    ["f16", [2, 5, 24], [9, 24]],
    ["bf16", [3, 24], [1, 24]],
    ["f16", [130, 33], [18, 33]],
  ] as const)("give %s %j x %j as if widened before", (dtype, left, right) => {
    scoped(() => {
      const x = randn(left);
      const weight = cast(randn(right), dtype);
      const want = matmul(x, transpose(cast(weight, "f32")));
      const got = linear(x, weight);
      expect(got.dtype).toBe("f32");
      expect(got.shape).toEqual(want.shape);
      valuesOf(got).forEach((value, i) => {
        expect(value).toBeCloseTo(valuesOf(want)[i] as number, 5);
      });
    })();
  });

  it("stored the other way round, and under a transposed batch", () => {
    scoped(() => {
      const x = permute(randn([4, 3, 6]), [1, 0, 2]);
      const weight = cast(randn([6, 5]), "bf16");
      const want = matmul(x, cast(weight, "f32"));
      valuesOf(matmul(x, weight)).forEach((value, i) => {
        expect(value).toBeCloseTo(valuesOf(want)[i] as number, 5);
      });
    })();
  });

  it("have gradients on both sides, each in its own dtype", () => {
    scoped(() => {
      const x = parameter(randn([3, 8]));
      const weight = parameter(cast(randn([5, 8]), "bf16"));
      sum(linear(x, weight)).backward();
      const through = valuesOf(sum(cast(weight, "f32"), { axis: 0 }));
      expect(x.grad?.dtype).toBe("f32");
      valuesOf(x.grad as Tensor).forEach((value, i) => {
        expect(value).toBeCloseTo(through[i % 8] as number, 5);
      });
      expect(weight.grad?.dtype).toBe("bf16");
      const frozen = cast(weight.detach(), "bf16");
      const y = parameter(randn([3, 8]));
      sum(linear(y, frozen)).backward();
      valuesOf(y.grad as Tensor).forEach((value, i) => {
        expect(value).toBeCloseTo(through[i % 8] as number, 5);
      });
      expect(weight).toBeInstanceOf(Tensor);
    })();
  });
});

it("are not copied where the backend widens them", async () => {
  await use(cpu());
  scoped(() => {
    const x = randn([1, 256]);
    const weight = parameter(cast(randn([512, 256]), "bf16"));
    resetPeakMemory();
    const before = memory(currentBackend()).liveBytes;
    noGrad(() => linear(x, weight));
    expect(memory().peakBytes - before).toBeLessThan(3000);
  })();
});
