import { cpu } from "@nf/backend-cpu";
import { OptionError, ShapeError, type Tensor, tensor, use } from "@nf/core";
import { functionalize } from "@nf/nn";
import { beforeAll, describe, expect, it } from "vitest";
import {
  TokenEmbedding,
  TransformerConfigError,
  transformerConfig,
  transformerParameters,
} from "../src/index.ts";
import { build, ids, rowsOf, TINY } from "./transformer.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("configuration", () => {
  it("is the base model of the paper unless told otherwise", () => {
    const config = transformerConfig({ sourceVocabSize: 37000, targetVocabSize: 37000 });
    expect(config).toMatchObject({
      dModel: 512,
      nhead: 8,
      numEncoderLayers: 6,
      dimFeedforward: 2048,
      dropout: 0.1,
    });
    expect(config).toMatchObject({ normFirst: false, finalNorm: false });
    expect(transformerConfig({ ...TINY, normFirst: true }).finalNorm).toBe(true);
  });

  it("counts parameters", () => {
    // The base model with all three tables one: 63 million, as many as the paper says (65).
    const paper = { sourceVocabSize: 37000, targetVocabSize: 37000, tiedEmbeddings: true, tiedOutput: true };
    expect(transformerParameters(transformerConfig(paper))).toBe(63_082_496);
    for (const settings of [
      {},
      { tiedOutput: true },
      { tiedEmbeddings: true, sourceVocabSize: 5 },
      { tiedEmbeddings: true, tiedOutput: true, sourceVocabSize: 5 },
      { normFirst: true },
      { experts: { count: 3 } },
    ]) {
      const model = build(settings);
      const count = model.parameters().reduce((total, { size }) => total + size, 0);
      expect(count).toBe(transformerParameters(model.config));
    }
  });

  it("refuses what does not fit", () => {
    expect(() => transformerConfig({ ...TINY, nhead: 3 })).toThrow(TransformerConfigError);
    expect(() => transformerConfig({ ...TINY, tiedEmbeddings: true })).toThrow(/one vocabulary, got 7 and 5/);
    expect(() => transformerConfig({ ...TINY, bosId: 2 })).toThrow(/must differ/);
    expect(() => transformerConfig({ ...TINY, eosId: 5 })).toThrow(/no id of the target/);
    expect(() => transformerConfig({ ...TINY, dropout: 2 })).toThrow(OptionError);
    expect(() => transformerConfig({ ...TINY, experts: { count: 2, topK: 3 } })).toThrow(/topK/);
    expect(() => transformerConfig({ ...TINY, ...{ heads: 2 } })).toThrow(/"heads"/);
  });

  it("shares tables that are tied", () => {
    const model = build({ tiedEmbeddings: true, tiedOutput: true, sourceVocabSize: 5 });
    expect(model.targetEmbedding).toBe(model.sourceEmbedding);
    expect(model.head).toBeNull();
    const { weight } = model.targetEmbedding;
    model.loss(ids([3, 4]), ids([1, 3, 2])).backward();
    expect(weight.grad?.shape).toEqual([5, 8]);
  });
});

describe("masks", () => {
  it("a target position does not see later ones", async () => {
    const model = build();
    const source = ids([3, 4, 5]);
    const [a, b] = await Promise.all(
      [
        [1, 3, 4, 3],
        [1, 3, 3, 4],
      ].map(async (target) => rowsOf(model.forward(source, ids(target)))),
    );
    expect(b?.slice(0, 2)).toEqual(a?.slice(0, 2));
    expect(b?.[2]).not.toEqual(a?.[2]);
  });

  it.each([false, true])("padding changes nothing (pre-norm %s)", async (normFirst) => {
    const model = build({ normFirst, experts: { count: 3 } });
    const plain = await rowsOf(model.forward(ids([3, 4]), ids([1, 3])));
    const padded = await rowsOf(model.forward(ids([3, 4, 0, 0], [5, 6, 3, 4]), ids([1, 3, 0], [1, 4, 4])));
    for (const [position, row] of plain.entries())
      for (const [i, value] of row.entries()) expect(padded[position]?.[i]).toBeCloseTo(value, 5);
    const alone = await model.loss(ids([3, 4]), ids([1, 3, 2])).item();
    const [source, target] = [ids([3, 4, 0]), ids([1, 3, 2, 0, 0])];
    expect(await model.loss(source, target).item()).toBeCloseTo(alone, 5);
  });

  it("an embedding of padding gets no gradient", async () => {
    const model = build();
    model.loss(ids([3, 4, 0]), ids([1, 3, 2, 0])).backward();
    for (const table of [model.sourceEmbedding, model.targetEmbedding]) {
      const gradient = await (table.weight.grad as Tensor).data();
      expect(Array.from(gradient.slice(0, 8))).toEqual(new Array(8).fill(0));
      expect(Math.max(...gradient.slice(8).map(Math.abs))).toBeGreaterThan(0);
    }
  });

  it("a table of tokens may have a row of padding: 0, and 0 again after a reset", async () => {
    const table = new TokenEmbedding(3, 2, { paddingIdx: 1 });
    for (const reset of [false, true]) {
      if (reset) table.resetParameters();
      const [first, padding] = (await table.weight.toArray()) as number[][];
      expect([first?.every((value) => value !== 0), padding]).toEqual([true, [0, 0]]);
    }
  });

  it("refuses sequences that are too long, and tokens that are no batch", () => {
    const model = build({ maxPositions: 3 });
    expect(() => model.forward(ids([3, 4, 5, 6]), ids([1]))).toThrow(/positions for 3 tokens, got 4/);
    expect(() => model.forward(tensor([3], { dtype: "i32" }), ids([1]))).toThrow(ShapeError);
  });
});

describe("positions", () => {
  it("are sines and cosines of falling rates", async () => {
    const { waves } = build().positions;
    const table = await rowsOf(waves);
    for (const [position, row] of table.slice(0, 5).entries()) {
      expect(row[0]).toBeCloseTo(Math.sin(position), 6);
      expect(row[1]).toBeCloseTo(Math.cos(position), 6);
      expect(row[6]).toBeCloseTo(Math.sin(position / 1000), 6);
      expect(row[7]).toBeCloseTo(Math.cos(position / 1000), 6);
    }
  });

  it("are no part of a state dict, and are made again for fresh weights", async () => {
    const model = build();
    expect(Object.keys(model.stateDict())).not.toContain("positions.waves");
    const { structure } = functionalize(model);
    const { params, state } = functionalize(model);
    const [logits] = structure.apply({ params, state }, ids([3, 4]), { moreInputs: [ids([1, 3])] });
    expect(await logits.toArray()).toEqual(await model.forward(ids([3, 4]), ids([1, 3])).toArray());
    const fresh = structure.bind(structure.init([0, 4]));
    expect(await fresh.positions.waves.toArray()).toEqual(await model.positions.waves.toArray());
  });
});
