import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, scoped, setUp, valuesOf } from "./helper.ts";
import { checkOrders, inputsOf } from "./paths.ts";

beforeAll(setUp);

const { unfold, fold } = core;

describe("unfold and fold", () => {
  const window = { kernelSize: [2, 3], stride: [2, 1], padding: [1, 0], dilation: [2, 1] };

  it(
    "lay windows out as columns, channel by channel",
    scoped(() => {
      const x = core.reshape(core.arange(12), [1, 1, 3, 4]);
      expect(unfold(x, { kernelSize: 2 }).shape).toEqual([1, 4, 6]);
      expect(valuesOf(unfold(x, { kernelSize: 2, stride: 2 }))).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
      expect(valuesOf(fold(core.ones([1, 4, 6]), { outputSize: [3, 4], kernelSize: 2 }))).toEqual([
        1, 2, 2, 1, 2, 4, 4, 2, 1, 2, 2, 1,
      ]);
    }),
  );

  it(
    "make a matrix product of a convolution",
    scoped(() => {
      const [x, weight] = inputsOf(3, [2, 3, 5, 4], [4, 3, 2, 3]);
      const columns = core.matmul(core.reshape(weight!, [4, 18]), unfold(x!, window));
      const { kernelSize: _, ...options } = window;
      const direct = core.conv2d(x!, weight!, undefined, options);
      expectClose(valuesOf(columns), valuesOf(direct), { relative: 1e-12, absolute: 1e-12 });
    }),
  );

  it(
    "are each other's transpose",
    scoped(() => {
      const [x] = inputsOf(4, [2, 2, 5, 4]);
      const columns = unfold(x!, window);
      const [y] = inputsOf(5, columns.shape);
      const left = core.sum(core.mul(columns, y!)).itemSync();
      const right = core.sum(core.mul(x!, fold(y!, { outputSize: [5, 4], ...window }))).itemSync();
      expect(Math.abs(left - right)).toBeLessThan(1e-10);
    }),
  );

  it("have gradients of first and second order", async () => {
    await checkOrders((x) => core.square(unfold(x!, window)), inputsOf(6, [1, 2, 3, 4]));
    const columns = inputsOf(7, [1, 6, 6]);
    await checkOrders((x) => core.square(fold(x!, { outputSize: [5, 4], ...window })), columns);
  });

  it(
    "take empty batches, and refuse what does not fit, by name",
    scoped(() => {
      expect(unfold(core.ones([0, 2, 3, 3]), { kernelSize: 2 }).shape).toEqual([0, 8, 4]);
      expect(fold(core.ones([0, 8, 4]), { outputSize: 3, kernelSize: 2 }).shape).toEqual([0, 2, 3, 3]);
      expect(() => unfold(core.ones([1, 1, 2, 2]), { kernelSize: 3 })).toThrow(
        /larger than the padded image/,
      );
      expect(() => unfold(core.ones([1, 2, 2]), { kernelSize: 1 })).toThrow(core.ShapeError);
      expect(() => fold(core.ones([1, 8, 5]), { outputSize: 3, kernelSize: 2 })).toThrow(
        /expected x .*4\] .*got \[1, 8, 5\]/,
      );
      expect(() => fold(core.ones([1, 7, 4]), { outputSize: 3, kernelSize: 2 })).toThrow(core.ShapeError);
      expect(() => fold(core.ones([7, 4]), { outputSize: 3, kernelSize: 2 })).toThrow(core.ShapeError);
      expect(() => unfold(core.ones([1, 1, 2, 2]), { kernel: 1 } as never)).toThrow(
        /unknown option "kernel"/,
      );
    }),
  );
});
