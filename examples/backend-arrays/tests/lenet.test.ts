import { cpu } from "@nf/backend-cpu";
import { type Backend, Generator, memory, use } from "@nf/core";
import { DataLoader, embeddedMnist, type ImageDataset } from "@nf/data";
import { lenet } from "@nf/models";
import { CrossEntropyLoss } from "@nf/nn";
import { Adam } from "@nf/optim";
import { beforeAll, expect, it } from "vitest";
import { createBackend } from "../src/index.ts";

const STEPS = 40;

let digits: ImageDataset;

beforeAll(async () => {
  digits = (await embeddedMnist()).train;
}, 120_000);

/** Trains LeNet-5 from fixed weights on the same real digits; gives the loss before each step. */
async function losses(backend: Backend): Promise<readonly number[]> {
  await use(backend);
  const model = lenet({ generator: new Generator(7) });
  const criterion = new CrossEntropyLoss();
  const optimizer = new Adam(model.parameters(), { lr: 4e-3 });
  const loader = new DataLoader(digits, { batchSize: 16, shuffle: true, seed: 7 });
  const found: number[] = [];
  let atRest = 0;
  for await (const { image, label } of loader) {
    optimizer.zeroGrad();
    const loss = criterion.forward(model.forward(image), label);
    loss.backward();
    optimizer.step();
    found.push(await loss.item());
    // Once the moments of Adam exist, each step leaves exactly as much as the one before.
    const { liveBuffers } = memory(backend);
    if (found.length === 3) atRest = liveBuffers;
    if (found.length > 3) expect(liveBuffers).toBe(atRest);
    if (found.length === STEPS) break;
  }
  await backend.dispose();
  return found;
}

it("LeNet-5 learns on it, with the losses of the cpu backend", async () => {
  const own = await losses(await createBackend());
  const reference = await losses(await cpu());
  expect(own).toHaveLength(STEPS);
  own.forEach((loss, step) => {
    expect(Math.abs(loss - reference[step]), `loss of step ${step}`).toBeLessThan(1e-4);
  });
  const mean = (part: readonly number[]): number => part.reduce((a, b) => a + b, 0) / part.length;
  expect(mean(own.slice(-5))).toBeLessThan(0.6 * mean(own.slice(0, 5)));
}, 120_000);
