import { createBackend } from "@nf/backend-cpu";
import { manualSeed, memory, use } from "@nf/core";
import { ArrayDataset, DataLoader, NdArray } from "@nf/data";
import { lenet } from "@nf/models";
import { CrossEntropyLoss } from "@nf/nn";
import { expect, it } from "vitest";
import { type Evaluation, evaluate, type ImageBatch } from "../src/train/digits/evaluate.ts";
import { descend, fit } from "../src/train/fit.ts";
import { createOptimizer } from "../src/train/optimizer.ts";

it("the loop holds as much after many steps and tests as after few", async () => {
  const backend = await use(createBackend());
  manualSeed(1);
  const model = lenet();
  const images = new Float32Array(32 * 784).map((_, index) => Math.sin(index));
  const dataset = new ArrayDataset({
    image: new NdArray(images, [32, 1, 28, 28]),
    label: Int32Array.from({ length: 32 }, (_, index) => index % 10),
  });
  const batches = new DataLoader(dataset, { batchSize: 8 });
  const live: { tensors: number; bytes: number; misses: number }[] = [];
  const criterion = new CrossEntropyLoss({ labelSmoothing: 0.05 });
  const optimizer = createOptimizer("adam", model.parameters(), 1e-3);
  const complete = await fit<ImageBatch, Evaluation>({
    batches: () => batches,
    async train({ image, label }, lr) {
      const { loss } = descend(optimizer, lr, () => ({
        loss: criterion.forward(model.forward(image), label),
      }));
      return { objective: await loss.item(), loss: 0, accuracy: 0, items: 8 };
    },
    evaluate: (_round, breathe) => evaluate(model, batches, breathe),
    rounds: 30,
    learningRate: () => 1e-3,
    signal: new AbortController().signal,
    onStep() {},
    onRound() {
      const { liveTensors, liveBytes, poolMisses } = memory();
      live.push({ tensors: liveTensors, bytes: liveBytes, misses: poolMisses });
    },
  });
  expect(complete).toBe(true);
  expect(live).toHaveLength(30);
  expect(live.at(-1)).toEqual(live[1]);
  await backend.dispose();
});
