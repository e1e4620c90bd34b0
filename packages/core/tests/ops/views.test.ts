import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, numbers, setUp, tensorOf, valuesOf } from "./helper.ts";
import { make, operands, property, same, shapes } from "./operands.ts";
import { at, build, count, type Host, positions, slicePlaces } from "./oracle.ts";

/* Changes of layout and indexing over any shape and layout, against plain loops on the host. */

beforeAll(setUp);

/** One change of layout, on both sides. The numbers choose among what the shape allows. */
type Step = readonly [kind: string, a: number, b: number, c: number];
const STEPS: Readonly<
  Record<string, (x: core.Tensor, h: Host, a: number, b: number, c: number) => [core.Tensor, Host]>
> = {
  permute(x, h, a, b) {
    const order = Array.from(core.permutation(x.rank, new core.Generator(a * 100 + b)));
    const shape = order.map((axis) => h.shape[axis]!);
    const place = (p: readonly number[]): number[] => h.shape.map((_, axis) => p[order.indexOf(axis)]!);
    return [core.permute(x, order), build(shape, (p) => at(h, place(p)))];
  },
  reshape(x, h, a) {
    const options = [[x.size], [1, x.size], [...h.shape, 1], [...h.shape].reverse()];
    if (x.rank >= 2) options.push([h.shape[0]! * h.shape[1]!, ...h.shape.slice(2)]);
    if (x.size % 2 === 0) options.push([2, x.size / 2], [x.size / 2, 2]);
    const shape = options[a % options.length]!;
    return [core.reshape(x, shape), { shape, values: h.values }];
  },
  slice(x, h, a, b, c) {
    if (x.rank === 0) return [x, h];
    const axis = a % x.rank;
    const size = h.shape[axis]!;
    const step = [1, 2, -1, -2, 3][c % 5]!;
    const start = b % 3 === 0 ? undefined : (b % (2 * size + 3)) - size - 1;
    const end = c % 3 === 0 ? undefined : ((b + c) % (2 * size + 3)) - size - 1;
    const places = slicePlaces(size, start, end, step);
    const shape = h.shape.map((one, i) => (i === axis ? places.length : one));
    const range = { step, ...(start !== undefined && { start }), ...(end !== undefined && { end }) };
    return [
      core.slice(x, ...h.shape.map((_, i) => (i === axis ? range : null))),
      build(shape, (p) =>
        at(
          h,
          p.map((one, i) => (i === axis ? places[one]! : one)),
        ),
      ),
    ];
  },
  position(x, h, a, b) {
    const axis = x.rank === 0 ? 0 : a % x.rank;
    const size = h.shape[axis] ?? 0;
    if (size === 0) return [x, h];
    const place = b % size;
    const shape = h.shape.filter((_, i) => i !== axis);
    const index = h.shape.map((_, i) => (i === axis ? (b % 2 === 0 ? place : place - size) : null));
    return [core.slice(x, ...index), build(shape, (p) => at(h, p.toSpliced(axis, 0, place)))];
  },
  flip(x, h, a) {
    const axes = h.shape.map((_, axis) => axis).filter((axis) => (a >> axis) % 2 === 1);
    return [
      core.flip(x, axes),
      build(h.shape, (p) =>
        at(
          h,
          p.map((one, axis) => (axes.includes(axis) ? h.shape[axis]! - 1 - one : one)),
        ),
      ),
    ];
  },
  expand(x, h, a, b) {
    const shape = h.shape.map((size, axis) => (size === 1 && (a >> axis) % 2 === 1 ? (b % 3) + 1 : size));
    const lead = b % 4 === 0 ? [2] : [];
    return [core.expand(x, [...lead, ...shape]), build([...lead, ...shape], (p) => at(h, p))];
  },
  units(x, h, a) {
    const axis = a % (x.rank + 1);
    const shape = h.shape.toSpliced(axis, 0, 1);
    return a % 2 === 0
      ? [core.unsqueeze(x, axis), { shape, values: h.values }]
      : [core.squeeze(x), { shape: h.shape.filter((size) => size !== 1), values: h.values }];
  },
};

describe("views", () => {
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom(...Object.keys(STEPS)),
    fc.nat(63),
    fc.nat(63),
    fc.nat(63),
  );
  const chains = fc.tuple(operands(4), fc.array(step, { minLength: 1, maxLength: 6 }));

  it("chains of changes of layout give what they say, and read the same through a kernel", () => {
    property(chains, 400, ([operand, steps]) => {
      let { x, host } = make(operand);
      for (const [kind, a, b, c] of steps) {
        if (x.rank > 5 || x.size > 400) break;
        [x, host] = STEPS[kind]!(x, host, a, b, c);
        same(x, host);
      }
      same(core.mul(x, 2), { shape: host.shape, values: host.values.map((v) => v * 2) });
      same(core.clone(x), host);
    });
  });

  it("their gradients put every element back where it came from", () => {
    property(chains, 200, ([operand, steps]) => {
      const leaf = tensorOf(numbers(count(operand.shape), operand.seed), operand.shape, "f32", true);
      // The host runs the same steps over positions instead of values.
      let x: core.Tensor = leaf;
      let host: Host = { shape: operand.shape, values: valuesOf(leaf).map((_, i) => i) };
      for (const [kind, a, b, c] of steps) {
        if (x.rank > 5 || x.size > 400) break;
        [x, host] = STEPS[kind]!(x, host, a, b, c);
      }
      const weights = numbers(x.size, 5);
      const expected = new Array<number>(leaf.size).fill(0);
      host.values.forEach((from, i) => {
        expected[from]! += weights[i]!;
      });
      core.sum(core.mul(x, tensorOf(weights, x.shape))).backward();
      expectClose(valuesOf(leaf.grad!), expected);
      core.zeroGrad([leaf]);
    });
  });

  it("concat and split, stack and slices undo each other", () => {
    const cases = operands(4, 1).chain((operand) =>
      fc.tuple(
        fc.constant(operand),
        fc.nat(operand.shape.length - 1),
        fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }),
      ),
    );
    property(cases, 200, ([operand, axis, sizes]) => {
      const shape = operand.shape.map((size, i) => (i === axis ? sizes.reduce((a, b) => a + b) : size));
      const { x, host } = make({ ...operand, shape });
      const pieces = core.split(x, sizes, axis);
      expect(pieces.map((piece) => piece.shape[axis])).toEqual(sizes);
      same(core.concat(pieces, axis), host);
      const parts = core.stack([x, core.neg(x)], axis);
      expect(parts.shape).toEqual(shape.toSpliced(axis, 0, 2));
      same(core.slice(parts, ...shape.slice(0, axis).map(() => null), 0), host);
      const total = shape[axis]!;
      for (const n of [1, 2, 3]) {
        const chunks = core.chunk(x, n, axis);
        expect(chunks.reduce((all, one) => all + one.shape[axis]!, 0)).toBe(total);
        expect(chunks.length).toBeLessThanOrEqual(n);
        if (total > 0) same(core.concat(chunks, axis), host);
      }
    });
  });
});

