import { createBackend } from "@nf/backend-cpu";
import { manualSeed, memory, use } from "@nf/core";
import { ArrayDataset, DataLoader, NdArray } from "@nf/data";
import { lenet } from "@nf/models";
import { CrossEntropyLoss } from "@nf/nn";
import { fit, type ValidationContext } from "@nf/train";
import { expect, it } from "vitest";
import { evaluate } from "../src/train/digits/evaluate.ts";
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
  await fit(model, {
    data: batches,
    forward: (net, { image }) => net.forward(image),
    loss: (logits, { label }) => criterion.forward(logits, label),
    optimizer: createOptimizer("adam", model.parameters(), 1e-3),
    epochs: 30,
    logEvery: 1,
    async validate({ breathe }: ValidationContext) {
      const result = await evaluate(model, batches, breathe);
      return result === undefined ? undefined : { loss: result.loss };
    },
    callbacks: [
      {
        onEvaluation() {
          const { liveTensors, liveBytes, poolMisses } = memory();
          live.push({ tensors: liveTensors, bytes: liveBytes, misses: poolMisses });
        },
      },
    ],
  });
  expect(live).toHaveLength(30);
  expect(live.at(-1)).toEqual(live[1]);
  await backend.dispose();
});
