import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { scoped, setUp, tensorOf, valuesOf } from "../ops/helper.ts";

beforeAll(setUp);

type T = core.Tensor;

/** Calls in which there is nothing to do. */
const IDLE: Readonly<Record<string, (x: T) => T>> = {
  cast: (x) => core.cast(x, x.dtype),
  expand: (x) => core.expand(x, x.shape),
  permute: (x) => core.permute(x, [0, 1]),
  swapAxes: (x) => core.swapAxes(x, 1, 1),
  squeeze: (x) => core.squeeze(x),
  unsqueeze: (x) => core.unsqueeze(x, []),
  slice: (x) => core.slice(x),
  flip: (x) => core.flip(x, []),
  reshape: (x) => core.reshape(x, x.shape),
  flatten: (x) => core.flatten(x, 0, 0),
  einsum: (x) => core.einsum("ij->ij", x),
  pad: (x) =>
    core.pad(
      x,
      [
        [0, 0],
        [0, 0],
      ],
      { mode: "reflect" },
    ),
  dropout: (x) => core.dropout(x, { p: 0 }),
  detach: (x) => core.detach(x),
  stopGradient: (x) => core.stopGradient(x),
  repeatInterleave: (x) => core.repeatInterleave(x, 1, { axis: 0 }),
  roll: (x) => core.roll(x, { shifts: 0, axis: 0 }),
  tile: (x) => core.tile(x, [1, 1]),
  concat: (x) => core.concat([x], 0),
};

const matrix = (): T => tensorOf([1, 2, 3, 4], [2, 2]);

describe("the result of an operation", () => {
  it.each(Object.entries(IDLE))("is a handle of its own where there is nothing to do: %s", (_name, idle) => {
    const x = matrix();
    const y = idle(x);
    expect(y).not.toBe(x);
    y.dispose();
    expect(valuesOf(x)).toEqual([1, 2, 3, 4]);
    x.dispose();
  });

  it.each(Object.entries(IDLE))("is refused of a tensor that ended: %s", (_name, idle) => {
    const x = matrix();
    x.dispose();
    expect(() => idle(x)).toThrow(core.LifetimeError);
  });
});

describe("a tensor that ended", () => {
  const square = (x: T): T => x.mul(x).sum();
  const TRANSFORMS: Readonly<Record<string, (x: T) => unknown>> = {
    grad: (x) => core.grad(square)(x),
    valueAndGrad: (x) => core.valueAndGrad(square)(x),
    vjp: (x) => core.vjp(square, x),
    jvp: (x) => core.jvp(square, [x], [x]),
    jacobian: (x) => core.jacobian(square)(x),
    hessian: (x) => core.hessian(square)(x),
  };

  it.each(Object.entries(TRANSFORMS))("is refused by %s, and its block is given once", (_name, transform) => {
    const x = matrix();
    x.dispose();
    expect(() => transform(x)).toThrow(core.LifetimeError);
    const [a, b] = [core.full([2, 2], 1), core.full([2, 2], 2)];
    expect([valuesOf(a), valuesOf(b)]).toEqual([
      [1, 1, 1, 1],
      [2, 2, 2, 2],
    ]);
    for (const one of [a, b]) one.dispose();
  });
});

describe("views of too many elements", () => {
  it(
    "are refused where they are made",
    scoped(() => {
      const one = core.ones([1]);
      expect(core.expand(one, [2 ** 15, 2 ** 15]).size).toBe(2 ** 30);
      expect(() => core.expand(one, [2 ** 16, 2 ** 15])).toThrow(/expand: .*at most 2\^31 - 1/);
    }),
  );
});