describe("indices", () => {
  const cases = operands(4, 1)
    .filter(({ shape }) => count(shape) > 0)
    .chain((operand) =>
      fc.record({
        operand: fc.constant(operand),
        axis: fc.nat(operand.shape.length - 1),
        length: fc.nat(4),
        seed: fc.nat(1000),
      }),
    );
  const indexOf = (shape: readonly number[], size: number, seed: number): Host => ({
    shape,
    values: numbers(count(shape), seed).map((v) => Math.abs(Math.round(v * 64)) % size),
  });
  const moved = (p: readonly number[], axis: number, to: number): number[] =>
    p.map((one, i) => (i === axis ? to : one));

  it("gather, indexSelect and take pick", () => {
    property(cases, 200, ({ operand, axis, length, seed }) => {
      const { x, host } = make(operand);
      const size = x.shape[axis]!;
      const shape = x.shape.map((one, i) => (i === axis ? length : one));
      const index = indexOf(shape, size, seed);
      const at32 = tensorOf(index.values, shape, "i32");
      same(
        core.gather(x, axis, at32),
        build(shape, (p) => at(host, moved(p, axis, at(index, p)))),
      );
      const line = indexOf([length], size, seed);
      const picked = build(shape, (p) => at(host, moved(p, axis, line.values[p[axis]!]!)));
      for (const dtype of ["i32", "u8", "u32"] as const)
        same(core.indexSelect(x, axis, tensorOf(line.values, [length], dtype)), picked);
      const flat = indexOf([length, 2], x.size, seed);
      same(core.take(x, tensorOf(flat.values, flat.shape, "i32")), {
        shape: flat.shape,
        values: flat.values.map((i) => host.values[i]!),
      });
    });
  });

  it("scatterAdd, indexAdd and scatter put", () => {
    property(cases, 200, ({ operand, axis, length, seed }) => {
      const { x, host } = make(operand);
      const size = x.shape[axis]!;
      const shape = x.shape.map((one, i) => (i === axis ? length : one));
      const index = indexOf(shape, size, seed);
      const line = indexOf([length], size, seed);
      const source = { shape, values: numbers(count(shape), seed + 1) };
      const add = (target: (p: readonly number[]) => number): Host => {
        const places = positions(shape).map((p) => ({
          to: moved(p, axis, target(p)).join(),
          value: at(source, p),
        }));
        return build(x.shape, (p) =>
          places.filter(({ to }) => to === p.join()).reduce((sum, { value }) => sum + value, at(host, p)),
        );
      };
      const updates = tensorOf(source.values, shape);
      same(
        core.scatterAdd(x, axis, tensorOf(index.values, shape, "i32"), updates),
        add((p) => at(index, p)),
      );
      same(
        core.indexAdd(x, axis, tensorOf(line.values, [length], "i32"), updates),
        add((p) => line.values[p[axis]!]!),
      );
      // Distinct places, since which of equal ones stays is not specified.
      const order = Array.from(core.permutation(size, new core.Generator(seed)));
      const everywhere = build(x.shape, (p) => order[p[axis]!]!);
      const values = { shape: x.shape, values: numbers(x.size, seed + 2) };
      const put = core.scatter(
        x,
        axis,
        tensorOf(everywhere.values, x.shape, "i32"),
        tensorOf(values.values, x.shape),
      );
      same(
        put,
        build(x.shape, (p) => at(values, moved(p, axis, order.indexOf(p[axis]!)))),
      );
    });
  });

  it("embedding and oneHot", () => {
    property(
      fc.tuple(shapes(3), fc.integer({ min: 1, max: 5 }), fc.nat(4), fc.nat(1000)),
      100,
      ([shape, classes, width, seed]) => {
        const index = indexOf(shape, classes, seed);
        const table = { shape: [classes, width], values: numbers(classes * width, seed) };
        const at32 = tensorOf(index.values, shape, "i32");
        same(
          core.embedding(tensorOf(table.values, table.shape), at32),
          build([...shape, width], (p) => at(table, [at(index, p.slice(0, -1)), p.at(-1)!])),
        );
        const hot = core.oneHot(at32, classes);
        expect(hot.dtype).toBe("i32");
        same(
          hot,
          build([...shape, classes], (p) => Number(at(index, p.slice(0, -1)) === p.at(-1))),
        );
      },
    );
  });
});
