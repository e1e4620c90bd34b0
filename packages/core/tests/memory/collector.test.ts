import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { alive, open } from "./helper.ts";

const { debugMemory, memory, parameter, tensor } = core;

/** Collects garbage and lets finalizers run, until a condition holds or nothing more is to be expected. */
async function collectUntil(done: () => boolean): Promise<void> {
  for (let i = 0; i < 20 && !done(); i++) {
    (globalThis.gc as () => void)();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

beforeEach(async () => {
  await open();
});
afterEach(() => {
  debugMemory(false);
});

// Each mess is made in a function of its own, so that no variable of the test holds on to it.
function dropRoots(): void {
  for (let i = 0; i < 10; i++) tensor([1, 2, 3]).dispose();
  for (let i = 0; i < 7; i++) tensor([i, 2, 3]);
}

function dropGraph(w: core.Tensor): void {
  w.mul(2).exp().mul(w).sum();
}

function dropGraphAfterBackward(w: core.Tensor): void {
  const loss = w.mul(2).exp().sum();
  loss.backward();
}

function dropLeaf(): void {
  const w = parameter(tensor([1, 2]));
  w.mul(w).sum().backward();
}

function dropKept(w: core.Tensor): void {
  w.exp().keep();
}

describe("the collector", () => {
  it("can be asked in this test run", () => {
    expect(globalThis.gc).toBeTypeOf("function");
  });

  it("returns dropped tensors and counts them as leaks", async () => {
    const before = alive();
    dropRoots();
    expect(memory().liveTensors).toBe((before.liveTensors as number) + 7);
    await collectUntil(() => memory().leaks === 7);
    expect(memory().leaks).toBe(7);
    expect(alive()).toEqual(before);
  });

  it("returns dropped graphs, with what their tape saved", async () => {
    const w = parameter(tensor([1, 2]));
    const before = alive();
    dropGraph(w);
    expect(memory().liveBuffers).toBeGreaterThan(before.liveBuffers as number);
    await collectUntil(() => memory().liveBuffers === before.liveBuffers);
    expect(alive()).toEqual(before);
    dropKept(w);
    await collectUntil(() => memory().liveBuffers === before.liveBuffers);
    expect(alive()).toEqual(before);
    expect(w.itemSync).toBeTypeOf("function");
  });

  it("leaves alone what is still held: a graph through its result, and its parameter", async () => {
    const w = parameter(tensor([1, 2]));
    const loss = w.mul(2).exp().sum();
    await collectUntil(() => false);
    expect(memory().leaks).toBe(0);
    loss.backward();
    expect(w.grad?.dataSync()[0]).toBeCloseTo(2 * Math.exp(2), 4);
  });

  it("returns a parameter with its gradient, and a graph that its parameter remembers", async () => {
    const before = alive();
    dropLeaf();
    await collectUntil(() => memory().liveBuffers === before.liveBuffers);
    expect(alive()).toEqual(before);
    const w = parameter(tensor([1, 2]));
    dropGraphAfterBackward(w);
    core.zeroGrad([w]);
    expect(memory().liveTensors).toBe((before.liveTensors as number) + 1);
  });

  it("does not count what ended by itself", async () => {
    const w = parameter(tensor([1, 2]));
    for (let i = 0; i < 5; i++) {
      core.zeroGrad([w]);
      w.exp().sum().backward();
    }
    core.scope(() => void tensor([1]).add(1));
    core.zeroGrad([w]);
    await collectUntil(() => false);
    expect(memory().leaks).toBe(0);
    expect(w.isDisposed).toBe(false);
  });

  it("reports where a leak was born once debugMemory is on", async () => {
    const reports: string[] = [];
    // What earlier tests left goes first.
    await collectUntil(() => false);
    dropRoots();
    debugMemory(true, (report) => reports.push(report));
    dropRoots();
    await collectUntil(() => memory().leaks === 14);
    const born = reports.filter((report) => report.includes("dropRoots"));
    expect(born.length).toBe(7);
    expect(born[0]).toMatch(/1 tensor\(s\) were dropped.*collector\.test\.ts/s);
    expect(reports.filter((report) => report.includes("before debugMemory")).length).toBe(7);
  });
});

describe("memory()", () => {
  it("reports every field, by backend", async () => {
    const first = core.currentBackend();
    const x = core.zeros([1000]);
    const report = memory();
    expect(report).toEqual({
      backend: expect.stringMatching(/^cpu(#\d+)?$/),
      liveTensors: 1,
      liveBuffers: 1,
      liveBytes: 4096,
      peakBytes: 4096,
      pooledBytes: 0,
      poolMisses: 1,
      leaks: 0,
    });
    await open();
    expect(memory().liveTensors).toBe(0);
    expect(memory(first).liveTensors).toBe(1);
    expect(memory().backend).not.toBe(report.backend);
    x.dispose();
    expect(memory(first)).toMatchObject({ liveTensors: 0, liveBytes: 0, peakBytes: 4096, pooledBytes: 4096 });
    core.resetPeakMemory(first);
    core.releaseMemory(first);
    expect(memory(first)).toMatchObject({ peakBytes: 0, pooledBytes: 0 });
  });

  it("counts memory that views share once", () => {
    const x = core.zeros([10, 10]);
    const { liveBuffers } = memory();
    const views = [x.transpose(), x.slice([2, 5]), x.reshape([100]), x.detach()];
    expect(memory()).toMatchObject({ liveBuffers, liveTensors: 5 });
    for (const view of [x, ...views]) view.dispose();
    expect(memory()).toMatchObject({ liveBuffers: 0, liveTensors: 0 });
  });
});
