import { cpu } from "@nf/backend-cpu";
import { fromData, Generator, gradcheck, logSoftmax, memory, randn, type Tensor, use, zeros } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { ConvTranspose2d, CTCLoss, Embedding, LSTM } from "../src/index.ts";
import { option, shape } from "./refusals.ts";

beforeAll(async () => {
  await use(cpu());
});

const ids = (...rows: readonly (readonly number[])[]): Tensor =>
  fromData(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);
const draws = (...size: number[]): Tensor => randn(size, { dtype: "f64", generator: new Generator(4) });

/** The sum over all ways to emit the labels, each way written out. */
function byHand(logits: readonly (readonly number[])[], labels: readonly number[]): number {
  const steps = logits.map((row) => {
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    return row.map((x) => Math.exp(x) / total);
  });
  const classes = steps[0]!.length;
  let sum = 0;
  for (let path = 0; path < classes ** steps.length; path++) {
    const way = steps.map((_, step) => Math.floor(path / classes ** step) % classes);
    const emitted = way.filter((label, i) => label !== 0 && label !== way[i - 1]);
    if (emitted.join() === labels.join())
      sum += way.reduce((product, label, step) => product * steps[step]![label]!, 1);
  }
  return -Math.log(sum);
}

describe("CTCLoss", () => {
  it("is the probability of all ways to emit the labels", async () => {
    const logits = draws(4, 1, 3);
    const rows = (await logits.toArray()) as number[][][];
    for (const labels of [[1, 2], [1, 1], [2], [1, 2, 1], []]) {
      const target = ids([...labels, 0]);
      const loss = new CTCLoss({ reduction: "sum" });
      const got = await loss.forward(logSoftmax(logits), target, undefined, [labels.length]).item();
      expect(got, labels.join()).toBeCloseTo(
        byHand(
          rows.map(([row]) => row!),
          labels,
        ),
        10,
      );
    }
  });

  it.each([1, 2])("has derivatives of order %i, of sequences of several lengths", async (order) => {
    const loss = new CTCLoss();
    const target = ids([1, 1, 2], [2, 0, 0]);
    const fn = (x: Tensor): Tensor => loss.forward(logSoftmax(x), target, [5, 3], [3, 1]);
    await gradcheck(fn, [draws(5, 2, 3)], { order });
    // Nothing beyond the last step of a sequence is read.
    const x = draws(5, 2, 3);
    x.requiresGrad = true;
    fn(x).backward();
    const unread = ((await (x.grad as Tensor).toArray()) as number[][][])
      .slice(3)
      .map(([, second]) => second);
    expect(unread).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  it("is infinite where there are too few steps, or 0 where told, and gives no gradient", async () => {
    for (const zeroInfinity of [false, true]) {
      const x = draws(3, 2, 3).cast("f32");
      x.requiresGrad = true;
      const loss = new CTCLoss({ reduction: "none", zeroInfinity });
      const each = loss.forward(logSoftmax(x), ids([1, 1, 2], [1, 2, 0]), undefined, [3, 2]);
      expect((await each.toArray()) as number[]).toEqual([zeroInfinity ? 0 : Infinity, expect.any(Number)]);
      each
        .slice([1, 2])
        .sum()
        .add(each.slice([0, 1]).sum())
        .backward();
      const gradient = (await x.grad?.toArray()) as number[][][];
      expect(gradient.flatMap(([first]) => first)).toEqual(new Array(9).fill(0));
      expect(gradient.flatMap(([, second]) => second).some((value) => value !== 0)).toBe(true);
    }
  });

  it("stands probabilities of 0, a thousand steps and 16-bit floats", async () => {
    const certain = fromData(Float32Array.of(-Infinity, 0, 0, -Infinity), [2, 1, 2]);
    certain.requiresGrad = true;
    const loss = new CTCLoss().forward(certain, ids([1]));
    loss.backward();
    expect(await loss.item()).toBeCloseTo(0, 6);
    const gradient = Array.from((await certain.grad?.data()) ?? [NaN]);
    expect(gradient.every(Number.isFinite)).toBe(true);

    const long = zeros([1000, 1, 4]);
    const labels = ids(Array.from({ length: 900 }, (_, i) => 1 + (i % 3)));
    const value = await new CTCLoss({ reduction: "sum" }).forward(logSoftmax(long), labels).item();
    // Longer than the odds of one way, shorter than 1000 steps of guessing.
    expect(value).toBeGreaterThan(0);
    expect(value).toBeLessThan(1000 * Math.log(4));
    const half = new CTCLoss().forward(logSoftmax(draws(4, 1, 3).cast("f16")), ids([1, 2]));
    expect(half.dtype).toBe("f32");
    expect(await half.item()).toBeGreaterThan(0);
  });

  it("keeps nothing but its result", () => {
    const [x, target] = [logSoftmax(draws(4, 1, 3)), ids([1, 2])];
    const before = memory();
    const loss = new CTCLoss().forward(x, target);
    expect(memory().liveTensors).toBe(before.liveTensors + 1);
    loss.dispose();
    const { liveTensors, liveBytes } = memory();
    expect({ liveTensors, liveBytes }).toEqual({
      liveTensors: before.liveTensors,
      liveBytes: before.liveBytes,
    });
  });

  it("says what is wrong", () => {
    const x = logSoftmax(draws(4, 2, 3));
    const target = ids([1, 2], [1, 0]);
    expect(() => new CTCLoss().forward(x, target, [4])).toThrow(option(/inputLengths must be a list of 2/));
    expect(() => new CTCLoss().forward(x, target, [4, 5])).toThrow(option(/each of inputLengths/));
    expect(() => new CTCLoss().forward(x, target, [4, 4], [2, 3])).toThrow(option(/each of targetLengths/));
    expect(() => new CTCLoss({ blank: 3 }).forward(x, target)).toThrow(option(/blank, one of the classes/));
    expect(() => new CTCLoss().forward(x, ids([1, 2]))).toThrow(shape(/padSequences/));
  });
});

describe("options that PyTorch has", () => {
  it("an output size of a transposed convolution is one that a convolution would have made the input of", () => {
    const layer = new ConvTranspose2d(1, 2, 3, { stride: [2, 3], padding: 1 });
    const x = zeros([1, 1, 4, 4]);
    expect(layer.forward(x).shape).toEqual([1, 2, 7, 10]);
    for (const outputSize of [
      [7, 10],
      [8, 12],
    ])
      expect(layer.forward(x, { outputSize }).shape).toEqual([1, 2, ...outputSize]);
    for (const outputSize of [[6, 10], [9, 10], [7, 13], [7], [7, 10.5], [7n, 10n], 7, null])
      expect(() => Reflect.apply(layer.forward, layer, [x, { outputSize }])).toThrow(
        shape(/from \[7, 10\] to \[8, 12\]/),
      );
    expect(() => Reflect.apply(layer.forward, layer, [x, { size: [7, 10] }])).toThrow(
      option(/unknown option "size"/),
    );
  });

  it("padding of an embedding starts as 0, again after a reset, and is never moved", async () => {
    const layer = new Embedding(4, 2, { paddingIdx: -3, generator: new Generator(1) });
    expect(layer.paddingIdx).toBe(1);
    expect(String(layer)).toBe("Embedding(4, 2, { paddingIdx: 1 })");
    layer.resetParameters(new Generator(2));
    const rows = layer.forward(ids([1, 2, 1]));
    expect(((await rows.toArray()) as number[][][])[0]?.[0]).toEqual([0, 0]);
    rows.sum().backward();
    expect(await layer.weight.grad?.toArray()).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
      [0, 0],
    ]);
  });

  it("an LSTM with projections says what its states must be", () => {
    const layer = new LSTM(3, 5, { projSize: 2, numLayers: 2 });
    expect(String(layer)).toBe("LSTM(3, 5, { projSize: 2, numLayers: 2 })");
    const x = zeros([4, 1, 3]);
    const [output, [hidden, cell]] = layer.forward(x);
    expect([output.shape, hidden.shape, cell.shape]).toEqual([
      [4, 1, 2],
      [2, 1, 2],
      [2, 1, 5],
    ]);
    expect(layer.forward(x, [hidden, cell])[0].shape).toEqual([4, 1, 2]);
    expect(() => layer.forward(x, [cell, cell])).toThrow(shape(/states must be \[2, 1, 2\]/));
    expect(() => layer.forward(x, [hidden, hidden])).toThrow(shape(/states must be \[2, 1, 5\]/));
  });
});
