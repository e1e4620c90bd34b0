import { cpu } from "@nf/backend-cpu";
import { beforeAll, expect, it } from "vitest";
import { memory, noGrad, scope, tensor, use, zeroGrad } from "../../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

it("ends what noGrad and scope computed from a graph together with the graph", () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const counts: number[] = [];
  for (let step = 0; step < 4; step++) {
    zeroGrad([w]);
    const logits = w.mul(2);
    const before = noGrad(() => logits.argmax());
    logits.sum().backward();
    const after = scope(() => logits.detach().mul(3).max());
    expect(before.itemSync()).toBe(2);
    expect(after.itemSync()).toBe(18);
    counts.push(memory().liveTensors);
  }
  expect(new Set(counts.slice(1)).size).toBe(1);
  w.dispose();
});

it("leaves what was not computed from a graph to its user", () => {
  const x = tensor([1, 2, 3]);
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const kept = noGrad(() => x.add(w));
  w.mul(2).sum().backward();
  zeroGrad([w]);
  expect(kept.isDisposed).toBe(false);
  for (const one of [x, w, kept]) one.dispose();
});
